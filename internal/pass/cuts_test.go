package pass_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
	"smtpban/internal/store"
)

// crowd are the addresses that attack: some share a /64, one has two spellings.
var crowd = []string{
	"203.0.113.1", "::ffff:203.0.113.1", "203.0.113.2", "2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:2::1",
}

func drawPolicy(t *rapid.T) ban.Policy {
	hours := func(name string, lo, hi int) time.Duration {
		return time.Duration(rapid.IntRange(lo, hi).Draw(t, name)) * time.Hour
	}
	p := ban.DefaultPolicy()
	p.MaxRetry = rapid.IntRange(1, 5).Draw(t, "maxretry")
	p.FindTime = hours("findtime", 1, 30)
	p.BanTime = hours("bantime", 1, 30)
	p.BanTimeFactor = rapid.SampledFrom([]float64{1, 2}).Draw(t, "factor")
	p.Forget = hours("forget", 0, 200)
	return p
}

// drawLog draws what a crowd does. With late, the clock is set back now and then
// and some entries are older than the one before.
func drawLog(t *rapid.T, late bool) (log tape) {
	clock := epoch
	for range rapid.IntRange(1, 100).Draw(t, "entries") {
		clock = clock.Add(time.Duration(rapid.IntRange(0, 180).Draw(t, "minutes later")) * time.Minute)
		stamp := clock
		if late && rapid.IntRange(0, 9).Draw(t, "late if 0") == 0 {
			stamp = clock.Add(-time.Duration(rapid.IntRange(1, 300).Draw(t, "minutes late")) * time.Minute)
		}
		log = append(log, failure(rapid.SampledFrom(crowd).Draw(t, "client"), stamp))
	}
	return log
}

// newest returns the time of the newest entry.
func newest(log tape) time.Time {
	var t time.Time
	for _, e := range log {
		if e.Time.After(t) {
			t = e.Time
		}
	}
	return t
}

// run reads the log as one run does, with or without settling. It is not the
// first one, if the last entry is of long ago: what a jump of the clock puts off
// would show in the history.
func (m *machine) run(log tape, settle bool) {
	m.t.Helper()
	m.wake(newest(log))
	m.read(newest(log), log)
	if settle {
		m.settle(newest(log), ban.NeverBan{}, blocking())
	}
}

// runCut is a run whose input breaks at the end of what was logged so far.
func (m *machine) runCut(log tape, settle bool) {
	m.t.Helper()
	m.wake(newest(log))
	broken := errors.New("broken")
	in := m.open(log)
	in.before = map[int]error{len(log): broken}
	if _, err := m.at(newest(log)).Read(in); !errors.Is(err, broken) {
		m.t.Fatalf("reading a broken log: %v", err)
	}
	if settle {
		m.settle(newest(log), ban.NeverBan{}, blocking())
	}
}

// checkCuts compares one run over a log with many over pieces of it. It returns
// how many bans were held back in all.
func checkCuts(t *testing.T, draw func(*rapid.T) tape, options ...cmp.Option) (held int) {
	dir := t.TempDir()
	bans := 0
	rapid.Check(t, func(t *rapid.T) {
		scratch, err := os.MkdirTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(scratch)
		policy, log := drawPolicy(t), draw(t)
		whole := &machine{t: t, path: filepath.Join(scratch, "whole.db"), policy: policy}
		pieces := &machine{t: t, path: filepath.Join(scratch, "pieces.db"), policy: policy}

		for n := range log {
			settle := rapid.Bool().Draw(t, "settle")
			switch rapid.IntRange(0, 11).Draw(t, "0 ends a run, 1 breaks it") {
			case 0:
				pieces.run(log[:n], settle)
			case 1:
				pieces.runCut(log[:n], settle)
			}
		}
		pieces.run(log, true)
		whole.run(log, true)

		want := whole.state()
		bans += len(want.Bans) + len(want.Ended)
		for _, prefix := range want.heldBack() {
			held++
			if !slices.ContainsFunc(whole.rest().Logins, func(l store.Login) bool { return l.Prefix == prefix }) {
				t.Fatalf("the ban of %s is held back, who never logged in", prefix)
			}
		}
		if diff := cmp.Diff(want, pieces.state(), append(options, compare)...); diff != "" {
			t.Fatalf("(-one run +many):\n%s", diff)
		}
		if diff := cmp.Diff(whole.rest(), pieces.rest(), append(options, compare)...); diff != "" {
			t.Fatalf("(-one run +many):\n%s", diff)
		}
		for _, m := range []*machine{whole, pieces} {
			s := m.state() // whose history has only one of two bans that ended at the same time
			if made := m.rest().Totals.Bans[ban.OriginJournal]; made < len(s.Bans)+len(s.Ended) {
				t.Fatalf("%d bans in total, but %d are in force and %d ended", made, len(s.Bans), len(s.Ended))
			}
		}
	})
	if bans == 0 {
		t.Error("not one ban in all the logs")
	}
	return held
}

// heldBack returns whose bans are held back, or were until they were over.
func (s state) heldBack() (prefixes []netip.Prefix) {
	for _, b := range s.Bans {
		if b.Held {
			prefixes = append(prefixes, b.Prefix)
		}
	}
	for _, x := range s.Ended {
		if x.How == store.Lapsed {
			prefixes = append(prefixes, x.Prefix)
		}
	}
	return prefixes
}

func TestVerdictsDoNotDependOnWhereRunsCutTheLog(t *testing.T) {
	checkCuts(t, func(t *rapid.T) tape { return drawLog(t, false) }, anyOldSession)
}

// Sessions that a day has passed over are as good as gone, and which runs
// drop them is no matter.
var anyOldSession = cmpopts.IgnoreFields(rest{}, "Sessions")

// utterances are lines of a session, with a client's name for CLIENT.
var utterances = []string{
	"connect from CLIENT",
	"warning: CLIENT: SASL LOGIN authentication failed: x, sasl_username=alice",
	"warning: CLIENT: SASL PLAIN authentication failed: x, sasl_username=alice",
	"warning: CLIENT: SASL LOGIN authentication failed: x, sasl_username=bob",
	"warning: CLIENT: SASL PLAIN authentication failed: generic failure",
	"warning: SASL authentication failure: cannot connect to saslauthd server: gone",
	"NOQUEUE: reject: RCPT from CLIENT: 554 5.7.1 <a@example.org>: Relay access denied; from=<b@example.org>",
	"too many errors after RCPT from CLIENT",
	"lost connection after AUTH from CLIENT",
	"disconnect from CLIENT",
	"disconnect from CLIENT ehlo=1 auth=1/4 quit=1 commands=3/6",
	"warning: CLIENT: something new",
}

// drawSessions draws what a few processes say to a few clients, all mixed up.
func drawSessions(t *rapid.T) (log tape) {
	clock := epoch
	for range rapid.IntRange(1, 60).Draw(t, "entries") {
		clock = clock.Add(time.Duration(rapid.IntRange(0, 8).Draw(t, "seconds later")) * time.Second)
		client := "unknown[" + rapid.SampledFrom(crowd[:3]).Draw(t, "client") + "]"
		log = append(log, journal.Entry{
			Time: clock, Identifier: "postfix/smtpd", PID: rapid.IntRange(1, 2).Draw(t, "pid"),
			Message: strings.ReplaceAll(rapid.SampledFrom(utterances).Draw(t, "line"), "CLIENT", client),
		})
	}
	return log
}

func TestSessionsGoOnInTheNextRun(t *testing.T) { checkCuts(t, drawSessions) }

// Where the clock was set back, a run may have ended a ban whose failures are
// not all read yet. They still count for the client, but the history stays.
func TestVerdictsDoNotDependOnCutsWhereTheClockWasSetBackEither(t *testing.T) {
	checkCuts(t, func(t *rapid.T) tape { return drawLog(t, true) }, anyOldSession, cmpopts.IgnoreFields(store.Ended{}, "Ban.Failures"))
}

// drawOutage draws a crowd of which some log in, and now and then nobody can.
func drawOutage(t *rapid.T, late bool) tape {
	log := drawLog(t, late)
	down := false
	for i := range log {
		e := &log[i]
		address := rapid.SampledFrom(crowd).Draw(t, "client")
		if rapid.IntRange(0, 14).Draw(t, "up or down if 0") == 0 {
			down = !down
		}
		kind := rapid.IntRange(0, 9).Draw(t, "kind")
		switch {
		case kind == 0:
			e.Message = "warning: unknown[" + address + "]: SASL PLAIN authentication failed: Connection lost to authentication server"
		case kind == 1:
			e.Message = "warning: non-SMTP command from unknown[" + address + "]: GET / HTTP/1.1"
		case !down && kind < 6:
			*e = success(address, e.Time)
		default:
			*e = failure(address, e.Time)
		}
	}
	return log
}

func TestWhatIsHeldBackDoesNotDependOnWhereRunsCutTheLog(t *testing.T) {
	if held := checkCuts(t, func(t *rapid.T) tape { return drawOutage(t, false) }, anyOldSession); held == 0 {
		t.Error("not one ban held back in all the logs")
	}
}

// Where the clock was set back, a run may have ended a ban that a failure not
// read yet would have held back, or renewed. It is over either way, but the next
// one is another ban.
func TestTheTallyDoesNotDependOnCutsWhereTheClockWasSetBackInAnOutage(t *testing.T) {
	checkCuts(t, func(t *rapid.T) tape { return drawOutage(t, true) }, anyOldSession,
		cmpopts.IgnoreFields(state{}, "Bans", "Evidence", "Ended"), cmpopts.IgnoreFields(store.Totals{}, "Bans"))
}
