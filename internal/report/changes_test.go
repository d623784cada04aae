package report_test

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

// banned names the bans of a group.
func banned(g report.Group) (all []string) {
	for _, c := range g.Named {
		all = append(all, c.Prefix.String())
	}
	return all
}

func TestChangesAreTheBansThatBeganOrEndedAfterTheLastReport(t *testing.T) {
	started := func(p string, failures int, start float64) ban.Ban {
		_, b := convict(p, failures, start)
		return b
	}
	fresh, earlier := started("203.0.113.1/32", 9, -2), started("203.0.113.2/32", 5, -5) // just when the last report was
	renewed := started("203.0.113.3/32", 7, -3)
	renewed.Count = 3
	spared := started("192.0.2.25/32", 6, -1)
	held := started("203.0.113.4/32", 5, -1)
	held.Held = true
	unnoticed := started("203.0.113.5/32", 5, -25) // over an hour ago, and no run came by since
	adopted := started("203.0.113.6/32", 0, -1)
	adopted.Origin = ban.OriginAdopted
	manual := ban.Ban{Prefix: prefix("203.0.113.64/26"), Start: at(-1), Until: ban.Forever, Count: 2, Origin: ban.OriginManual}
	s := newStore(t, nil, []ban.Ban{fresh, earlier, renewed, spared, held, unnoticed, adopted, manual})
	end(t, s, "198.51.100.1/32", 1, -30, -6, store.Expired)
	end(t, s, "198.51.100.2/32", 1, -29, -5, store.Expired) // just when the last report was
	end(t, s, "198.51.100.3/32", 2, -4.5, -1, store.Unbanned)
	end(t, s, "198.51.100.4/32", 1, -4, -2, store.Lapsed)
	never := ban.NewNeverBan([]ban.Protected{{Prefix: prefix("192.0.2.0/24"), Reason: "mynetworks"}}, nil)

	r := newReport(t, s, never, at(-5), noon)
	got := map[string][]string{}
	for name, g := range map[string]report.Group{
		"new": r.Changes.New, "renewed": r.Changes.Renewed, "by hand": r.Changes.ByHand, "spared": r.Changes.Spared, "held": r.Changes.Held,
		"expired": r.Changes.Expired, "lapsed": r.Changes.Lapsed, "lifted": r.Changes.Lifted,
	} {
		got[name] = banned(g)
	}
	check(t, map[string][]string{
		"new": {"203.0.113.1/32"}, "renewed": {"203.0.113.3/32", "198.51.100.3/32"}, "by hand": {"203.0.113.64/26"}, "spared": {"192.0.2.25/32"}, "held": {"203.0.113.4/32"},
		"expired": {"203.0.113.5/32"}, "lapsed": {"198.51.100.4/32"}, "lifted": {"198.51.100.3/32"},
	}, got)
	check(t, "mynetworks", r.Changes.Spared.Named[0].Why)
	check(t, at(-1), r.Changes.Expired.Named[0].Ended)
}

func TestWordsSayFromWhenOnWhatIsCountedByTheHourCounts(t *testing.T) {
	s := newStore(t, []ban.Client{client("203.0.113.1/32", 3, -2, -1)}, nil)
	see(t, s, -2, map[ban.Class]store.Count{ban.SASLAuth: {Events: 9, Counted: 7}})
	try(t, s, -2, "info", "info")
	words := func(r report.Report) []string { return r.Words(berlin)[:2] }
	check(t, []string{"1 client failed. 7 failures counted since 11:00.", `The user name tried most since 11:00 was "info" (2).`},
		words(newReport(t, s, ban.NeverBan{}, at(-1.5), noon)))
	check(t, []string{"1 client failed. 7 failures counted since 2026-11-02 13:00.", `The user name tried most since 2026-11-02 13:00 was "info" (2).`},
		words(newReport(t, s, ban.NeverBan{}, at(-24), noon)))
	check(t, []string{"1 client failed. 7 failures counted.", `The user name tried most was "info" (2).`},
		words(newReport(t, s, ban.NeverBan{}, time.Time{}, noon)))
	end(t, s, "203.0.113.77/32", 1, -30, -1, store.Unbanned) // with its tally
	check(t, "1 client failed, besides those that were let in again. 7 failures counted since 11:00.", words(newReport(t, s, ban.NeverBan{}, at(-1.5), noon))[0])

	alone := newStore(t, nil, nil)
	end(t, alone, "203.0.113.77/32", 1, -30, -1, store.Unbanned)
	check(t, []string{"No client failed."}, newReport(t, alone, ban.NeverBan{}, at(-1.5), noon).Words(berlin)[:1])
	see(t, alone, -1, map[ban.Class]store.Count{ban.SASLAuth: {Events: 5, Counted: 5}})
	check(t, []string{"No client failed, besides those that were let in again. 5 failures counted since 11:00."},
		newReport(t, alone, ban.NeverBan{}, at(-1.5), noon).Words(berlin)[:1])
}

func TestWordsSayHowManyOfTheBansInForceKeepNobodyOut(t *testing.T) {
	_, blocked := convict("203.0.113.1/32", 5, -3)
	_, spared := convict("192.0.2.25/32", 5, -3)
	_, held := convict("203.0.113.2/32", 5, -3)
	held.Held = true
	never := ban.NewNeverBan([]ban.Protected{{Prefix: prefix("192.0.2.0/24"), Reason: "mynetworks"}}, nil)
	words := newReport(t, newStore(t, nil, []ban.Ban{blocked, spared, held}), never, at(-1), noon).Words(berlin)
	check(t, "3 bans are in force, 2 of them without effect (1 protected, 1 held back).", words[len(words)-1])
}

func TestBansAreCountedAtTheEndOfEveryHour(t *testing.T) {
	_, long := convict("203.0.113.1/32", 5, -20)
	_, late := convict("203.0.113.2/32", 5, -0.5)
	_, held := convict("203.0.113.3/32", 5, -2.5)
	held.Held = true
	s := newStore(t, nil, []ban.Ban{long, late, held})
	end(t, s, "198.51.100.1/32", 1, -3.5, -1, store.Expired)    // at the end of an hour it is over
	end(t, s, "198.51.100.2/32", 1, -2.9, -2.1, store.Unbanned) // within one
	see(t, s, -3.5, map[ban.Class]store.Count{ban.SASLAuth: {Events: 9}})
	see(t, s, -1.5, map[ban.Class]store.Count{ban.SASLAuth: {Events: 3, Counted: 2}, ban.Login: {Events: 8}, ban.DNSBL: {Events: 1}})
	want := []report.Hour{
		{Start: at(-3), Bans: 2},
		{Start: at(-2), Bans: 1, Attempts: map[ban.Class]int{ban.SASLAuth: 3, ban.DNSBL: 1}},
		{Start: at(-1), Bans: 2},
	}
	check(t, want, newReport(t, s, ban.NeverBan{}, at(-2.25), noon).Hours)
	all := newReport(t, s, ban.NeverBan{}, time.Time{}, noon).Hours
	check(t, 21, len(all)) // none before that at whose end the first ban began
	check(t, want, all[18:])
}

func TestAClientComesCloseToABanWithAPointLessOrAFifthLess(t *testing.T) {
	hits := func(p string, hours ...float64) ban.Client {
		c := client(p, len(hours), hours[0], hours[len(hours)-1])
		c.Hits = nil
		for _, h := range hours { // newest first
			c.Hits = append([]ban.Hit{{Event: ban.Event{Time: at(h), Address: c.Prefix.Addr()}, Weight: 1}}, c.Hits...)
		}
		return c
	}
	clients := []ban.Client{
		hits("203.0.113.1/32", -5, -4, -3, -2),                        // one less
		hits("203.0.113.2/32", -4, -3, -2),                            // two less
		hits("203.0.113.3/32", -30, -29, -28, -3),                     // not within findtime
		hits("203.0.113.4/32", -40, -39, -38, -30),                    // before the last report
		hits("203.0.113.5/32", -28, -27, -26, -23, 0),                 // the most was in the night
		hits("192.0.2.25/32", -5, -4, -3, -2),                         // never to be banned
		{Prefix: prefix("203.0.113.6/32"), Last: at(-1), Failures: 9}, // banned, its hits are used up
	}
	s := newStore(t, clients, nil)
	never := ban.NewNeverBan([]ban.Protected{{Prefix: prefix("192.0.2.0/24"), Reason: "mynetworks"}}, nil)
	check(t, report.Near{MaxRetry: 5, Clients: []report.NearMiss{
		{Prefix: prefix("203.0.113.5/32"), Points: 4, At: at(-23)}, {Prefix: prefix("203.0.113.1/32"), Points: 4, At: at(-2)},
	}[1:]}, newReport(t, s, never, at(-4), noon).Near)
	near := newReport(t, s, never, at(-24), noon).Near
	check(t, []report.NearMiss{
		{Prefix: prefix("203.0.113.1/32"), Points: 4, At: at(-2)}, {Prefix: prefix("203.0.113.5/32"), Points: 4, At: at(-23)},
	}, near.Clients)
}

func TestAPageSaysInWhichZoneItBeginsWhenTheClockWasSetMeanwhile(t *testing.T) {
	where, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	sunday := time.Date(2026, time.March, 29, 6, 0, 0, 0, time.UTC)
	for since, want := range map[time.Time]string{
		sunday.Add(-24 * time.Hour): "<p>From 28 Mar 07:00 CET to 29 Mar 2026 08:00 CEST</p>",
		sunday.Add(-time.Hour):      "<p>From 29 Mar 07:00 to 29 Mar 2026 08:00 CEST</p>",
	} {
		r := report.Report{Since: since, Until: sunday}
		page := string(output(t, func(w io.Writer) error { return report.Text{Location: where}.WriteHTML(w, r) }))
		if !strings.Contains(page, want) || !strings.Contains(page, "Times are local, now CEST.") {
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
}

func TestOfMoreEndedBansThanAreRememberedTheWordsSayAtLeast(t *testing.T) {
	for n, want := range map[int]string{
		store.MaxHistory - 1: "9999 bans ran out, 1 ban that was held back lapsed.",
		store.MaxHistory:     "At least 10000 bans ran out, 1 ban that was held back lapsed.",
	} {
		s := newStore(t, nil, nil)
		held := ban.Ban{Prefix: prefix("192.0.2.1/32"), Start: at(-9), Until: at(-1), Held: true} // which nobody has ended yet
		err := s.Update(func(tx *store.Tx) error {
			for i := range n {
				b := ban.Ban{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 32), Start: at(-9)}
				if err := tx.EndBan(b, at(-1), store.Expired); err != nil {
					return err
				}
			}
			old := ban.Ban{Prefix: prefix("192.0.2.2/32"), Start: at(-9)}
			return errors.Join(tx.EndBan(old, at(-5), store.Expired), tx.PutBan(held)) // before the last report
		})
		if err != nil {
			t.Fatal(err)
		}
		if words := newReport(t, s, ban.NeverBan{}, at(-4), noon).Words(time.UTC); !slices.Contains(words, want) {
			t.Errorf("the words %q are not among %q", want, words)
		}
	}
}

func TestNetworksAreThoseFromWhichSeveralClientsFailed(t *testing.T) {
	s := newStore(t, []ban.Client{
		client("198.51.100.1/32", 3, -2, -1), client("198.51.100.200/32", 4, -2, -1), client("198.51.100.201/32", 9, -20, -19), // long ago
		client("203.0.113.1/32", 99, -2, -1), // alone
		client("2001:db8:1:1::/64", 5, -2, -1), client("2001:db8:1:2::/64", 6, -2, -1), client("2001:db8:2:1::/64", 7, -2, -1),
		client("2001:db8:3::/40", 7, -2, -1), // wider than what is looked for
	}, nil)
	check(t, []report.Network{
		{Prefix: netip.MustParsePrefix("2001:db8:1::/48"), Clients: 2, Failures: 11},
		{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Clients: 2, Failures: 7},
	}, newReport(t, s, ban.NeverBan{}, at(-5), noon).Networks)
}

func TestUserNamesAreCountedFromTheHourOfTheLastReportOn(t *testing.T) {
	s := newStore(t, nil, nil)
	try(t, s, -9, "old", "old")
	try(t, s, -2.5, "info", "sales")
	try(t, s, -1, "info", "admin")
	check(t, report.Users{Named: []report.User{{Name: "info", Attempts: 2}, {Name: "admin", Attempts: 1}, {Name: "sales", Attempts: 1}}},
		newReport(t, s, ban.NeverBan{}, at(-2.1), noon).Users)
}

// What a client fails for by the hour is counted by the hour, so that a failure just
// before the last report is no event of this one.
func TestNothingHappenedIfOnlyTheHourOfTheLastReportHasEvents(t *testing.T) {
	attacker, b := convict("203.0.113.9/32", 5, -1)
	s := newStore(t, []ban.Client{attacker}, []ban.Ban{b})
	see(t, s, -1, map[ban.Class]store.Count{ban.SASLAuth: {Events: 5, Counted: 5}})
	unknown(t, s, "smtpd: riddle", 1)
	r := newReport(t, s, ban.NeverBan{}, at(-0.5), noon)
	check(t, []any{true, "nothing happened", []string{"Nothing happened; 1 ban is in force."}}, []any{r.Quiet(), r.Headline(), r.Words(time.UTC)})
	page := string(output(t, func(w io.Writer) error { return report.Text{Location: berlin, Legend: true}.WriteHTML(w, r) }))
	if strings.Contains(page, "<svg") || strings.Contains(page, "Events by class") || !strings.Contains(page, "Bans in force") {
		t.Errorf("a page on which nothing happened has more than the bans in force:\n%s", page)
	}
	if r := newReport(t, s, ban.NeverBan{}, at(-1.5), noon); r.Quiet() {
		t.Error("quiet, although a ban began")
	}
	if r := newReport(t, s, ban.NeverBan{}, at(-2.5), at(-1.5)); r.Quiet() {
		t.Error("quiet, although there was a line that no rule knows")
	}
}
