package integration

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"smtpban/integration/torture"
)

const (
	preloadLibrary = "/usr/local/lib/forge.so"
	repeated       = 36 // how often each user repeats each forgery in a round
)

// massForgeries are the ways of forgeries and some more, each repeated by one
// process or a loop: MESSAGE stands for the line, TIMES for how often.
var massForgeries = []struct {
	name    string
	home    bool // needs a home, and mail that is delivered there
	command string
}{
	{"logger", false, `for i in $(seq TIMES); do logger -t postfix/smtpd -p mail.warning 'MESSAGE'; done`},
	{"logger with the pid of master", false, `for i in $(seq TIMES); do logger -t postfix/smtpd --id=$(pgrep -o -x master) -p mail.warning 'MESSAGE'; done`},
	{"systemd-cat", false, `for i in $(seq TIMES); do echo 'MESSAGE'; done | systemd-cat -t postfix/smtpd`},
	{"native socket with forged fields", false, forgeProgram + ` native 'MESSAGE' TIMES`},
	{"syslog socket as a process called smtpd", false, forgeProgram + ` syslog 'MESSAGE' TIMES`},
	{"the real smtpd, preloaded", false, `FORGED='MESSAGE' TIMES=TIMES LD_PRELOAD=` + preloadLibrary + ` /usr/lib/postfix/sbin/smtpd`},
	{"postlog", false, `for i in $(seq TIMES); do postlog -t postfix/smtpd 'MESSAGE' 2>/dev/null; done`},
	{".forward, run by Postfix itself", true, `printf '|"for i in $(seq TIMES); do logger -t postfix/smtpd %s; done"\n' "'MESSAGE'" >~/.forward && echo hello | sendmail $(id -un)`},
}

// forgers are the users who do that. bob is added beside alice, the others are
// Debian's.
var forgers = []string{alice, "bob", "nobody", "www-data", "daemon"}

// TestTortureForged has local users forge lines of Postfix's in every way there is,
// in the real system. None may be counted. The story has a short form of it.
func TestTortureForged(t *testing.T) {
	needFull(t)
	s := &story{system: newSystem(t, "trixie"), refused: map[string]int{}}
	s.write(t, "etc/systemd/journald.conf.d/all.conf", "[Journal]\nRateLimitIntervalSec=0\n")
	s.installed(t)
	output(t, exec.Command("gcc", "-shared", "-fPIC", "-O1", "-o", filepath.Join(s.root, preloadLibrary), "forge/testdata/preload.c"))
	s.run(t, "useradd", "--create-home", "bob")
	torture.Run(t, torture.Row{
		Title: "forged local entries, in 8 ways, as 5 users, in the real system",
		Goal:  "10,000, 0 counted",
		Full:  8,
		Figure: func(y torture.Tally) string {
			return fmt.Sprintf("%d forged entries, 0 counted", y.Counts["forged"])
		},
		Check: func(y torture.Tally) error {
			if y.Counts["forged"] < 10_000 {
				return fmt.Errorf("only %d were forged", y.Counts["forged"])
			}
			return nil
		},
	}, func(r *torture.Round) error { return s.forgeMany(t, r) })
}

// needFull skips what is only run at full length.
func needFull(t *testing.T) {
	t.Helper()
	if !torture.Full() {
		t.Skip("only by make torture")
	}
	needSystem(t)
}

// forgeMany is a round: all ways by all users, beside one real failure.
func (s *story) forgeMany(t *testing.T, r *torture.Round) error {
	framed := netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + r.Rand.IntN(250))})
	guilty := netip.AddrFrom4([4]byte{203, 0, 113, byte(1 + r.N)})
	want := map[string]int{}
	for _, user := range forgers {
		for _, f := range massForgeries {
			if f.home && user != alice && user != "bob" {
				continue
			}
			line := fmt.Sprintf("warning: unknown[%s]: SASL LOGIN authentication failed: round %d, %s, %s", framed, r.N, user, f.name)
			want[line] = repeated
			command := strings.NewReplacer("MESSAGE", line, "TIMES=TIMES", fmt.Sprintf("TIMES=%d", repeated), "TIMES", fmt.Sprint(repeated)).Replace(f.command)
			s.run(t, "runuser", "-u", user, "--", "sh", "-c", command)
		}
	}
	if err := s.allForged(t, want); err != nil {
		return err
	}
	s.net.attack(t, []session{{guilty, submissionPort, guesses(1, r.N)}})
	s.run(t, "journalctl", "--sync")
	s.run(t, "systemctl", "start", "smtpban-block.service")
	clients := report(t, s.system)
	_, counted := clients[framed.String()]
	switch {
	case counted:
		return fmt.Errorf("%s was framed: %+v", framed, clients[framed.String()])
	case clients[guilty.String()].Failures != 1:
		return fmt.Errorf("the real failure of %s was not counted: %+v", guilty, clients[guilty.String()])
	case len(routes(t, s.system)) > 0:
		return fmt.Errorf("somebody is blocked: %v", routes(t, s.system))
	}
	for range want {
		r.Count("forged", repeated)
	}
	return nil
}

// allForged waits until every line is in the journal as often as it was forged.
func (s *story) allForged(t *testing.T, want map[string]int) error {
	t.Helper()
	const patience = time.Minute // Postfix's queue takes its time
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Second) {
		found := map[string]int{}
		text := s.run(t, "journalctl", "-q", "-o", "json", "--output-fields=MESSAGE", "SYSLOG_IDENTIFIER=postfix/smtpd")
		for entry := range strings.Lines(text) {
			var e struct{ MESSAGE string }
			if err := json.Unmarshal([]byte(entry), &e); err != nil {
				return fmt.Errorf("journalctl printed %q: %w", entry, err)
			}
			found[e.MESSAGE]++
		}
		missing := ""
		for line, n := range want {
			if found[line] < n {
				missing = fmt.Sprintf("%q is in the journal %d times, not %d", line, found[line], n)
			}
		}
		if missing == "" {
			return nil
		}
		if time.Now().After(deadline) {
			t.Fatalf("a forgery does not work: %s", missing)
		}
	}
}
