package integration

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// suppressed lets journald drop messages of Postfix, by a limit that is far
// below the usual one, and looks for that in the report. What lifts a limit by
// smtpban's advice lifts this one, too.
func (s *story) suppressed(t *testing.T) {
	const interval = 5 * time.Second
	const visits = 20 // journald allows up to six times as much, see journald.conf(5)
	unit := s.postfixUnit(t)
	s.limit(t, unit, interval.String())
	for range visits {
		s.net.logInRight(t, friend)
	}
	time.Sleep(interval)
	s.net.logInRight(t, friend) // only now does journald tell
	s.limit(t, unit, "1us")
	from := cursor(t, s.system)
	for range visits {
		s.net.logInRight(t, friend)
	}
	s.run(t, "journalctl", "--sync")
	kept := s.run(t, "journalctl", "-q", "-o", "cat", "--after-cursor="+from, "--grep", "^connect from unknown")
	same(t, "connections in the journal without a limit", visits*2*len(mechanisms), strings.Count(kept, "\n"))

	dropped := s.run(t, "journalctl", "-q", "-o", "cat", "--output-fields=N_DROPPED",
		"_TRANSPORT=driver", "MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e", "OBJECT_SYSTEMD_UNIT="+unit)
	want := strings.Fields(dropped)
	if len(want) == 0 {
		t.Fatal("journald suppressed nothing")
	}
	if _, stderr, code := s.try(t, "smtpban", "block"); code != 1 || !strings.Contains(stderr, "LogRateLimitIntervalSec=1us") {
		t.Fatalf("block after a loss: exit status %d\n%s", code, stderr)
	}
	same(t, "messages lost, in smtpban report", want, lost(t, s.system))
	s.run(t, "smtpban", "block") // told once
	same(t, "messages lost, after another run", want, lost(t, s.system))
}

// limit restarts a unit of which journald keeps some ten messages in an interval.
func (s *story) limit(t *testing.T, unit, interval string) {
	t.Helper()
	s.write(t, "etc/systemd/system/"+unit+".d/limit.conf", "[Service]\nLogRateLimitIntervalSec="+interval+"\nLogRateLimitBurst=10\n")
	s.run(t, "systemctl", "daemon-reload")
	s.run(t, "systemctl", "restart", unit)
}

// lost returns how many messages each gap in smtpban's report is of.
func lost(t *testing.T, s *system) (lost []string) {
	t.Helper()
	var r struct{ Gaps []struct{ Lost json.Number } }
	if err := json.Unmarshal([]byte(s.run(t, "smtpban", "report", "-o", "json")), &r); err != nil {
		t.Fatalf("smtpban report -o json: %v", err)
	}
	for _, g := range r.Gaps {
		lost = append(lost, g.Lost.String())
	}
	return lost
}
