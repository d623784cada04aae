package integration

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

// examined has root and the unit, in its sandbox, look for what is wrong: first
// with nothing, then with something.
func (s *story) examined(t *testing.T) {
	s.run(t, "smtpban", "expire") // else it depends on the time whether there is a snapshot
	well := map[string]string{}
	for check := range strings.FieldsSeq("configuration postfix-settings postfix-log journal journal-persistent postfix-entries " +
		"suppressed gaps clients proxy-protocol listeners routes routes-agree end-connections outage ignored timers state snapshot disk clock") {
		well[check] = "ok"
	}
	well["postfix-uid"] = "warning" // of the forgeries
	well["lists"] = "skipped"       // none is published here
	well["metrics"] = "skipped"     // nor are these written
	s.checkDoctor(t, well)

	const main, master = "maillog_file", "submission/inet/smtpd_upstream_proxy_protocol"
	s.run(t, "postconf", "-e", main+"=/var/log/postfix.log")
	s.run(t, "postconf", "-P", master+"=haproxy")
	s.run(t, "systemctl", "stop", "smtpban-block.timer")
	s.run(t, "systemctl", "start", "smtpban-block.service") // waits for the run that may be under way
	s.run(t, "ip", "route", "del", "blackhole", s.shutOut[0].String())
	s.checkDoctor(t, with(well, "failure", "postfix-log", "proxy-protocol", "timers", "routes-agree"))
	s.run(t, "postconf", "-X", main)
	s.run(t, "postconf", "-PX", master)
	s.run(t, "systemctl", "start", "smtpban-block.timer")
	s.run(t, "smtpban", "block")

	// What the unit's sandbox keeps from it only the unit finds.
	const dropIn = "etc/systemd/system/smtpban-doctor.service.d/closed.conf"
	s.write(t, dropIn, "[Service]\nSupplementaryGroups=\nAmbientCapabilities=\n")
	s.run(t, "systemctl", "daemon-reload")
	blind := with(with(well, "failure", "journal", "routes"), "skipped", "postfix-entries", "postfix-uid", "clients")
	same(t, "checks without group and capability", blind, s.doctorUnit(t, "failed"))
	s.run(t, "rm", "/"+dropIn)
	s.run(t, "systemctl", "daemon-reload")
}

// with returns the results with those of some checks changed.
func with(results map[string]string, result string, checks ...string) map[string]string {
	results = maps.Clone(results)
	for _, check := range checks {
		results[check] = result
	}
	return results
}

// checkDoctor compares what root's command line and the unit find, and that they
// fail if a check does.
func (s *story) checkDoctor(t *testing.T, want map[string]string) {
	t.Helper()
	wantCode, wantState := 0, "inactive"
	for _, result := range want {
		if result == "failure" {
			wantCode, wantState = 1, "failed"
		}
	}
	stdout, stderr, code := s.try(t, "smtpban", "doctor", "-o", "json")
	if code != wantCode || stderr != "" {
		t.Fatalf("smtpban doctor: exit status %d, want %d\n%s%s", code, wantCode, stdout, stderr)
	}
	var checks []struct{ Check, Result string }
	if err := json.Unmarshal([]byte(stdout), &checks); err != nil {
		t.Fatalf("smtpban doctor -o json: %v", err)
	}
	got := map[string]string{}
	for _, c := range checks {
		got[c.Check] = c.Result
	}
	same(t, "checks of smtpban doctor\n"+stdout, want, got)
	same(t, "checks of smtpban-doctor.service", want, s.doctorUnit(t, wantState))
}

// doctorUnit returns what the unit finds; it must end in the given state.
func (s *story) doctorUnit(t *testing.T, state string) map[string]string {
	t.Helper()
	const unit = "smtpban-doctor.service"
	from := cursor(t, s.system)
	s.try(t, "systemctl", "start", unit)
	if got := strings.TrimSpace(s.run(t, "systemctl", "show", "-P", "ActiveState", unit)); got != state {
		t.Fatalf("%s is %s, want %s", unit, got, state)
	}
	s.try(t, "systemctl", "reset-failed", unit)
	s.run(t, "journalctl", "--sync")
	text := s.run(t, "journalctl", "-q", "-o", "cat", "-t", "smtpban", "--after-cursor="+from, "_SYSTEMD_UNIT="+unit)
	results := map[string]string{}
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); slices.Contains([]string{"ok", "warning", "failure", "skipped"}, words[1]) {
			results[words[0]] = words[1]
		}
	}
	return results
}
