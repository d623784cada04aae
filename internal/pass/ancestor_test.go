package pass_test

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
	"smtpban/internal/pass"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

// smtpban.py, from which this program grew, banned for seven days whoever had
// five lines or more in the maillog. Its verdicts are to be had again with a
// policy; its mistakes are not.

const week = 7 * 24 * time.Hour

// ancestor returns a machine with the old script's rule.
func ancestor(t testing.TB) *machine {
	t.Helper()
	m := newMachine(t)
	m.policy.MaxRetry, m.policy.FindTime = 5, week
	m.policy.BanTime, m.policy.BanTimeFactor = week, 1
	return m
}

// loginLine is a line of the maillog, of a client as Postfix names it.
func loginLine(stamp time.Time, client string) string {
	return fmt.Sprintf("%s mx postfix/smtpd[4711]: warning: %s: SASL LOGIN authentication failed: UGFzc3dvcmQ6\n",
		stamp.UTC().Format(time.Stamp), client)
}

// readMaillog is a run over a maillog in UTC.
func (m *machine) readMaillog(now time.Time, text string) pass.Read {
	m.t.Helper()
	return m.readFrom(now, journal.OpenMaillog(strings.NewReader(text), now, time.UTC, m.positions()))
}

// fiveLines returns the clients with five lines or more, counted as naively as
// the old script did, except for where the address is taken from.
func fiveLines(maillog string) (clients []string) {
	lines := map[netip.Addr]int{}
	for line := range strings.Lines(maillog) {
		_, rest, ok := strings.Cut(line, "warning: ")
		if !ok {
			continue
		}
		_, rest, _ = strings.Cut(rest, "[")
		address, rest, _ := strings.Cut(rest, "]")
		if strings.HasPrefix(rest, ": SASL LOGIN authentication failed") {
			lines[netip.MustParseAddr(address)]++
		}
	}
	var addresses []netip.Addr
	for a, n := range lines {
		if n >= 5 {
			addresses = append(addresses, a)
		}
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	for _, a := range addresses {
		clients = append(clients, a.String()+"/32")
	}
	return clients
}

func TestTheAncestorsRuleBansWhoeverHasFiveLines(t *testing.T) {
	bans := 0
	rapid.Check(t, func(rt *rapid.T) {
		var log tape // for its stamps: the text below is what is read
		for i, n := range rapid.SliceOfN(rapid.IntRange(0, 8), 1, 60).Draw(rt, "lines of each client") {
			for range n {
				minutes := rapid.IntRange(0, 7*24*60-1).Draw(rt, "minute")
				log = append(log, failure(nth(i).Addr().String(), epoch.Add(time.Duration(minutes)*time.Minute)))
			}
		}
		slices.SortStableFunc(log, func(a, b journal.Entry) int { return a.Time.Compare(b.Time) })
		var maillog strings.Builder
		for i, e := range log {
			fmt.Fprintf(&maillog, "%s mx postfix/smtpd[%d]: %s\n", e.Time.Format(time.Stamp), i, e.Message)
			fmt.Fprintf(&maillog, "%s mx postfix/smtpd[%d]: disconnect from unknown[192.0.2.1]\n", e.Time.Format(time.Stamp), i)
		}

		m := ancestor(t)
		m.t = rt
		m.readMaillog(epoch.Add(week-time.Minute), maillog.String())
		want, got := fiveLines(maillog.String()), banned(m.state().Bans)
		if !slices.Equal(want, got) {
			rt.Fatalf("banned %v, want %v", got, want)
		}
		bans += len(got)
	})
	if bans == 0 {
		t.Error("not one ban in all the logs")
	}
}

func TestAncestorMistake1HostNameThatLooksLikeAnAddressBansNobodyElse(t *testing.T) {
	m := ancestor(t)
	m.readMaillog(at(1), strings.Repeat(loginLine(at(0), "198.51.100.1.dynamic.example[203.0.113.9]"), 5))
	check(t, []string{"203.0.113.9/32"}, banned(m.state().Bans))
}

func TestAncestorMistake2AnAddressThatBeginsLikeABlockedOneIsBlockedToo(t *testing.T) {
	m := attacked(t, "198.51.100.8")
	r := blocking("198.51.100.80/32")
	check(t, pass.Settled{Added: prefixes("198.51.100.8/32"), Blocked: prefixes("198.51.100.8/32"), Deleted: 1}, m.settle(at(0), ban.NeverBan{}, r))
	r.check(t, "198.51.100.8/32")

	bans := []report.Ban{{Ban: firstBan("198.51.100.8/32", at(0)), Targets: prefixes("198.51.100.8/32")}}
	report.Enforce(bans, map[netip.Prefix]report.Blocker{netip.MustParsePrefix("198.51.100.80/32"): report.Us})
	if bans[0].Route {
		t.Error("198.51.100.8 is taken for blocked where 198.51.100.80 is")
	}
}

func TestAncestorMistake3TheLastBanEndsForGood(t *testing.T) {
	m := ancestor(t)
	maillog := strings.Repeat(loginLine(at(0), "unknown[203.0.113.9]"), 5)
	r := blocking()
	m.readMaillog(at(1), maillog)
	m.settle(at(1), ban.NeverBan{}, r)
	r.check(t, "203.0.113.9/32")

	over := epoch.Add(week)
	m.wake(over)
	m.settle(over, ban.NeverBan{}, r)
	check(t, []ban.Ban(nil), m.state().Bans)
	m.readMaillog(over, maillog) // the next block
	check(t, pass.Settled{}, m.settle(over, ban.NeverBan{}, r))
	r.check(t)
}

func TestAncestorMistake4CountsAge(t *testing.T) {
	m := ancestor(t)
	var maillog strings.Builder
	for typo := range 20 {
		maillog.WriteString(loginLine(epoch.Add(time.Duration(typo)*2*24*time.Hour), "unknown[203.0.113.9]"))
	}
	m.readMaillog(epoch.Add(40*24*time.Hour), maillog.String())
	got := m.state()
	check(t, []ban.Ban(nil), got.Bans)
	check(t, []store.Ended(nil), got.Ended)
}

func TestAncestorMistake4LogrotateResetsNobody(t *testing.T) {
	m := ancestor(t)
	m.readMaillog(at(1), strings.Repeat(loginLine(at(0), "unknown[203.0.113.9]"), 4))
	m.readMaillog(at(25), loginLine(at(24), "unknown[203.0.113.9]")) // a new file
	check(t, []string{"203.0.113.9/32"}, banned(m.state().Bans))
}

func TestAncestorMistake4OldLinesDoNotBanAgain(t *testing.T) {
	m := ancestor(t)
	maillog := strings.Repeat(loginLine(at(0), "unknown[203.0.113.9]"), 9)
	m.readMaillog(at(1), maillog)
	maillog += loginLine(epoch.Add(week), "unknown[203.0.113.9]")
	m.wake(epoch.Add(week))
	read := m.readMaillog(epoch.Add(week), maillog)
	check(t, []int{1, 1, 0}, []int{read.Entries, read.Events, len(read.Bans)})
	check(t, []string{"203.0.113.9/32"}, banned(m.settle(epoch.Add(week), ban.NeverBan{}, nil).Expired))
	check(t, []ban.Ban(nil), m.state().Bans)
}

func TestAncestorMistake5AnOutageOfTheAuthenticationServerBansNobody(t *testing.T) {
	m := ancestor(t)
	line := strings.Replace(loginLine(at(0), "customer.example.net[203.0.113.9]"),
		"UGFzc3dvcmQ6", "Connection lost to authentication server", 1)
	check(t, pass.Read{Entries: 20, First: at(0)}, m.readMaillog(at(1), strings.Repeat(line, 20)))
	check(t, state{}, m.state())
}

func TestAncestorMistake6ARouteThatCannotBeDeletedIsTriedAgain(t *testing.T) {
	m := attacked(t, "203.0.113.9")
	prefix := netip.MustParsePrefix("203.0.113.9/32")
	r := blocking("203.0.113.9/32")
	r.broken[prefix] = errBroken
	failed := []pass.Failure{{Change: ban.Change{Prefix: prefix, Delete: true}, Err: errBroken}}
	check(t, pass.Settled{Expired: []ban.Ban{firstBan("203.0.113.9/32", at(0))}, Failed: failed}, m.settle(at(24), ban.NeverBan{}, r))
	check(t, pass.Settled{Failed: failed}, m.settle(at(25), ban.NeverBan{}, r))

	clear(r.broken)
	check(t, pass.Settled{Deleted: 1}, m.settle(at(26), ban.NeverBan{}, r))
	r.check(t)
}

func TestAncestorMistake6ARouteThatCannotBeAddedIsTriedAgain(t *testing.T) {
	m := attacked(t, "203.0.113.9")
	prefix := netip.MustParsePrefix("203.0.113.9/32")
	r := blocking()
	r.broken[prefix] = errBroken
	failed := []pass.Failure{{Change: ban.Change{Prefix: prefix}, Err: errBroken}}
	check(t, pass.Settled{Failed: failed}, m.settle(at(0), ban.NeverBan{}, r))

	clear(r.broken)
	check(t, pass.Settled{Added: prefixes("203.0.113.9/32"), Blocked: prefixes("203.0.113.9/32")}, m.settle(at(1), ban.NeverBan{}, r))
	r.check(t, "203.0.113.9/32")
}

func TestAncestorMistake7TheWhitelistLiftsBansThatThereAre(t *testing.T) {
	m := attacked(t, "203.0.113.9")
	r := blocking()
	m.settle(at(0), ban.NeverBan{}, r)
	r.check(t, "203.0.113.9/32")
	m.settle(at(0), never("203.0.113.0/24"), r)
	r.check(t)
}

// The state holds points in time, not what a clock on a wall shows.
func TestAncestorMistake8TheZoneAndSummerTimeOfALogDoNotMatter(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	// Five failures around the hour that there is twice, 2026-10-25 2:00 to 3:00.
	start := time.Date(2026, time.October, 24, 23, 0, 0, 0, time.UTC)
	log := func(loc *time.Location, layout string) string {
		var text strings.Builder
		for i := range 5 {
			stamp := start.Add(time.Duration(i) * 45 * time.Minute).In(loc).Format(layout)
			fmt.Fprintf(&text, "%s mx postfix/smtpd[1]: warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x\n", stamp)
		}
		return text.String()
	}
	now := start.Add(4 * time.Hour)
	want := ancestor(t)
	want.readMaillog(now, log(time.UTC, time.Stamp))
	check(t, []string{"203.0.113.9/32"}, banned(want.state().Bans))

	for _, loc := range []*time.Location{time.UTC, berlin} {
		got := ancestor(t)
		got.readMaillog(now.In(loc), log(loc, time.RFC3339))
		check(t, want.state(), got.state())
	}
}

func TestAncestorMistake8BlockAndExpireExcludeEachOther(t *testing.T) {
	m := attacked(t, "203.0.113.9")
	unlock, err := store.New(m.path).Lock(0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.New(m.path).Lock(0)
	check(t, store.ErrLocked, err)
	unlock()
	unlock, err = store.New(m.path).Lock(0)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// unreadable is a log that cannot be read at all.
type unreadable struct{ journal.Input }

func (unreadable) Entries() iter.Seq2[journal.Entry, error] {
	return func(yield func(journal.Entry, error) bool) { yield(journal.Entry{}, errBroken) }
}

func (unreadable) Positions() (journal.Positions, error) { return nil, nil }

// What becomes of the errors, a message and an exit status, is for the command
// to say; here they must not get lost.
func TestAncestorMistake9NoErrorIsSwallowed(t *testing.T) {
	m := attacked(t, "203.0.113.9")
	_, err := m.at(at(1)).Read(unreadable{})
	check(t, errBroken, err)

	r := blocking()
	r.list = errBroken
	_, err = m.at(at(1)).Settle(ban.NeverBan{}, r, false)
	check(t, errBroken, err)

	r = blocking()
	r.broken[netip.MustParsePrefix("203.0.113.9/32")] = errBroken
	if failed := m.settle(at(1), ban.NeverBan{}, r).Failed; len(failed) != 1 || !errors.Is(failed[0].Err, errBroken) {
		t.Errorf("failed: %v", failed)
	}

	overwrite(t, m.path, "this is no state file")
	_, errSettle := m.at(at(1)).Settle(ban.NeverBan{}, r, false)
	_, errRead := m.at(at(1)).Read(&input{tape: failures("203.0.113.9", 1)})
	_, errBan := m.at(at(1)).Ban(manual("203.0.113.9/32", 1, 2, ""))
	_, errUnban := m.at(at(1)).Unban(prefixes("203.0.113.9/32")...)
	for what, err := range map[string]error{"settle": errSettle, "read": errRead, "ban": errBan, "unban": errUnban} {
		if err == nil || !strings.Contains(err.Error(), m.path) {
			t.Errorf("%s on a damaged state: %v, want an error that names the file", what, err)
		}
	}
}
