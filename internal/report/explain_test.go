package report_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

// explained explains a prefix at two o'clock.
func explained(t *testing.T, s *store.Store, never ban.NeverBan, asked string) (all []report.Explanation, more int) {
	t.Helper()
	err := s.View(func(tx *store.Tx) (err error) {
		all, more, err = report.Explain(tx, ban.DefaultPolicy(), never, prefix(asked), at(2))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, more
}

// subjects are the prefixes that are explained, with their states.
func subjects(all []report.Explanation) (text []string) {
	for _, x := range all {
		text = append(text, fmt.Sprintf("%s %s", x.Prefix, x.State()))
	}
	return text
}

func TestABannedClientIsExplainedByTheHitsOfItsBan(t *testing.T) {
	const day = 24 * time.Hour
	c, b := convict("203.0.113.9/32", 7, 1)
	c.Ends = []time.Time{b.Until}
	s := newStore(t, []ban.Client{c}, []ban.Ban{b})
	past := b
	past.Start, past.Until = at(-100), at(-76)
	hits := []ban.Hit{
		{Event: ban.Event{Time: at(1), Address: b.Prefix.Addr()}, Weight: 3},
		{Event: ban.Event{Time: at(0.5), Address: b.Prefix.Addr()}, Weight: 2},
	}
	err := s.Update(func(tx *store.Tx) error {
		return errors.Join(tx.EndBan(past, past.Until, store.Expired), tx.PutBan(b), tx.PutEvidence(b.Prefix, ban.Evidence{Hits: hits}))
	})
	if err != nil {
		t.Fatal(err)
	}
	all, more := explained(t, s, ban.NeverBan{}, "203.0.113.9/32")
	check(t, 0, more)
	check(t, []report.Explanation{{
		Prefix: c.Prefix, Counted: true, Client: c, Ban: &report.Ban{Ban: b, Targets: prefixes("203.0.113.9/32")},
		Events: []report.Event{{Hit: hits[0]}, {Hit: hits[1]}}, Points: 5, Count: 2, Length: 2 * day,
		Earlier: []store.Ended{{Ban: past, At: past.Until, How: store.Expired}},
	}}, all)
}

func TestATallyIsExplainedByTheHitsOfItsWindow(t *testing.T) {
	c := client("203.0.113.9/32", 4, -30, 1)
	old := c.Hits[0]
	old.Time = at(-22.5) // a day and half an hour before two o'clock
	c.Hits = append(c.Hits, old)
	all, _ := explained(t, newStore(t, []ban.Client{c}, nil), ban.NeverBan{}, "203.0.113.9/32")
	check(t, []report.Explanation{{
		Prefix: c.Prefix, Counted: true, Client: c, Events: []report.Event{{Hit: c.Hits[0]}}, Points: 1, Count: 1, Length: 24 * time.Hour,
	}}, all)
}

func TestANetworkIsExplainedByTheBansAndClientsInIt(t *testing.T) {
	banned, b := convict("203.0.113.9/32", 7, 1)
	_, network := convict("203.0.113.0/25", 0, 1)
	network.Origin = ban.OriginManual
	_, over := convict("203.0.113.40/32", 5, -23)
	s := newStore(t, []ban.Client{banned, client("203.0.113.20/32", 1, 1, 1), client("198.51.100.1/32", 1, 1, 1)}, []ban.Ban{b, network, over})
	for asked, want := range map[string][]string{
		"203.0.113.0/24":   {"203.0.113.0/25 open", "203.0.113.9/32 open", "203.0.113.20/32 open"},
		"203.0.113.20/32":  {"203.0.113.0/25 open", "203.0.113.20/32 open"},
		"203.0.113.200/32": {"203.0.113.200/32 open"},
		"203.0.113.128/25": {"203.0.113.128/25 open"},
		"2001:db8::1/128":  {"2001:db8::/64 open"},
		"2001:db8::/48":    {"2001:db8::/48 open"},
	} {
		all, _ := explained(t, s, ban.NeverBan{}, asked)
		check(t, want, subjects(all))
	}
}

func TestOnlySoManyOfALargeNetworkAreExplained(t *testing.T) {
	var clients []ban.Client
	for i := range 103 {
		clients = append(clients, client(fmt.Sprintf("203.0.113.%d/32", i), 1, 1, 1))
	}
	all, more := explained(t, newStore(t, clients, nil), ban.NeverBan{}, "203.0.113.0/24")
	check(t, []int{100, 3}, []int{len(all), more})
	check(t, prefix("203.0.113.99/32"), all[99].Prefix)
}

func TestWhoIsProtectedIsExplainedAsSuch(t *testing.T) {
	c, b := convict("2001:db8::/64", 7, 1)
	s := newStore(t, []ban.Client{c, client("203.0.113.9/32", 1, 1, 1)}, []ban.Ban{b})
	office := ban.Protected{Prefix: prefix("203.0.113.0/24"), Reason: "in ignoreip"}
	first := ban.Protected{Prefix: prefix("2001:db8::/128"), Reason: "in ignoreip"}
	never := ban.NewNeverBan([]ban.Protected{office, first}, nil)
	all, _ := explained(t, s, never, "203.0.113.9/32")
	check(t, []string{"203.0.113.9/32 protected"}, subjects(all))
	check(t, &office, all[0].Protected)

	// Of a network that holds a protected address the other offenders are blocked.
	all, _ = explained(t, s, never, "2001:db8::7/128")
	check(t, []string{"2001:db8::/64 open"}, subjects(all))
	check(t, &first, all[0].Protected)
	check(t, prefixes("2001:db8::1/128"), all[0].Ban.Targets)
	all[0].Ban.Route = true
	check(t, []string{"2001:db8::/64 blocked"}, subjects(all))
}

func TestAnAddressInABannedNetworkIsBlockedByItsBan(t *testing.T) {
	_, wide := convict("203.0.113.0/24", 0, 1)
	_, narrow := convict("203.0.113.0/28", 0, 1)
	wide.Origin, narrow.Origin = ban.OriginManual, ban.OriginManual
	s := newStore(t, nil, []ban.Ban{wide, narrow})
	all, _ := explained(t, s, ban.NeverBan{}, "203.0.113.9/32")
	check(t, []string{"203.0.113.0/24 open", "203.0.113.0/28 open", "203.0.113.9/32 open"}, subjects(all))
	check(t, &report.Ban{Ban: narrow, Targets: prefixes("203.0.113.0/28")}, all[2].Wider)
	all[2].Wider.Route = true
	check(t, []string{"203.0.113.0/24 open", "203.0.113.0/28 open", "203.0.113.9/32 blocked"}, subjects(all))

	// Of a ban that spares somebody only the part counts in which it is.
	never := ban.NewNeverBan([]ban.Protected{{Prefix: prefix("203.0.113.1/32"), Reason: "in ignoreip"}}, nil)
	all, _ = explained(t, s, never, "203.0.113.9/32")
	check(t, &report.Ban{Ban: narrow, Targets: prefixes("203.0.113.8/29")}, all[2].Wider)
	all, _ = explained(t, s, never, "203.0.113.1/32")
	check(t, (*report.Ban)(nil), all[2].Wider)
	check(t, "203.0.113.1/32 protected", subjects(all)[2])
}

func TestWhyNoFailureCountsIsExplained(t *testing.T) {
	spent := client("203.0.113.9/32", 4, 0, 1)
	spent.Hits, spent.LastHit = nil, at(1)
	with := func(change func(*ban.Client)) ban.Client {
		c := spent
		change(&c)
		return c
	}
	old := client("203.0.113.9/32", 4, -31, -30)
	old.LastHit, old.Until = at(-30), at(-29) // the end of a ban by hand, which uses up nothing
	login := store.Login{Prefix: spent.Prefix, At: at(-1)}
	for _, x := range []struct {
		want   report.Void
		client ban.Client
		login  store.Login
	}{
		{"", client("203.0.113.9/32", 1, 1, 1), login},
		{"", with(func(c *ban.Client) { c.Failures = 0 }), login},
		{"", spent, store.Login{Prefix: spent.Prefix}},
		{report.Forgiven, spent, login},
		{report.Pardoned, with(func(c *ban.Client) { c.Pardon = at(1) }), login},
		{report.UsedUp, with(func(c *ban.Client) { c.Until = at(1.5) }), login},
		{report.TooOld, old, login},
		{report.TooOld, with(func(c *ban.Client) { c.LastHit = at(-30) }), login},
	} {
		s := newStore(t, []ban.Client{x.client}, nil)
		if err := s.Update(func(tx *store.Tx) error { return tx.PutLogin(x.login) }); err != nil {
			t.Fatal(err)
		}
		all, _ := explained(t, s, ban.NeverBan{}, "203.0.113.9/32")
		check(t, x.want, all[0].Void)
	}
}

func TestAPardonOfTheNetworkIsTheClientsToo(t *testing.T) {
	c := client("203.0.113.9/32", 0, 1, 1)
	c.Hits, c.Pardon = nil, at(0)
	s := newStore(t, []ban.Client{c}, nil)
	for _, asked := range []string{"203.0.113.9/32", "203.0.113.10/32"} {
		err := s.Update(func(tx *store.Tx) error {
			return tx.PutPardon(store.Pardon{Prefix: prefix("203.0.113.0/24"), Until: at(1)})
		})
		if err != nil {
			t.Fatal(err)
		}
		all, _ := explained(t, s, ban.NeverBan{}, asked)
		check(t, at(1), all[0].Pardon)
	}
}

func prefixes(text ...string) (all []netip.Prefix) {
	for _, p := range text {
		all = append(all, prefix(p))
	}
	return all
}
