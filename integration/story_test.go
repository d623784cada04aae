package integration

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// keep, set to 1, leaves the system on after its story until Ctrl-C.
const keep = "SMTPBAN_KEEP"

const (
	maxRetry = 5             // as shipped
	banTime  = 6 * time.Hour // as installSmtpban sets it
)

// The people of the story. The crowd of attackers is crowd's.
var (
	friend   = netip.MustParseAddr("198.51.100.10")         // knows the password
	friend6  = netip.MustParseAddr("2001:db8:bad:ffff::10") // so does this one
	clumsy   = netip.MustParseAddr("198.51.100.20")         // mistypes it just not often enough
	framed   = netip.MustParseAddr("198.51.100.30")         // others want to get this one banned
	impostor = netip.MustParseAddr("203.0.113.210")         // calls itself a log line that names framed
	mailer   = netip.MustParseAddr("198.51.100.40")         // a mail program with an old password
	neighbor = netip.MustParseAddr("203.0.113.220")         // has a route of the admin's
)

func TestBookworm(t *testing.T) { tell(t, "bookworm") }
func TestTrixie(t *testing.T)   { tell(t, "trixie") }

// A story is a system and what its people have done so far.
type story struct {
	*system
	refused map[string]int // by client: 535 replies, that is failures that must be counted
	shutOut []netip.Addr   // one address of every banned client
	letIn   []netip.Addr   // who must always get in
}

// tell goes through the life of one server. The steps build on each other, so
// the first that fails ends it.
func tell(t *testing.T, suite string) {
	needSystem(t)
	s := &story{system: newSystem(t, suite), refused: map[string]int{}, letIn: []netip.Addr{friend, friend6, clumsy, framed}}
	defer lookAround(t, s.system)
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"a mail server is installed with smtpban and boots", s.installed},
		{"its units verify and are sandboxed", s.sandboxed},
		{"attackers guess while users log in", s.attacked},
		{"block run by root counts exactly and bans", s.countsExactly},
		{"the banned time out, the others get in", s.doors},
		{"root and the unit share the state", s.sharesState},
		{"a second run changes nothing and says nothing", s.idempotent},
		{"a user name that imitates a log line bans its sender", s.imitation},
		{"a local user's forged lines ban nobody", s.forgeries},
		{"an admin's own route stays and is reported", s.adminRoute},
		{"a ban ends the guesser's session and nobody else's", s.cutOff},
		{"the timer bans in the middle of an attack and miscounts nothing", s.timer},
		{"journald restarts in the middle of an attack and nothing is lost", s.journaldRestart},
		{"watch takes over from the timer, and the timer from watch, and nothing is lost", s.watched},
		{"without IPv6 the IPv4 attackers are banned, and with it the others again", s.withoutIPv6},
		{"after a reboot the banned get not one connection", s.reboot},
		{"the report names everybody with the right state", s.reported},
		{"the report is mailed to whom the admin asks for", s.mailed},
		{"explain shows the lines that count, also of the last boot", s.explained},
		{"what is blocked is published for Postfix's tables", s.published},
		{"doctor finds nothing, and then what is broken", s.examined},
		{"status tells at a glance that it works, and that it was stopped", s.atAGlance},
		{"unban opens the door", s.unbanned},
		{"a guesser who is ignored gets in, and is judged anew when that ends", s.ignored},
		{"whom another instance of Postfix trusts is let in", s.secondInstance},
		{"who is logged in by SSH is let in again", s.loggedIn},
		{"bans run out", s.expired},
		{"a lost store is made again from the journal of all boots", s.rebuilt},
		{"a mail program that tries every mechanism has failed once", s.mailProgram},
		{"an outage of the authentication bans those who never logged in, and nobody else", s.outage},
		{"what journald suppresses is in the report", s.suppressed},
		{"whoever takes the routes away, the next run puts them back", s.routesTaken},
		{"nothing failed meanwhile", s.healthy},
		{"an upgrade keeps the timers going and every route in place", s.upgraded},
		{"a state of a newer version is refused and stays as it is", s.downgraded},
		{"a removed smtpban blocks nobody and keeps what it knows", s.removed},
		{"installed again it waits for the admin", s.installedAgain},
		{"the scripts of the .rpm do the same", s.scriptsOfRPM},
		{"purging leaves nothing behind", s.purged},
	} {
		if !t.Run(step.name, func(t *testing.T) {
			defer dumpJournal(t, s.system)
			step.run(t)
		}) {
			t.FailNow()
		}
	}
}

// lookAround waits, if asked to, so that the system can be visited.
func lookAround(t *testing.T, s *system) {
	if os.Getenv(keep) != "1" || s.nspawn == nil {
		return
	}
	t.Logf("the system stays on until Ctrl-C\n  inside:  nsenter -t %s -a\n  outside: nsenter -t %d -m ip netns exec %s bash", s.leader, os.Getpid(), s.net.world)
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, os.Interrupt, syscall.SIGTERM)
	<-interrupt
}

func (s *story) installed(t *testing.T) {
	installPostfix(t, s.system)
	installSmtpban(t, s.system)
	installForge(t, s.system)
	s.boot(t)
	s.checkOff(t)
	s.run(t, "journalctl", "--list-catalog", "c0a2ea5bcf164e5b8e1d3ea4c7b0f2d1") // a ban, see smtpban(8)
	if got := routes(t, s.system); len(got) > 0 {
		t.Fatalf("routes before the first run: %v", got)
	}
}

// attacked is the first night: 200 IPv4 clients and 20 networks of IPv6 guess,
// while users log in and one of them mistypes.
func (s *story) attacked(t *testing.T) {
	sessions := crowd(200, 20)
	s.refused = s.net.attack(t, sessions)
	seen := map[string]bool{}
	for _, each := range sessions {
		if client := clientOf(each.from); !seen[client] {
			seen[client] = true
			s.shutOut = append(s.shutOut, each.from)
		}
	}
	if len(s.shutOut) != 220 {
		t.Fatalf("%d clients attacked, want 220", len(s.shutOut))
	}
	maps.Copy(s.refused, s.net.attack(t, []session{{clumsy, submissionPort, guesses(maxRetry-1, 0)}}))
	for _, user := range []netip.Addr{friend, friend6, clumsy} {
		s.net.logInRight(t, user)
	}
}

func (s *story) countsExactly(t *testing.T) {
	same(t, "failures in the journal and refusals the clients got", s.refused, failuresInJournal(t, s.system))
	_, told, code := s.try(t, "smtpban", "block")
	if code != 0 || !strings.Contains(told, "; banned 220 clients\n") {
		t.Fatalf("the first run: exit status %d\n%s", code, lastLines(told, 5))
	}
	s.checkReport(t)
	s.checkBans(t)
}

// checkReport compares report with the failures of every client, and its
// states with who is shut out.
func (s *story) checkReport(t *testing.T) {
	t.Helper()
	want := map[string]clientLine{}
	for client, n := range s.refused {
		want[client] = clientLine{client, n, "open"}
	}
	for _, a := range s.shutOut {
		c := clientOf(a)
		want[c] = clientLine{c, s.refused[c], "blocked"}
	}
	same(t, "clients in smtpban report", want, report(t, s.system))
}

// checkBans compares list and the kernel's routes with who is shut out.
func (s *story) checkBans(t *testing.T) {
	t.Helper()
	want, got := map[string]banLine{}, list(t, s.system)
	var prefixes []string
	for _, a := range s.shutOut {
		p := prefixOf(clientOf(a))
		prefixes = append(prefixes, p)
		start := got[p].Start // by the journal's clock
		want[p] = banLine{p, "sasl-auth", s.refused[clientOf(a)], start, start.Add(banTime), 1, "journal", true, false}
	}
	same(t, "bans in smtpban list", want, got)
	inKernel := routes(t, s.system)
	slices.Sort(prefixes)
	slices.Sort(inKernel)
	same(t, "blackhole routes", prefixes, inKernel)
}

func (s *story) doors(t *testing.T) {
	s.net.checkDoors(t, s.shutOut, s.letIn)
	s.net.logInRight(t, friend)
	s.net.logInRight(t, clumsy)
}

// sharesState goes back and forth between root's command line and the unit,
// which runs as another user: whoever comes first creates the store.
func (s *story) sharesState(t *testing.T) {
	for i, run := range [][]string{
		{"systemctl", "start", "smtpban-block.service"},
		{"smtpban", "block"},
		{"systemctl", "start", "smtpban-block.service"},
	} {
		// Each has something to write, which asks for the lock and the store.
		client := netip.AddrFrom4([4]byte{203, 0, 113, byte(201 + i)})
		maps.Copy(s.refused, s.net.attack(t, []session{{client, smtpPort, guesses(maxRetry, i)}}))
		s.shutOut = append(s.shutOut, client)
		s.run(t, "journalctl", "--sync")
		s.run(t, run...)
		if state := s.run(t, "systemctl", "show", "-P", "Result", "smtpban-block.service"); state != "success\n" {
			t.Fatalf("smtpban-block.service after %v: %s", run, state)
		}
		s.checkBans(t)
	}
	if others := s.run(t, "find", "/var/lib/smtpban", "!", "-user", "smtpban"); others != "" {
		t.Fatalf("files that the unit's user does not own:\n%s", others)
	}
}

// idempotent runs everything that could change something once more.
func (s *story) idempotent(t *testing.T) {
	before := fmt.Sprint(storeFiles(t, s.system), s.run(t, "ip", "route"), s.run(t, "ip", "-6", "route"))
	from := cursor(t, s.system)
	for _, run := range [][]string{
		{"systemctl", "start", "smtpban-block.service"},
		{"smtpban", "restore"},
		{"systemctl", "start", "smtpban-block.service"},
	} {
		s.run(t, run...)
	}
	after := fmt.Sprint(storeFiles(t, s.system), s.run(t, "ip", "route"), s.run(t, "ip", "-6", "route"))
	same(t, "store and routes after an idle run", before, after)
	s.run(t, "journalctl", "--sync")
	if lines := s.run(t, "journalctl", "-q", "--after-cursor="+from); lines != "" {
		t.Fatalf("idle runs left lines in the journal:\n%s", lines)
	}
}
