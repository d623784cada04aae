package main

import (
	"strconv"

	"smtpban/internal/report"
)

// The JSON shape is an interface that other programs rely on.

type jsonStatus struct {
	State    health        `json:"state"`
	Problems []jsonProblem `json:"problems"`
	Timers   []jsonTimer   `json:"timers"`   // empty where systemd does not tell
	LastRun  *jsonRun      `json:"last_run"` // null where there was none since the boot
	LastRead *jsonRead     `json:"last_read"`
	Position *string       `json:"position"` // null where nothing is read yet
	Waiting  *jsonWaiting  `json:"waiting"`  // null where the journal can't be read
	Bans     jsonCounts    `json:"bans"`
	Today    jsonToday     `json:"today"`
	Routes   jsonRoutes    `json:"routes"`
	Gaps     jsonLosses    `json:"gaps"`
	Dropped  jsonLosses    `json:"suppressed"`
	Ignored  int           `json:"ignored"`
	Doubt    *string       `json:"clock_doubt"`
	Store    jsonStore     `json:"store"`
}

type jsonProblem struct {
	Severity string `json:"severity"`
	Problem  string `json:"problem"`
	Remedy   string `json:"remedy"`
}

type jsonTimer struct {
	Unit    string  `json:"unit"`
	Active  string  `json:"active"`
	Enabled string  `json:"enabled"`
	Next    *string `json:"next"` // null while its service runs
}

type jsonRun struct {
	Start      string  `json:"start"`
	End        *string `json:"end"` // null while it goes on
	Result     string  `json:"result"`
	ExitStatus int     `json:"exit_status"`
	Entries    *int    `json:"entries"` // null where it is not known
	Events     *int    `json:"events"`
	Bans       *int    `json:"bans"`
}

type jsonRead struct {
	Time    string `json:"time"`
	Entries int    `json:"entries"`
	Events  int    `json:"events"`
	Bans    int    `json:"bans"`
}

type jsonWaiting struct {
	Entries int     `json:"entries"`
	Oldest  *string `json:"oldest"`
	Newest  *string `json:"newest"`
	Lag     float64 `json:"lag"` // seconds
}

type jsonCounts struct {
	Active    int `json:"active"`
	Protected int `json:"protected"`
	Held      int `json:"held"`
}

type jsonToday struct {
	Events  int `json:"events"`
	Counted int `json:"counted"`
	Begun   int `json:"bans_begun"`
	Ended   int `json:"bans_ended"`
}

type jsonRoutes struct {
	Wanted  int `json:"wanted"`
	Missing int `json:"missing"`
	Taken   int `json:"taken"`
	Excess  int `json:"excess"`
	Beyond  int `json:"surplus"`
}

type jsonLosses struct {
	Number  int     `json:"number"`
	Lost    int     `json:"lost"`
	Noticed *string `json:"noticed"`
}

type jsonStore struct {
	Path     string  `json:"path"`
	Size     int64   `json:"size"`
	Changed  *string `json:"changed"`
	Snapshot *string `json:"snapshot"`
}

func (s *status) toJSON() jsonStatus {
	out := jsonStatus{
		State: s.health, Problems: []jsonProblem{}, Timers: []jsonTimer{}, Position: report.Known(s.position),
		Bans:   jsonCounts{s.standing.Bans, s.standing.Protected, s.standing.Held},
		Today:  jsonToday{s.standing.Events, s.standing.Counted, s.standing.Begun, s.standing.Ended},
		Routes: jsonRoutes{s.wanted, s.missing, s.taken, s.excess, s.beyond},
		Gaps:   s.gaps.toJSON(), Dropped: s.suppressed.toJSON(), Ignored: s.ignored, Doubt: report.Known(s.doubt),
		Store: jsonStore{s.path, s.size, report.Known(s.changed), report.Known(s.snapshot)},
	}
	for _, p := range s.problems {
		severity := "warning"
		if p.critical {
			severity = "critical"
		}
		out.Problems = append(out.Problems, jsonProblem{severity, p.found, p.remedy})
	}
	if s.errUnits == nil {
		for _, t := range s.timers() {
			out.Timers = append(out.Timers, jsonTimer{t.unit, t.active, t.enabled, report.Known(t.next)})
		}
	}
	if r, known := s.lastRun(); known {
		out.LastRun = r.toJSON()
	}
	if !s.read.At.IsZero() {
		out.LastRead = &jsonRead{report.Stamp(s.read.At), s.read.Entries, s.read.Events, s.read.Bans}
	}
	if s.errWaiting == nil {
		out.Waiting = &jsonWaiting{s.waiting.entries, report.Known(s.waiting.oldest), report.Known(s.waiting.newest), s.lag().Seconds()}
	}
	return out
}

func (l losses) toJSON() jsonLosses { return jsonLosses{l.number, l.entries, report.Known(l.noticed)} }

func (r lastRun) toJSON() *jsonRun {
	status, _ := strconv.Atoi(r.exit) // "" while the first run goes on
	out := &jsonRun{Start: report.Stamp(r.start), End: report.Known(r.end), Result: r.result, ExitStatus: status}
	if r.read != nil {
		out.Entries, out.Events, out.Bans = &r.read.Entries, &r.read.Events, &r.read.Bans
	}
	return out
}
