package integration

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

// refusedPassword is this test's own idea of a failure. It shares nothing with
// smtpban's parser, so that the two can be compared.
var refusedPassword = regexp.MustCompile(`^warning: [A-Za-z0-9._-]+\[([0-9a-f.:]+)\]: SASL \S+ authentication failed: `)

// clientOf is the name under which reports show a client: an IPv4 address, or
// the /64 network of an IPv6 address.
func clientOf(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	return netip.PrefixFrom(a, 64).Masked().String()
}

// failuresInJournal counts, for each client, the passwords refused by entries
// that Postfix's own user wrote.
func failuresInJournal(t *testing.T, s *system) map[string]int {
	t.Helper()
	s.run(t, "journalctl", "--sync")
	uid := strings.TrimSpace(s.run(t, "id", "-u", "postfix"))
	text := s.run(t, "journalctl", "-q", "-o", "json", "--output-fields=MESSAGE", "_TRANSPORT=syslog", "_UID="+uid)
	failures := map[string]int{}
	for line := range strings.Lines(text) {
		var entry struct{ MESSAGE string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("journalctl printed %q: %v", line, err)
		}
		if m := refusedPassword.FindStringSubmatch(entry.MESSAGE); m != nil {
			failures[clientOf(netip.MustParseAddr(m[1]))]++
		}
	}
	return failures
}

// cursor returns the place of the newest entry in the journal.
//
// It is for reading everything after it: where a filter hides the entry itself,
// journalctl 252 drops the first one that it lets through (systemd issue 30288).
func cursor(t *testing.T, s *system) string {
	t.Helper()
	s.run(t, "journalctl", "--sync")
	_, c, ok := strings.Cut(s.run(t, "journalctl", "-q", "-n0", "--show-cursor"), "-- cursor: ")
	if !ok {
		t.Fatal("journalctl shows no cursor")
	}
	return strings.TrimSpace(c)
}

// dumpJournal shows, if the test has failed, what the system was doing.
func dumpJournal(t *testing.T, s *system) {
	t.Helper()
	if !t.Failed() || s.nspawn == nil {
		return
	}
	for _, query := range [][]string{
		{"-n60", "-u", "smtpban*"},
		{"-n40", "-p", "warning"},
		{"-n40"},
	} {
		text, _ := s.command(append([]string{"journalctl", "--no-pager", "-o", "short-precise"}, query...)...).CombinedOutput()
		t.Logf("journalctl %s:\n%s", strings.Join(query, " "), text)
	}
}
