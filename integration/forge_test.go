package integration

import (
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	forgeProgram  = "/usr/local/bin/forge"
	forgeryOfEach = 6 // more than bring a ban
)

// forgeries are the ways in which alice, a local user, can get a line into the
// journal under Postfix's tag; MESSAGE stands for the line.
var forgeries = []struct {
	name    string
	command []string
}{
	{"logger", []string{"logger", "-t", "postfix/smtpd", "-p", "mail.warning", "MESSAGE"}},
	{"systemd-cat", []string{"systemd-cat", "-t", "postfix/smtpd", "echo", "MESSAGE"}},
	{"native socket with forged fields", []string{forgeProgram, "native", "MESSAGE"}},
	{"syslog socket as a process called smtpd", []string{forgeProgram, "syslog", "MESSAGE"}},
	{".forward, run by Postfix itself", []string{"sh", "-c", `printf '|"logger -t postfix/smtpd %s"\n' "'MESSAGE'" >~/.forward && echo hello | sendmail alice`}},
}

// installForge builds the program for a system that is off.
func installForge(t *testing.T, s *system) {
	t.Helper()
	installProgram(t, s, "./forge", forgeProgram)
}

// installProgram builds a program of ours into a system.
func installProgram(t *testing.T, s *system, source, path string) {
	t.Helper()
	build := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(s.root, path), source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // runs whatever C library the system has
	output(t, build)
}

// forgeFailures makes alice forge failures of the victim in every way, and
// waits until all of them are in the journal.
func forgeFailures(t *testing.T, s *system, victim netip.Addr) {
	t.Helper()
	want := map[string]int{}
	for _, f := range forgeries {
		line := "warning: unknown[" + victim.String() + "]: SASL LOGIN authentication failed: " + f.name
		want[line] = forgeryOfEach
		for range forgeryOfEach {
			args := []string{"runuser", "-u", alice, "--"}
			for _, arg := range f.command {
				args = append(args, strings.ReplaceAll(arg, "MESSAGE", line))
			}
			s.run(t, args...)
		}
	}
	awaitForgeries(t, s, want)
}

// awaitForgeries fails the test unless every forged line arrives, so that a
// forgery which does not work never passes for one that was seen through.
func awaitForgeries(t *testing.T, s *system, want map[string]int) {
	t.Helper()
	const patience = 10 * time.Second // Postfix's queue takes its time
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		missing := map[string]int{}
		for line, n := range want {
			missing[line] = n
		}
		text := s.run(t, "journalctl", "-q", "-o", "json", "--output-fields=MESSAGE", "SYSLOG_IDENTIFIER=postfix/smtpd", "_UID=1001")
		for entry := range strings.Lines(text) {
			var e struct{ MESSAGE string }
			if err := json.Unmarshal([]byte(entry), &e); err != nil {
				t.Fatalf("journalctl printed %q: %v", entry, err)
			}
			if missing[e.MESSAGE]--; missing[e.MESSAGE] <= 0 {
				delete(missing, e.MESSAGE)
			}
		}
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("forged lines that are not in the journal: %v", missing)
		}
	}
}
