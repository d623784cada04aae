package integration

import (
	"fmt"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"
)

// cutOff has clients of both families who go on in one session when the unit
// bans them. Its run ends the session, and nobody else's.
func (s *story) cutOff(t *testing.T) {
	guessers := []netip.Addr{netip.MustParseAddr("203.0.113.225"), netip.MustParseAddr("2001:db8:bad:300::1")}
	users := []netip.Addr{friend, friend6}
	sessions := map[netip.Addr]*textproto.Conn{}
	for _, a := range slices.Concat(guessers, users) {
		conn, err := s.net.dial(a, submissionPort, dialTimeout)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		sessions[a] = textproto.NewConn(conn)
		if _, _, err := sessions[a].ReadResponse(220); err != nil {
			t.Fatal(err)
		}
		s.answers(t, sessions[a], 250, "EHLO client.example.test")
	}
	for nth, a := range guessers {
		for _, l := range guesses(maxRetry, nth) {
			if code, err := authenticate(sessions[a], l); code != 535 {
				t.Fatalf("a wrong password from %s: reply %d, error %v", a, code, err)
			}
		}
		s.refused[clientOf(a)] = maxRetry
	}
	same(t, "sessions before the ban", addresses(slices.Concat(guessers, users)), s.inSession(t))

	from := cursor(t, s.system)
	s.run(t, "systemctl", "start", "smtpban-block.service")
	same(t, "sessions after the ban", addresses(users), s.inSession(t))
	for _, a := range users {
		s.answers(t, sessions[a], 250, "NOOP")
		s.answers(t, sessions[a], 221, "QUIT")
	}
	s.logged(t, from, "\nended 2 connections\n")
	for _, a := range guessers {
		s.logged(t, from, fmt.Sprintf("disconnect from unknown[%s]", a)) // smtpd is free again, long before its timeout
	}
	s.shutOut = append(s.shutOut, guessers...)
	s.checkReport(t)
	s.checkBans(t)
	s.net.checkDoors(t, guessers, users)
}

// answers fails the test unless the server answers the line with the code.
func (s *story) answers(t *testing.T, smtp *textproto.Conn, code int, line string) {
	t.Helper()
	if _, err := say(smtp, code, line); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
}

// logged waits a moment for a text in the journal after a place.
func (s *story) logged(t *testing.T, after, text string) {
	t.Helper()
	const patience = 5 * time.Second
	var lines string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		s.run(t, "journalctl", "--sync")
		if lines = s.run(t, "journalctl", "-q", "-o", "cat", "--after-cursor="+after); strings.Contains(lines, text) {
			return
		}
	}
	t.Fatalf("no %q in the journal:\n%s", text, lines)
}

// inSession returns the clients with a connection to the submission port, as the
// server's kernel knows them.
func (s *story) inSession(t *testing.T) []string {
	t.Helper()
	var clients []netip.Addr
	for line := range strings.Lines(s.run(t, "ss", "-Htn", "state", "established", "sport", "=", fmt.Sprintf(":%d", submissionPort))) {
		columns := strings.Fields(line) // two queues, local, peer
		peer, err := netip.ParseAddrPort(columns[3])
		if err != nil {
			t.Fatalf("ss printed %q: %v", line, err)
		}
		clients = append(clients, peer.Addr().Unmap())
	}
	return addresses(clients)
}

// addresses writes them in order.
func addresses(all []netip.Addr) []string {
	var text []string
	for _, a := range all {
		text = append(text, a.String())
	}
	slices.Sort(text)
	return text
}
