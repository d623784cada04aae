package main

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/ban"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

// sampleStatus is how things stand on a system where a ban is held back, at a time
// that is an hour after its boot.
func sampleStatus(now time.Time) *status {
	s := &status{
		now: now, up: time.Hour, units: parseUnits(running), ignored: 2, wanted: 16, path: "/var/lib/smtpban/smtpban.db", size: 128 << 10,
		standing: report.Standing{Bans: 17, Held: 1, Events: 112, Counted: 85, Begun: 17, Ended: 3},
		held:     holding{bans: 1, until: now.Add(22*time.Hour + 10*time.Minute + 5*time.Second), outage: ban.Outage{Since: now.Add(-30*time.Minute - 12*time.Second)}},
		read:     store.LastRead{At: now.Add(-30 * time.Minute), Entries: 21, Events: 5, Bans: 1},
		position: now.Add(-30*time.Minute - 11875*time.Millisecond),
		changed:  now.Add(-30 * time.Minute), snapshot: now.Add(-4 * time.Hour),
	}
	expire := s.units["smtpban-expire.timer"]
	expire["UnitFileState"], expire["NextElapseUSecMonotonic"] = "static", "1h 35min"
	timer, service := s.units["smtpban-block.timer"], s.units["smtpban-block.service"]
	timer["NextElapseUSecMonotonic"] = "1h 25.5s"
	service["ExecMainStartTimestampMonotonic"], service["ExecMainExitTimestampMonotonic"] = "3595250000", "3595500000"
	s.judgeBans()
	s.health = degraded
	return s
}

func TestLastRunReadWhatWasCommittedMeanwhile(t *testing.T) {
	now := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	read := store.LastRead{Entries: 21, Events: 5, Bans: 1}
	for _, tc := range []struct {
		what string
		ago  time.Duration
		exit string
		want *store.LastRead
	}{
		{"committed before it", 30 * time.Minute, "0", &store.LastRead{}},
		{"committed before it, which failed", 30 * time.Minute, "78", nil},
		{"committed by it", 4700 * time.Millisecond, "0", &read},
		{"committed by it, which failed", 4700 * time.Millisecond, "1", &read},
		{"committed after it", 2 * time.Second, "0", nil},
	} {
		s := sampleStatus(now)
		s.units["smtpban-block.service"]["ExecMainStatus"] = tc.exit
		s.read = read
		s.read.At = now.Add(-tc.ago)
		if tc.want == &read {
			tc.want = &s.read
		}
		run, known := s.lastRun()
		if diff := cmp.Diff(tc.want, run.read); !known || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", tc.what, known, diff)
		}
	}
}

func TestStatusKnowsWatchAsItKnowsTheTimer(t *testing.T) {
	now := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	for what, tc := range map[string]struct {
		active, text string
		waits        time.Duration // the oldest entry that is not read
		want         health
		timers, run  string
		problems     []problem
	}{
		"it watches": {"active", statusWatching, 0, healthy, "smtpban-watch.service: active, enabled", "goes on, since 30min", nil},
		"its passes fail": {"active", "The last pass failed with status 78 and is tried again", 0, isFailing, "smtpban-watch.service: active, enabled", "goes on, since 30min",
			[]problem{{true, "smtpban-watch.service: The last pass failed with status 78 and is tried again", "journalctl -e -u smtpban-watch"}}},
		"it reads nothing": {"active", statusWatching, 4 * time.Minute, degraded, "smtpban-watch.service: active, enabled", "goes on, since 30min",
			[]problem{{true, "entries of the journal wait for 4min, and are not read", "smtpban doctor"}}},
		"it reads all there is": {"activating", "", 4 * time.Minute, healthy, "smtpban-watch.service: activating, enabled", "goes on, since 30min", nil},
		"it is off": {"inactive", "", 0, isOff, "smtpban-watch.service: inactive, enabled", "2026-03-01 09:59:59 UTC (1s ago); success, took 29min 59s; 21 entries, 5 failures counted, 1 new ban",
			[]problem{{true, "smtpban-watch.service is inactive (dead)", "systemctl enable --now smtpban-watch.service"}}},
	} {
		s := sampleStatus(now)
		s.problems, s.standing.Held, s.held = nil, 0, holding{}
		if tc.waits > 0 {
			s.waiting = waiting{entries: 1, oldest: now.Add(-tc.waits)}
		}
		s.units["smtpban-block.timer"]["ActiveState"], s.units["smtpban-block.timer"]["UnitFileState"] = "inactive", "disabled"
		s.units["smtpban-watch.service"] = map[string]string{
			"ActiveState": tc.active, "SubState": "dead", "UnitFileState": "enabled", "StatusText": tc.text,
			"Result": "success", "ExecMainStatus": "0", "ExecMainStartTimestampMonotonic": "1800000000", "ExecMainExitTimestampMonotonic": "3599000000",
		}
		s.units["smtpban-expire.service"]["ExecMainExitTimestampMonotonic"] = "3500000000"
		s.judge()
		text := statusText{report.Text{Location: time.UTC}, s}
		got := []any{s.health, text.timers()[0].text, text.lastRunText(), s.problems}
		if diff := cmp.Diff([]any{tc.want, tc.timers, tc.run, tc.problems}, got, cmp.AllowUnexported(problem{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

func TestPatienceFollowsFromTheTimer(t *testing.T) {
	for timers, want := range map[string]time.Duration{
		"": 10 * time.Minute,
		"TimersMonotonic={ OnActiveUSec=1s ; next_elapse=0 }\nTimersMonotonic={ OnUnitInactiveUSec=30s ; next_elapse=1h }": 150 * time.Second,
		"TimersMonotonic={ OnUnitActiveUSec=1h 30min ; next_elapse=1h }":                                                   271 * time.Minute,
		"TimersCalendar={ OnCalendar=*-*-* 08:00:00 ; next_elapse=n/a }":                                                   1<<63 - 1,
	} {
		if got := parseUnits("Id=smtpban-block.timer\n" + timers).patience("smtpban-block"); got != want {
			t.Errorf("%q: %v, want %v", timers, got, want)
		}
	}
}

func TestNextRunIsWhatSystemdSaysOfIt(t *testing.T) {
	now := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	for property, want := range map[string]time.Time{
		"NextElapseUSecMonotonic=1h 25.5s\nNextElapseUSecRealtime=":                          now.Add(25500 * time.Millisecond),
		"NextElapseUSecMonotonic=infinity\nNextElapseUSecRealtime=":                          {},
		"NextElapseUSecMonotonic=0\nNextElapseUSecRealtime=Mon 2026-03-02 08:00:00 UTC":      time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC),
		"NextElapseUSecMonotonic=infinity\nNextElapseUSecRealtime=Mon 2026-03-02 08:00:00 Q": {},
	} {
		if got := parseUnits("Id=x.timer\n"+property).next("x.timer", now, time.Hour); !got.Equal(want) {
			t.Errorf("%q: %v, want %v", property, got, want)
		}
	}
}

func TestStatusPrintsNothingThatSteersTheTerminal(t *testing.T) {
	s := sampleStatus(time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC))
	s.errUnits = errors.New("systemctl show: \x1b[31mred\nand \u202emore")
	s.path = "/tmp/\x1b[1mstate"
	s.problems = append(s.problems, problem{found: "\x1b[2Jgone"})
	s.standing.Latest = []report.Ban{{Ban: ban.Ban{Prefix: netip.MustParsePrefix("203.0.113.9/32"), Reason: "\x1b[5mwhy"}}}
	var text bytes.Buffer
	if err := (statusText{report.Text{Location: time.UTC, Legend: true}, s}).write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"?[31mred; and ?more", "/tmp/?[1mstate", "?[2Jgone", "?[5mwhy"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in:\n%s", want, text.String())
		}
	}
	if plain := report.Printable(strings.ReplaceAll(text.String(), "\n", " ")); plain != strings.ReplaceAll(text.String(), "\n", " ") {
		t.Errorf("it has what can steer a terminal:\n%q", text.String())
	}
}
