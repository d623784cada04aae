package integration

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// capture names a file; if it is set, TestCapture writes one.
const capture = "SMTPBAN_CAPTURE"

// captured are the fields that the demo's journal keeps, beside the addresses
// of an entry, which journalctl always exports.
const captured = "_TRANSPORT,_UID,_PID,_COMM,SYSLOG_IDENTIFIER,SYSLOG_PID,SYSLOG_FACILITY,PRIORITY,MESSAGE,_MACHINE_ID,_HOSTNAME"

// TestCapture makes the journal of the demo: the mail log of a server that is
// attacked a little, as journalctl exports it. It is a tool rather than a test
// and runs only when it is asked for.
func TestCapture(t *testing.T) {
	file := os.Getenv(capture)
	if file == "" {
		t.Skipf("it writes a new capture for the demo if %s names a file", capture)
	}
	needSystem(t)
	s := newSystem(t, "bookworm")
	installPostfix(t, s)
	installForge(t, s)
	s.boot(t)

	sessions := append(crowd(12, 3),
		session{clumsy, submissionPort, guesses(maxRetry-1, 0)},
		session{impostor, submissionPort, imitating(framed)})
	refused := s.net.attack(t, sessions)
	s.net.logInRight(t, clumsy)
	s.net.logInRight(t, friend)
	forgeFailures(t, s, framed)
	same(t, "failures in the journal and refusals the clients got", refused, failuresInJournal(t, s))

	text := s.run(t, "journalctl", "-q", "-o", "export", "--output-fields="+captured, "SYSLOG_FACILITY=2")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d entries, %d clients, %d bytes", file, strings.Count(text, "\n\n"), len(refused), len(text))
}

// imitating returns logins under a name that is the text of a victim's failure.
func imitating(victim netip.Addr) []login {
	logins := guesses(maxRetry, 0)
	for i := range logins {
		logins[i].user = fmt.Sprintf("unknown[%s]: SASL LOGIN authentication failed: x", victim)
	}
	return logins
}
