package integration

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// atAGlance has status see that the timers run, and that they were stopped.
func (s *story) atAGlance(t *testing.T) {
	s.run(t, "systemctl", "start", "smtpban-block.service") // waits for the run that may be under way
	text := s.run(t, "smtpban", "status")
	for _, part := range []string{"● smtpban - running\n", "smtpban-block.timer: active, enabled; ", "Kernel: in step, ", " success, took "} {
		if !strings.Contains(text, part) {
			t.Errorf("smtpban status does not say %q:\n%s", part, text)
		}
	}
	s.checkStatus(t, "running", 0)
	s.monitored(t, "OK", 0)
	if _, stderr, code := s.try(t, "setpriv", "--reuid=nobody", "--clear-groups", "smtpban", "status"); code != 77 || !strings.Contains(stderr, "run as root") {
		t.Errorf("status of an ordinary user: exit status %d, want 77: %s", code, stderr)
	}

	s.run(t, "systemctl", "stop", "smtpban-block.timer")
	s.run(t, "systemctl", "start", "smtpban-block.service")
	s.checkStatus(t, "off", 3)
	s.monitored(t, "CRITICAL", 2)
	s.run(t, "ip", "route", "del", "blackhole", s.shutOut[0].String())
	s.run(t, "systemctl", "start", "smtpban-block.timer")
	s.run(t, "smtpban", "block")
	s.monitored(t, "OK", 0)
}

// checkStatus compares what status says as JSON, and its exit status.
func (s *story) checkStatus(t *testing.T, want string, wantCode int) {
	t.Helper()
	stdout, stderr, code := s.try(t, "smtpban", "status", "-o", "json")
	if code != wantCode || stderr != "" {
		t.Fatalf("smtpban status: exit status %d, want %d\n%s%s", code, wantCode, stdout, stderr)
	}
	var got struct {
		State  string
		Timers []struct {
			Unit string
			Next *time.Time
		}
		LastRun struct {
			Start, End *time.Time
			Result     string
			ExitStatus int `json:"exit_status"`
		} `json:"last_run"`
		LastRead struct{ Time time.Time } `json:"last_read"`
		Position time.Time
		Bans     struct{ Active int }
		Routes   struct{ Wanted, Missing, Excess int }
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("smtpban status -o json: %v", err)
	}
	switch run := got.LastRun; {
	case got.State != want:
	case len(got.Timers) != 2, want == "running" && (got.Timers[1].Next == nil || time.Until(*got.Timers[1].Next).Abs() > time.Hour):
	case run.Start == nil, time.Since(*run.Start).Abs() > 2*time.Minute, run.Result != "success", run.ExitStatus != 0:
	case got.LastRead.Time.IsZero(), time.Since(got.Position).Abs() > time.Hour:
	case got.Bans.Active < got.Routes.Wanted, got.Routes.Wanted == 0, got.Routes.Missing+got.Routes.Excess > 0:
	default:
		return
	}
	t.Errorf("state %s was wanted of\n%s", want, stdout)
}

// monitored compares what a monitoring system sees.
func (s *story) monitored(t *testing.T, want string, wantCode int) {
	t.Helper()
	stdout, stderr, code := s.try(t, "smtpban", "status", "--check")
	if code != wantCode || !strings.HasPrefix(stdout, "SMTPBAN "+want+" - ") || strings.Count(stdout, "\n") > 1 || stderr != "" {
		t.Errorf("smtpban status --check: exit status %d, want %d and %s:\n%s%s", code, wantCode, want, stdout, stderr)
	}
}
