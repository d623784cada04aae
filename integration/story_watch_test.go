package integration

import (
	"strings"
	"testing"
	"time"
)

const (
	blockTimer   = "smtpban-block.timer"
	watchService = "smtpban-watch.service"
	expireTimer  = "smtpban-expire.timer"
)

// watched has smtpban-watch.service take over from the timer, the two take turns in
// the middle of an attack, and the timer go on in the end, each by the commands
// that an admin types.
func (s *story) watched(t *testing.T) {
	s.run(t, "systemctl", "disable", blockTimer)
	s.run(t, "systemctl", "enable", "--now", watchService)
	s.runs(t, watchService, blockTimer)
	if enabled, _, _ := s.try(t, "systemctl", "is-enabled", watchService, "smtpban-restore.service", blockTimer); enabled != "enabled\nenabled\ndisabled\n" {
		t.Errorf("watch, restore and the timer are %q", enabled)
	}
	s.outlast(t, 0x500, "198.51.100.200", func() {
		for range 3 {
			s.run(t, "systemctl", "start", blockTimer)
			s.runs(t, blockTimer, watchService)
			s.run(t, "systemctl", "start", watchService)
			s.runs(t, watchService, blockTimer)
		}
	})
	s.outlast(t, 0x600, "198.51.100.210", func() {
		s.run(t, "systemctl", "restart", "systemd-journald")
		s.run(t, "systemctl", "kill", "--signal=SIGKILL", watchService) // it is started again
	})
	s.runs(t, watchService, blockTimer)
	if checks, _, _ := s.try(t, "smtpban", "doctor", "--no-legend"); !strings.Contains(checks, "smtpban-watch runs, smtpban-expire") {
		t.Errorf("smtpban doctor:\n%s", checks)
	}
	if status := s.run(t, "systemctl", "show", "-P", "StatusText", watchService); status != "Watching the journal\n" {
		t.Errorf("%s says %q", watchService, status)
	}
	from := cursor(t, s.system)
	time.Sleep(time.Second) // several looks, and what a line of its own would lead to
	if lines := s.run(t, "journalctl", "-q", "--after-cursor="+from, "-t", "smtpban"); lines != "" {
		t.Errorf("watch says, with nothing going on:\n%s", lines)
	}
	s.run(t, "systemctl", "disable", watchService)
	s.run(t, "systemctl", "enable", "--now", blockTimer)
	s.runs(t, blockTimer, watchService)
	s.checkBans(t)
}

// runs checks that the first of two is active, and bans are ended with it, and the
// other one is not.
func (s *story) runs(t *testing.T, active, inactive string) {
	t.Helper()
	states, _, _ := s.try(t, "systemctl", "is-active", active, expireTimer, inactive)
	same(t, "whether "+active+", "+expireTimer+" and "+inactive+" are active", "active\nactive\ninactive\n", states)
}
