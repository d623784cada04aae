package integration

import (
	"net/netip"
	"strings"
	"testing"
)

// outage takes the passwords away from under Postfix. The mail programs of those
// who used to log in fail like guessers, and beside them fails a guesser.
func (s *story) outage(t *testing.T) {
	users := []netip.Addr{netip.MustParseAddr("198.51.100.101"), netip.MustParseAddr("198.51.100.102"), netip.MustParseAddr("2001:db8:bad:fff0::1")}
	guesser := netip.MustParseAddr("198.51.100.130")
	for _, a := range users {
		s.logInOnce(t, a)
	}
	s.run(t, "mv", "/etc/sasldb2", "/etc/sasldb2.away")
	var sessions []session
	for _, a := range users {
		right := login{"PLAIN", alice, password}
		sessions = append(sessions, session{a, submissionPort, []login{right, right, right, right, right}})
	}
	s.net.attack(t, append(sessions, session{guesser, submissionPort, guesses(maxRetry, 0)}))
	s.run(t, "journalctl", "--sync")

	from := cursor(t, s.system)
	s.try(t, "systemctl", "start", "smtpban-block.service")
	same(t, "exit status of the run that holds bans back", "4\n", s.run(t, "systemctl", "show", "-P", "ExecMainStatus", "smtpban-block.service"))
	s.logged(t, from, "\n3 bans held back, and more may follow: ")
	bans := list(t, s.system)
	for _, a := range users {
		if b := bans[prefixOf(clientOf(a))]; !b.Held || b.Route {
			t.Errorf("the ban of %s, who used to log in: %+v", a, b)
		}
	}
	if b := bans[prefixOf(clientOf(guesser))]; b.Held || !b.Route {
		t.Errorf("the ban of the guesser: %+v", b)
	}
	for _, a := range users {
		same(t, "state of who used to log in", "held", report(t, s.system)[clientOf(a)].State)
	}
	s.net.checkDoors(t, []netip.Addr{guesser}, users)

	s.run(t, "mv", "/etc/sasldb2.away", "/etc/sasldb2")
	for _, a := range users {
		s.logInOnce(t, a)
	}
	s.run(t, "journalctl", "--sync")
	from = cursor(t, s.system)
	s.run(t, "systemctl", "start", "smtpban-block.service")
	if told := s.run(t, "journalctl", "-q", "-o", "cat", "--after-cursor="+from, "-t", "smtpban"); strings.Contains(told, "held") {
		t.Errorf("after the outage block says:\n%s", told)
	}
	s.net.checkDoors(t, []netip.Addr{guesser}, users)
	for _, a := range append(users, guesser) {
		s.run(t, "smtpban", "unban", a.String())
	}
}

// logInOnce logs alice in.
func (s *story) logInOnce(t *testing.T, from netip.Addr) {
	t.Helper()
	replies, err := s.net.logIn(from, submissionPort, login{"PLAIN", alice, password})
	if err != nil || replies[235] != 1 {
		t.Fatalf("the right password from %s: replies %v, error %v", from, replies, err)
	}
}
