package integration

import (
	"maps"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var exposure = regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)

// sandboxed asks the systemd that runs the units, which may know more settings
// than the one they were written with.
func (s *story) sandboxed(t *testing.T) {
	const limit = 1.2
	units := strings.Fields(s.run(t, "find", "/usr/lib/systemd/system", "-maxdepth", "1", "-name", "smtpban-*", "-type", "f"))
	if len(units) != 10 {
		t.Fatalf("installed units: %v, want 7 services and 3 timers", units)
	}
	stdout, stderr, code := s.try(t, append([]string{"systemd-analyze", "verify", "--man=no"}, units...)...)
	if code != 0 || stdout+stderr != "" {
		t.Fatalf("systemd-analyze verify: exit status %d\n%s%s", code, stdout, stderr)
	}
	for _, service := range []string{"block", "doctor", "expire", "report", "restore", "watch"} {
		text := s.run(t, "systemd-analyze", "security", "--no-pager", "smtpban-"+service+".service")
		m := exposure.FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("systemd-analyze security smtpban-%s names no level:\n%s", service, text)
		}
		if level, err := strconv.ParseFloat(m[1], 64); err != nil || level > limit {
			t.Errorf("exposure of smtpban-%s is %s, want at most %v:\n%s", service, m[1], limit, text)
		}
	}
}

// imitation logs in under a name that is the text of a failure of framed.
func (s *story) imitation(t *testing.T) {
	maps.Copy(s.refused, s.net.attack(t, []session{{impostor, submissionPort, imitating(framed)}}))
	s.shutOut = append(s.shutOut, impostor)
	s.run(t, "journalctl", "--sync")
	if s.run(t, "journalctl", "-q", "-o", "cat", "--grep", `sasl_username=unknown\[`+framed.String()) == "" {
		t.Fatal("the name that imitates a log line is not in the journal")
	}
	s.run(t, "smtpban", "block")
	s.checkReport(t)
	s.checkBans(t)
}

// forgeries has a local user write Postfix's lines about framed.
func (s *story) forgeries(t *testing.T) {
	forgeFailures(t, s.system, framed)
	s.run(t, "smtpban", "block")
	s.checkReport(t)
	s.checkBans(t)
	s.net.checkDoors(t, nil, []netip.Addr{framed})
}

// adminRoute has a client attack to whom the admin has a route of his own,
// where smtpban's would have to be.
func (s *story) adminRoute(t *testing.T) {
	prefix := prefixOf(neighbor.String())
	own := []string{prefix, "via", "192.0.2.1", "proto", "static"}
	s.run(t, append([]string{"ip", "route", "add"}, own...)...)
	before := s.run(t, "ip", "route", "show", prefix)
	maps.Copy(s.refused, s.net.attack(t, []session{{neighbor, smtpPort, guesses(maxRetry, 0)}}))
	s.run(t, "journalctl", "--sync")

	stdout, stderr, _ := s.try(t, "smtpban", "block")
	if !strings.Contains(stdout+stderr, prefix) {
		t.Fatalf("block does not name %s, which it could not block:\n%s%s", prefix, stdout, stderr)
	}
	same(t, "the admin's route", before, s.run(t, "ip", "route", "show", prefix))
	if b := list(t, s.system)[prefix]; b.Route || b.Origin != "journal" {
		t.Fatalf("list says %+v of a ban whose place another route holds", b)
	}
	s.checkReport(t) // neighbor is not shut out: open

	s.run(t, append([]string{"ip", "route", "del"}, own...)...)
	s.run(t, "smtpban", "block")
	s.shutOut = append(s.shutOut, neighbor)
	s.checkBans(t)
}
