package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"smtpban/integration/torture"
)

// measureReaction, set to 1, asks for the tests below: make bench-reaction does.
const measureReaction = "SMTPBAN_REACTION"

// The attack: each guesser comes at another moment of the half minute that the
// timer takes from run to run, and tries ten passwords a second, in sessions so
// short that Postfix does not slow it down, until it is not answered any more.
const (
	guessers   = 40
	guessPause = 100 * time.Millisecond
	spread     = 30 * time.Second
)

// jail is fail2ban's own for Postfix, looking at the unit that it has here: in the
// jail itself journalmatch has no effect.
const jail = `[DEFAULT]
backend = systemd
banaction = nftables
banaction_allports = nftables[type=allports]
[sshd]
enabled = false
[postfix-sasl]
enabled = true
filter = postfix[mode=auth, journalmatch="_SYSTEMD_UNIT=POSTFIX"]
`

// They measure how many guesses the timer, watch and fail2ban let through, on one
// system, one after the other, and how long it takes from the line that brings a
// ban to its route.
func TestReactionBookworm(t *testing.T) { react(t, "bookworm") }
func TestReactionTrixie(t *testing.T)   { react(t, "trixie") }

func react(t *testing.T, suite string) {
	if os.Getenv(measureReaction) != "1" {
		t.Skip("only by make bench-reaction")
	}
	needSystem(t)
	s := &story{system: newSystem(t, suite, "fail2ban", "python3-systemd", "nftables")}
	defer dumpJournal(t, s.system)
	s.write(t, "etc/systemd/journald.conf.d/all.conf", "[Journal]\nRateLimitIntervalSec=0\n")
	s.installed(t)
	s.run(t, "systemctl", "stop", "fail2ban") // Debian starts it, with another jail
	s.write(t, "etc/fail2ban/jail.local", strings.Replace(jail, "POSTFIX", s.postfixUnit(t), 1))

	fmt.Printf("%s: systemd %s, Postfix %s, fail2ban %s\n%-40s %6s %6s %6s\n", suite, s.version(t, "systemd"), s.version(t, "postfix"), s.version(t, "fail2ban"),
		"guesses of an attacker that are answered", "MEDIAN", "90 %", "MOST")
	for i, unit := range []string{blockTimer, watchService, "fail2ban.service"} {
		s.run(t, "systemctl", "start", unit)
		time.Sleep(5 * time.Second) // fail2ban begins by reading what is past
		s.run(t, "systemctl", "is-active", unit)
		answered := s.guess(t, netip.AddrFrom4([4]byte{203, 0, 113, byte(1 + i*guessers)}))
		fmt.Printf("%-40s %6d %6d %6d\n", unit, torture.Quantile(answered, 0.5), torture.Quantile(answered, 0.9), torture.Quantile(answered, 1))
		s.run(t, "systemctl", "stop", unit)
	}
	s.run(t, "systemctl", "start", watchService)
	time.Sleep(5 * time.Second) // its first pass reads what fail2ban was for
	delays := s.delays(t)
	fmt.Printf("smtpban watch, from the line to the route, %d bans at 200 guesses/s: p50 %v, p99 %v, most %v\n", len(delays),
		torture.Quantile(delays, 0.5), torture.Quantile(delays, 0.99), torture.Quantile(delays, 1))
	s.measureIdle(t)
}

// version returns that of a package, without what Debian adds.
func (s *story) version(t *testing.T, name string) string {
	t.Helper()
	version, _, _ := strings.Cut(s.run(t, "dpkg-query", "--show", "--showformat=${Version}", name), "-")
	return version
}

// guess lets the guessers come, from the address first on, and returns how many
// guesses of each were answered.
func (s *story) guess(t *testing.T, first netip.Addr) []int {
	t.Helper()
	var attackers sync.WaitGroup
	answered, errs := make([]int, guessers), make([]error, guessers)
	for i, from := 0, first; i < guessers; i, from = i+1, from.Next() {
		attackers.Go(func() {
			time.Sleep(time.Duration(i) * spread / guessers)
			answered[i], errs[i] = s.net.guessOn(from)
		})
	}
	attackers.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	return answered
}

// guessOn guesses until there is no answer, and returns how many there were.
func (n network) guessOn(from netip.Addr) (answered int, err error) {
	const perSession, patience = 5, 2 * time.Minute
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		conn, err := n.dial(from, submissionPort, dialTimeout)
		if err != nil {
			return answered, nil
		}
		answered += guessSlowly(conn, perSession)
		conn.Close()
	}
	return answered, fmt.Errorf("%s is not shut out after %v", from, patience)
}

// guessSlowly makes some guesses in a session, which may be cut, and returns how
// many were answered.
func guessSlowly(conn net.Conn, guesses int) (answered int) {
	if err := conn.SetDeadline(time.Now().Add(sessionTimeout)); err != nil {
		return 0
	}
	smtp := textproto.NewConn(conn)
	if _, _, err := smtp.ReadResponse(220); err != nil {
		return 0
	}
	if _, err := say(smtp, 250, "EHLO client.example.test"); err != nil {
		return 0
	}
	for range guesses {
		if _, err := authenticate(smtp, login{"LOGIN", alice, "guess"}); err != nil {
			return answered
		}
		answered++
		time.Sleep(guessPause)
	}
	return answered
}

// delays has a thousand clients make just as many guesses as bring a ban, 200 in
// a second, and returns for each how long after the last of them its route was
// made.
func (s *story) delays(t *testing.T) (delays []time.Duration) {
	t.Helper()
	const clients = 1000
	var routes *torture.Routes
	err := inNetns(s.net.server, func() (err error) {
		routes, err = torture.ListenToRoutes()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer routes.Stop()
	var attackers sync.WaitGroup
	next := time.Now()
	for i := range clients {
		from := netip.MustParseAddr(fmt.Sprintf("2001:db8:bad:%x::1", 0x1000+i))
		attackers.Go(func() {
			// Nobody is asked whether he got as far: the journal tells.
			_, _ = s.net.logIn(from, submissionPort, guesses(maxRetry, i)...)
		})
		next = next.Add(maxRetry * time.Second / 200)
		time.Sleep(time.Until(next))
	}
	attackers.Wait()
	time.Sleep(time.Second)
	for client, at := range s.ripe(t) {
		if made, ok := routes.Made(client); ok {
			delays = append(delays, made.Sub(at))
		}
	}
	if len(delays) < clients*9/10 {
		t.Errorf("only %d of %d clients made enough guesses and have a route", len(delays), clients)
	}
	return delays
}

// ripe returns when Postfix wrote the line that brings the ban of a client, for
// those of IPv6.
func (s *story) ripe(t *testing.T) map[netip.Prefix]time.Time {
	t.Helper()
	s.run(t, "journalctl", "--sync")
	text := s.run(t, "journalctl", "-q", "-o", "json", "--output-fields=MESSAGE,_SOURCE_REALTIME_TIMESTAMP", "--grep", "SASL .* authentication failed", "_TRANSPORT=syslog")
	failures, at := map[netip.Prefix]int{}, map[netip.Prefix]time.Time{}
	for line := range strings.Lines(text) {
		var entry struct {
			Message string `json:"MESSAGE"`
			Written string `json:"_SOURCE_REALTIME_TIMESTAMP"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("journalctl printed %q: %v", line, err)
		}
		m := refusedPassword.FindStringSubmatch(entry.Message)
		if m == nil || !strings.Contains(m[1], ":") {
			continue
		}
		client := netip.PrefixFrom(netip.MustParseAddr(m[1]), 64).Masked()
		if failures[client]++; failures[client] != maxRetry {
			continue
		}
		µs, err := strconv.ParseInt(entry.Written, 10, 64)
		if err != nil {
			t.Fatalf("journalctl printed %q: %v", line, err)
		}
		at[client] = time.UnixMicro(µs)
	}
	return at
}

// measureIdle shows what watch needs while nothing is logged.
func (s *story) measureIdle(t *testing.T) {
	t.Helper()
	const quiet = time.Minute
	pid := strings.TrimSpace(s.run(t, "systemctl", "show", "-P", "MainPID", watchService))
	used := func() time.Duration {
		text := s.run(t, "sh", "-c", "awk '{ ns += $1 } END { print ns }' /proc/"+pid+"/task/*/schedstat")
		ns, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(ns)
	}
	time.Sleep(5 * time.Second)
	before := used()
	time.Sleep(quiet)
	fmt.Printf("smtpban watch, idle for %v with 1,000 bans: %.2f %% of a processor, %s\n", quiet, 100*(used()-before).Seconds()/quiet.Seconds(),
		strings.Join(strings.Fields(s.run(t, "grep", "RssAnon", "/proc/"+pid+"/status")), " "))
}
