package report_test

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"smtpban/internal/ban"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

var compare = cmp.Options{
	cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}),
	cmpopts.EquateEmpty(),
	cmpopts.IgnoreUnexported(report.Report{}),
}

var noon = time.Date(2026, time.November, 3, 12, 0, 0, 0, time.UTC)

// at returns the time that many hours after noon.
func at(hours float64) time.Time { return noon.Add(time.Duration(hours * float64(time.Hour))) }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// client is one whose failures lie between two hours.
func client(p string, failures int, first, last float64) ban.Client {
	c := ban.Client{Prefix: prefix(p), Failures: failures, First: at(first), Last: at(last), LastHit: at(last)}
	c.Hits = []ban.Hit{{Event: ban.Event{Time: at(last), Class: ban.SASLAuth, Address: c.Prefix.Addr()}, Weight: 1}}
	return c
}

// convict is a client with a ban of a day, its hits used up, and the ban.
func convict(p string, failures int, start float64) (ban.Client, ban.Ban) {
	c := client(p, failures, start-1, start)
	c.Hits, c.Until = nil, at(start+24)
	return c, ban.Ban{
		Prefix: c.Prefix, Class: ban.SASLAuth, Failures: failures,
		Start: at(start), Until: c.Until, Count: 1, Origin: ban.OriginJournal,
	}
}

// newStore returns a store with clients and bans; each ban of the journal was
// caused by the first two addresses of its prefix.
func newStore(t *testing.T, clients []ban.Client, bans []ban.Ban) *store.Store {
	t.Helper()
	s := store.New(filepath.Join(t.TempDir(), "smtpban.db"))
	err := s.Update(func(tx *store.Tx) error {
		for _, c := range clients {
			if err := tx.PutClient(c, at(1e4)); err != nil {
				return err
			}
		}
		for _, b := range bans {
			if err := tx.PutBan(b); err != nil {
				return err
			}
			if b.Origin != ban.OriginJournal {
				continue
			}
			first := ban.Hit{Event: ban.Event{Address: b.Prefix.Addr()}, Weight: 1}
			second := ban.Hit{Event: ban.Event{Address: b.Prefix.Addr().Next()}, Weight: 1}
			if err := tx.PutEvidence(b.Prefix, ban.Evidence{Hits: []ban.Hit{second, first}}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newReport(t *testing.T, s *store.Store, never ban.NeverBan, since, now time.Time) (r report.Report) {
	t.Helper()
	err := s.View(func(tx *store.Tx) (err error) {
		r, err = report.New(tx, ban.DefaultPolicy(), never, since, now)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// blocked is what the kernel blocks.
func blocked(prefixes ...string) map[netip.Prefix]report.Blocker {
	set := map[netip.Prefix]report.Blocker{}
	for _, p := range prefixes {
		set[prefix(p)] = report.Us
	}
	return set
}

func check(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// states returns how each client of the report stands.
func states(r report.Report) map[string]report.State {
	all := map[string]report.State{}
	for _, c := range r.Clients {
		all[c.Prefix.String()] = c.State
	}
	return all
}

// sample is a report with one of each kind, on a day at noon.
func sample(t *testing.T) report.Report {
	t.Helper()
	bannedClient, journalBan := convict("203.0.113.9/32", 12, -2.25)
	journalBan.Count = 2
	close := client("198.51.100.7/32", 4, -5, -0.5)
	for range 3 {
		close.Hits = append(close.Hits, close.Hits[0])
	}
	network, unblocked := convict("2001:db8:1:2::/64", 5, -3)
	admin, protected := convict("192.0.2.25/32", 6, -1)
	manual := ban.Ban{
		Prefix: prefix("198.51.100.128/25"), Start: at(-48), Until: ban.Forever, Count: 1,
		Origin: ban.OriginManual, Reason: "spam from \x1b[31mBörse\u202e, see <ticket> 7",
	}
	s := newStore(t,
		[]ban.Client{
			bannedClient, network, admin, close,
			client("198.51.100.200/32", 4, -60, -49),
		},
		[]ban.Ban{journalBan, unblocked, protected, manual})
	end(t, s, "203.0.113.9/32", 1, -60, -36, store.Expired)
	end(t, s, "203.0.113.77/32", 1, -30, -4, store.Unbanned)
	enforce(t, s, journalBan, -2.2, -0.75)
	enforce(t, s, unblocked, -3, -0.75) // but it has lost its route
	enforce(t, s, protected, -1, -0.75)
	see(t, s, -2.5, map[ban.Class]store.Count{ban.SASLAuth: {Events: 30, Counted: 28}, ban.Login: {Events: 4}})
	see(t, s, -1, map[ban.Class]store.Count{ban.DNSBL: {Events: 7}, 77: {Events: 1}, ban.SASLAuth: {Events: 3, Counted: 3}})
	miss(t, s,
		store.Gap{Reason: "system@1.journal is damaged", Noticed: at(-3)},
		store.Gap{From: at(-3), To: at(-2), Reason: "the last entry read is \x1b[31mgone", Noticed: at(-2)},
		store.Gap{To: at(-1), Lost: 25004, Reason: "suppressed", Noticed: at(-1)})
	try(t, s, -2, "info", "info", hostileName, "sales", "info", "sales", "caf\xc3")
	unknown(t, s, "smtpd: warning: CLIENT: a \x1b[31mriddle", 2)
	unknown(t, s, "postscreen: NEW TEST from CLIENT", 3)
	never := ban.NewNeverBan([]ban.Protected{{Prefix: prefix("192.0.2.25/32"), Reason: "own address"}}, nil)
	r := newReport(t, s, never, time.Time{}, noon)
	r.Enforce(blocked("203.0.113.9/32", "198.51.100.128/25"))
	r.Host = "mx1.example"
	return r
}

// hostileName is what a client may choose for a user name.
const hostileName = "'\"><script>alert(1)</script>\x1b[31m\u202e\r\nBcc: all@example.org"

// end records a ban of the past.
func end(t *testing.T, s *store.Store, p string, count int, start, end float64, how string) {
	t.Helper()
	b := ban.Ban{
		Prefix: prefix(p), Class: ban.SASLAuth, Failures: 5, Start: at(start), Until: at(start + 24), Count: count, Origin: ban.OriginJournal,
	}
	current, banned := ban.Ban{}, false
	err := s.Update(func(tx *store.Tx) (err error) {
		if current, banned, err = tx.Ban(b.Prefix); err != nil {
			return err
		}
		return tx.EndBan(b, at(end), how)
	})
	if err == nil && banned { // it has one again
		err = s.Update(func(tx *store.Tx) error { return tx.PutBan(current) })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// try records for which user names passwords were tried in the hour.
func try(t *testing.T, s *store.Store, hour float64, names ...string) {
	t.Helper()
	if err := s.Update(func(tx *store.Tx) error { return tx.AddUsers(at(hour), names) }); err != nil {
		t.Fatal(err)
	}
}

// enforce records that a ban got its route at one hour and that the client failed
// at another.
func enforce(t *testing.T, s *store.Store, b ban.Ban, since, late float64) {
	t.Helper()
	x := store.Enforced{Since: at(since), Late: at(late)}
	if err := s.Update(func(tx *store.Tx) error { return tx.PutEnforced(b.Prefix, x) }); err != nil {
		t.Fatal(err)
	}
}

// see records what was seen in the hour.
func see(t *testing.T, s *store.Store, hour float64, classes map[ban.Class]store.Count) {
	t.Helper()
	if err := s.Update(func(tx *store.Tx) error { return tx.AddHour(store.Hour{Start: at(hour), Classes: classes}) }); err != nil {
		t.Fatal(err)
	}
}

// miss records gaps.
func miss(t *testing.T, s *store.Store, gaps ...store.Gap) {
	t.Helper()
	for _, g := range gaps {
		if err := s.Update(func(tx *store.Tx) error { return tx.AddGap(g) }); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheReportHasTheGapsNoticedSinceTheLastOne(t *testing.T) {
	s := newStore(t, nil, nil)
	gap := func(noticed float64) store.Gap {
		return store.Gap{From: at(-9), To: at(-8), Reason: "vacuumed", Noticed: at(noticed)}
	}
	miss(t, s, gap(-3), gap(-2), gap(-1))
	check(t, []store.Gap{gap(-1)}, newReport(t, s, ban.NeverBan{}, at(-2), noon).Gaps)
	check(t, []store.Gap{gap(-3), gap(-2), gap(-1)}, newReport(t, s, ban.NeverBan{}, time.Time{}, noon).Gaps)
}

// unknown records lines that no rule knows.
func unknown(t *testing.T, s *store.Store, text string, lines int) {
	t.Helper()
	shape := store.Shape{Text: text, Count: lines, First: at(-3), Last: at(-2)}
	if err := s.Update(func(tx *store.Tx) error { return tx.AddShape(shape) }); err != nil {
		t.Fatal(err)
	}
}

func TestClassesAreCountedFromTheHourOfTheLastReportOn(t *testing.T) {
	s := newStore(t, nil, nil)
	see(t, s, -3, map[ban.Class]store.Count{ban.Pregreet: {Events: 100, Counted: 100}})
	see(t, s, -2, map[ban.Class]store.Count{ban.Pregreet: {Events: 10, Counted: 9}})
	see(t, s, -1, map[ban.Class]store.Count{ban.Pregreet: {Events: 1, Counted: 1}, ban.Hangup: {Events: 5}})
	r := newReport(t, s, ban.NeverBan{}, at(-1.5), noon)
	check(t, []report.Seen{
		{Class: ban.Pregreet, Count: store.Count{Events: 11, Counted: 10}},
		{Class: ban.Hangup, Count: store.Count{Events: 5}},
	}, r.Seen)
}

func TestReportNamesClientsThatAttackedSinceAndThoseStillBanned(t *testing.T) {
	stillBanned, b := convict("203.0.113.9/32", 5, -20)
	wasBanned, over := convict("203.0.113.10/32", 5, -30)
	pardoned := ban.Client{Prefix: prefix("203.0.113.11/32"), Pardon: at(-1)}
	s := newStore(t, []ban.Client{
		stillBanned, wasBanned, pardoned,
		client("198.51.100.1/32", 1, -9, -8),
		client("198.51.100.2/32", 2, -9, -7.999),
		client("198.51.100.3/32", 4, -9, -1),
		client("198.51.100.4/32", 2, -2, -1),
	}, []ban.Ban{b, over})

	r := newReport(t, s, ban.NeverBan{}, at(-8), noon)
	want := report.Report{
		Since: at(-8), Until: noon, Attackers: 3, Near: report.Near{MaxRetry: 5},
		Changes:  report.Changes{Expired: report.Group{Named: []report.Change{{Ban: over, Ended: over.Until}}}},
		Networks: []report.Network{{Prefix: prefix("198.51.100.0/24"), Clients: 3, Failures: 8}},
		Hours:    r.Hours, // see TestBansAreCountedAtTheEndOfEveryHour
		Clients: []report.Client{
			{Prefix: prefix("203.0.113.9/32"), Failures: 5, First: at(-21), Last: at(-20), State: report.Open},
			{Prefix: prefix("198.51.100.3/32"), Failures: 4, First: at(-9), Last: at(-1), State: report.Open},
			{Prefix: prefix("198.51.100.2/32"), Failures: 2, First: at(-9), Last: at(-7.999), State: report.Open},
			{Prefix: prefix("198.51.100.4/32"), Failures: 2, First: at(-2), Last: at(-1), State: report.Open},
		},
		Bans: []report.Ban{{Ban: b, Targets: []netip.Prefix{b.Prefix}}},
	}
	check(t, want, r)

	if all := newReport(t, s, ban.NeverBan{}, time.Time{}, noon); len(all.Clients) != 6 {
		t.Errorf("from the beginning there are %d clients, want 6", len(all.Clients))
	}
}

func TestReportOnAnEmptyState(t *testing.T) {
	s := store.New(filepath.Join(t.TempDir(), "missing.db"))
	check(t, report.Report{Until: noon, Near: report.Near{MaxRetry: 5}}, newReport(t, s, ban.NeverBan{}, time.Time{}, noon))
}

func TestStatesOfClients(t *testing.T) {
	check(t, map[string]report.State{
		"203.0.113.9/32":    report.Blocked,
		"2001:db8:1:2::/64": report.Open, // banned, but not blocked
		"192.0.2.25/32":     report.Protected,
		"198.51.100.7/32":   report.Open,
		"198.51.100.200/32": report.Blocked, // by the wide ban
	}, states(sample(t)))
}

func TestANetworkIsBlockedOnceAllItsOffendersAre(t *testing.T) {
	network, b := convict("2001:db8::/64", 5, -1)
	never := ban.NewNeverBan([]ban.Protected{{Prefix: prefix("2001:db8::25/128"), Reason: "gateway"}}, nil)
	s := newStore(t, []ban.Client{network}, []ban.Ban{b})
	for _, tc := range []struct {
		blocked []string
		want    report.State
	}{
		{nil, report.Open},
		{[]string{"2001:db8::/64"}, report.Open},
		{[]string{"2001:db8::/128"}, report.Open},
		{[]string{"2001:db8::/128", "2001:db8::1/128"}, report.Blocked},
	} {
		r := newReport(t, s, never, time.Time{}, noon)
		check(t, []netip.Prefix{prefix("2001:db8::/128"), prefix("2001:db8::1/128")}, report.Targets(r.Bans))
		r.Enforce(blocked(tc.blocked...))
		check(t, map[string]report.State{"2001:db8::/64": tc.want}, states(r))
		check(t, tc.want == report.Blocked, r.Bans[0].Route)
	}
}

func TestABanHeldBackBlocksNothingButIsShownWhileItLasts(t *testing.T) {
	c, b := convict("203.0.113.9/32", 5, -3)
	c.Until, b.Held = b.Start, true
	s := newStore(t, []ban.Client{c}, []ban.Ban{b})
	r := newReport(t, s, ban.NeverBan{}, at(-1), noon) // it did nothing since
	r.Enforce(blocked("203.0.113.9/32"))
	check(t, []report.Ban{{Ban: b}}, r.Bans)
	check(t, map[string]report.State{"203.0.113.9/32": report.Held}, states(r))
	var text strings.Builder
	if err := (report.Text{Location: time.UTC}).WriteBans(&text, r.Bans); err != nil {
		t.Fatal(err)
	}
	check(t, "203.0.113.9/32  sasl-auth  5  2026-11-03 09:00:00 UTC  2026-11-04 09:00:00 UTC  1  held\n", text.String())
	over := newReport(t, s, ban.NeverBan{}, at(-1), at(21))
	lapsed := report.Changes{Lapsed: report.Group{Named: []report.Change{{Ban: b, Ended: b.Until}}}}
	check(t, report.Report{Since: at(-1), Until: at(21), Near: report.Near{MaxRetry: 5}, Changes: lapsed, Hours: over.Hours}, over)
}

func TestAClientThatIsProtectedIsSoBeforeAnyBan(t *testing.T) {
	s := newStore(t, []ban.Client{client("192.0.2.25/32", 2, -2, -1), client("2001:db8::/64", 2, -2, -1)}, nil)
	never := ban.NewNeverBan([]ban.Protected{
		{Prefix: prefix("192.0.2.0/24"), Reason: "mynetworks"},
		{Prefix: prefix("2001:db8::25/128"), Reason: "gateway"},
	}, nil)
	check(t, map[string]report.State{
		"192.0.2.25/32": report.Protected,
		"2001:db8::/64": report.Open, // its offender could be blocked
	}, states(newReport(t, s, never, time.Time{}, noon)))
}

func TestBanThatAnothersRouteEnforcesIsBlockedButNotByUs(t *testing.T) {
	four, six := prefix("203.0.113.9/32"), prefix("2001:db8::/64")
	bans := []report.Ban{
		{Ban: ban.Ban{Prefix: four, Origin: ban.OriginJournal}, Targets: []netip.Prefix{four}},
		{Ban: ban.Ban{Prefix: six, Origin: ban.OriginJournal}, Targets: []netip.Prefix{prefix("2001:db8::a/128"), prefix("2001:db8::b/128")}},
	}
	r := report.Report{Bans: bans, Clients: []report.Client{{Prefix: four}, {Prefix: six}}}
	r.Enforce(map[netip.Prefix]report.Blocker{
		four: report.Another, prefix("2001:db8::a/128"): report.Us, prefix("2001:db8::b/128"): report.Another,
	})
	for i, c := range r.Clients {
		if r.Bans[i].Route || !r.Bans[i].Other || c.State != report.Blocked {
			t.Errorf("%s: route %v, other %v, state %s; want another's route and blocked", c.Prefix, r.Bans[i].Route, r.Bans[i].Other, c.State)
		}
	}
	r.Enforce(map[netip.Prefix]report.Blocker{prefix("2001:db8::a/128"): report.Us})
	for _, b := range r.Bans {
		if b.Route || b.Other {
			t.Errorf("%s: route %v, other %v, where an offender is let through", b.Prefix, b.Route, b.Other)
		}
	}
}

func TestClientInAWiderBanOfAnEarlierPolicyIsBlocked(t *testing.T) {
	wide := prefix("203.0.113.0/24")
	r := report.Report{
		Bans:    []report.Ban{{Ban: ban.Ban{Prefix: wide, Origin: ban.OriginJournal}, Targets: []netip.Prefix{wide}}},
		Clients: []report.Client{{Prefix: prefix("203.0.113.9/32"), State: report.Open}, {Prefix: prefix("198.51.100.9/32"), State: report.Open}, {Prefix: prefix("2001:db8::/64"), State: report.Open}},
	}
	r.Enforce(blocked("203.0.113.0/24"))
	var got []report.State
	for _, c := range r.Clients {
		got = append(got, c.State)
	}
	check(t, []report.State{report.Blocked, report.Open, report.Open}, got)
}

func TestABanIsIneffectiveIfItsClientFailedSinceTheLastReportThoughBlockedEntirely(t *testing.T) {
	_, recent := convict("203.0.113.1/32", 5, -10)
	_, known := convict("203.0.113.2/32", 5, -10)
	_, effective := convict("203.0.113.3/32", 5, -10)
	_, narrowed := convict("2001:db8::/64", 5, -10)
	s := newStore(t, nil, []ban.Ban{recent, known, effective, narrowed})
	enforce(t, s, recent, -9, -3)
	enforce(t, s, known, -9, -4) // as the last report said
	enforce(t, s, narrowed, -9, -3)
	r := newReport(t, s, ban.NewNeverBan([]ban.Protected{{Prefix: prefix("2001:db8::25/128"), Reason: "gateway"}}, nil), at(-4), noon)
	r.Enforce(blocked("203.0.113.1/32", "203.0.113.2/32", "203.0.113.3/32", "2001:db8::/128", "2001:db8::1/128"))
	check(t, []report.Ineffective{{Prefix: recent.Prefix, Since: at(-9), Last: at(-3)}}, r.Ineffective)
}
