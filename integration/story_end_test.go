package integration

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// reported reads the report where an admin finds it.
func (s *story) reported(t *testing.T) {
	s.checkReport(t)
	s.run(t, "useradd", "--create-home", admin)
	s.run(t, "systemctl", "enable", mailUnit)
	s.run(t, "systemctl", "start", "smtpban-report.service") // for the first time
	s.run(t, "journalctl", "--sync")
	text := s.run(t, "journalctl", "-q", "-o", "cat", "-u", "smtpban-report.service")
	want := map[string]string{}
	for client := range s.refused {
		want[client] = "open"
	}
	for _, a := range s.shutOut {
		want[clientOf(a)] = "blocked"
	}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		for client, state := range want {
			if slices.Contains(words, client) && slices.Contains(words, state) {
				delete(want, client)
			}
		}
	}
	if len(want) > 0 {
		t.Fatalf("the report does not name these with their state: %v\n%s", want, text)
	}
}

// explained asks why the first attacker is banned, and finds the lines for it that
// the last boot left in the journal.
func (s *story) explained(t *testing.T) {
	attacker := s.shutOut[0].String()
	text := s.run(t, "smtpban", "explain", "--no-legend", attacker)
	lines := strings.Count(text, "warning: unknown["+attacker+"]: SASL ")
	if lines != maxRetry || !strings.Contains(text, "\n     State: blocked\n") {
		t.Fatalf("want the state and %d lines that name %s:\n%s", maxRetry, attacker, text)
	}
}

// unbanned pardons one IPv4 and one IPv6 client; the next run, which reads no
// more about them, must not ban them again.
func (s *story) unbanned(t *testing.T) {
	pardoned := []netip.Addr{s.shutOut[0], netip.MustParseAddr("2001:db8:bad:1::1")}
	for _, a := range pardoned {
		s.run(t, "smtpban", "unban", a.String())
		s.shutOut = slices.DeleteFunc(s.shutOut, func(b netip.Addr) bool { return clientOf(a) == clientOf(b) })
	}
	s.run(t, "journalctl", "--sync")
	const idUnbanned = "MESSAGE_ID=7f1d4a60e6f94f0a9b0b5ce6a3d8e942" // see smtpban(8)
	trail := s.run(t, "journalctl", "-q", "-o", "cat", "-t", "smtpban", "--output-fields=SMTPBAN_CLIENT", idUnbanned)
	for _, a := range pardoned {
		if !slices.Contains(strings.Fields(trail), prefixOf(clientOf(a))) {
			t.Errorf("the journal does not say that root unbanned %v:\n%s", a, trail)
		}
	}
	if told := s.run(t, "journalctl", "-q", "-x", "-t", "smtpban", idUnbanned); !strings.Contains(told, "Subject: The ban of "+prefixOf(pardoned[0].String())+" is over\n") {
		t.Errorf("journalctl -x does not explain that:\n%s", told)
	}
	s.run(t, "smtpban", "block")
	s.checkBans(t)
	s.net.checkDoors(t, s.shutOut[:10], append(pardoned, s.letIn...))

	// Who goes on guessing is banned again.
	again := pardoned[0]
	maps.Copy(s.refused, s.net.attack(t, []session{{again, smtpPort, guesses(maxRetry, 0)}}))
	s.run(t, "journalctl", "--sync")
	s.run(t, "smtpban", "block")
	s.net.checkDoors(t, []netip.Addr{again}, pardoned[1:])
}

// expired lets the bans run out by moving the time that smtpban goes by.
func (s *story) expired(t *testing.T) {
	s.run(t, "systemctl", "stop", "smtpban-block.timer")
	s.run(t, "smtpban", "expire", "--now", "+"+(2*banTime).String())
	if got := routes(t, s.system); len(got) > 0 {
		t.Fatalf("routes after all bans have run out: %v", got)
	}
	same(t, "bans after all have run out", map[string]banLine{}, list(t, s.system))
	s.net.checkDoors(t, nil, append(s.shutOut[:10:10], s.shutOut[200:210]...)) // of both families, not more than Postfix serves at once
}

// rebuilt loses the store: the unit makes a new one out of the journal of both
// boots, in which nobody has been pardoned, and root goes on with it.
func (s *story) rebuilt(t *testing.T) {
	s.run(t, "find", "/var/lib/smtpban", "-mindepth", "1", "-delete")
	s.run(t, "systemctl", "start", "smtpban-block.service")
	s.refused, s.shutOut = failuresInJournal(t, s.system), nil
	for client, n := range s.refused {
		if n >= maxRetry {
			s.shutOut = append(s.shutOut, netip.MustParsePrefix(prefixOf(client)).Addr())
		}
	}
	s.checkReport(t)
	s.checkBans(t)
	before := storeFiles(t, s.system)
	s.run(t, "smtpban", "block")
	same(t, "the unit's store after an idle run by root", before, storeFiles(t, s.system))
}

func (s *story) healthy(t *testing.T) {
	if failed := s.run(t, "systemctl", "--failed", "--no-legend", "--plain"); failed != "" {
		t.Fatalf("failed units:\n%s", failed)
	}
}

// mailProgram lets a mail program with an old password do its best until the
// next session would be its last. Each of them is one failure, although the
// journal has a line for each mechanism.
func (s *story) mailProgram(t *testing.T) {
	var sessions []session
	for i := range maxRetry - 1 {
		sessions = append(sessions, session{mailer, submissionPort, walk(fmt.Sprintf("old %d", i))})
	}
	refused := s.net.attack(t, sessions)
	same(t, "failures of the mail program in the journal", len(mechanisms)*(maxRetry-1), failuresInJournal(t, s.system)[clientOf(mailer)])
	same(t, "refusals it got", map[string]int{clientOf(mailer): len(mechanisms) * (maxRetry - 1)}, refused)
	s.run(t, "smtpban", "block")
	same(t, "the mail program in smtpban report", clientLine{clientOf(mailer), maxRetry - 1, "open"}, report(t, s.system)[clientOf(mailer)])
	s.net.logInRight(t, mailer)
}
