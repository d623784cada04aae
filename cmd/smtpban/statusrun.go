package main

import (
	"time"

	"smtpban/internal/store"
)

// timer is one of ours, or the service that needs none.
type timer struct {
	unit            string
	active, enabled string // as systemctl is-active and is-enabled say it
	runs            bool   // its service does
	next            time.Time
}

// timers returns those without which no client is banned, and none let in again.
func (s *status) timers() (all []timer) {
	if s.units.watching() {
		unit := s.units["smtpban-watch.service"]
		all = append(all, timer{unit: "smtpban-watch.service", active: unit["ActiveState"], enabled: unit["UnitFileState"]})
	}
	for _, name := range s.units.timed() {
		unit := s.units[name+".timer"]
		all = append(all, timer{
			name + ".timer", unit["ActiveState"], unit["UnitFileState"], s.units.runs(name), s.units.next(name+".timer", s.now, s.up),
		})
	}
	return all
}

// lastRun is the last one of smtpban-block.service, or that of smtpban-watch.service.
type lastRun struct {
	start, end   time.Time // end is zero while it goes on
	runs         bool
	result, exit string
	read         *store.LastRead // what it read; nil where that is not known
}

// outcome says how the run ended.
func (r lastRun) outcome() string {
	switch {
	case r.result != "success" && r.exit == "0":
		return r.result
	case r.exit != "0":
		return exitText(r.exit)
	}
	return "success"
}

// lastRun returns the last run; known is false where there was none since the boot,
// or systemd does not tell.
func (s *status) lastRun() (r lastRun, known bool) {
	name := s.units.blocker()
	service := s.units[name+".service"]
	start, end := sinceBoot(service["ExecMainStartTimestampMonotonic"]), sinceBoot(service["ExecMainExitTimestampMonotonic"])
	if start == 0 {
		return r, false
	}
	r = lastRun{start: s.now.Add(start - s.up), runs: s.units.runs(name), result: service["Result"], exit: service["ExecMainStatus"]}
	if !r.runs {
		r.end = s.now.Add(end - s.up)
	}
	// A run that reads no entry writes nothing, so that an older record is of an
	// earlier run; one that failed may not even have come to look. A newer record is
	// of a run by hand, which took its place.
	const exactness = time.Second // of the two clocks
	switch {
	case s.read.At.Before(r.start.Add(-exactness)):
		if !r.runs && r.result == "success" && r.exit == "0" {
			r.read = &store.LastRead{}
		}
	case r.runs || !s.read.At.After(r.end.Add(exactness)):
		r.read = &s.read
	}
	return r, true
}
