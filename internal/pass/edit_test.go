package pass_test

import (
	"net/netip"
	"slices"
	"testing"

	"smtpban/internal/ban"
	"smtpban/internal/pass"
	"smtpban/internal/store"
)

// manual is the admin's ban from hour to hour.
func manual(prefix string, start, until float64, reason string) ban.Ban {
	return ban.Ban{
		Prefix: prefixes(prefix)[0], Start: at(start), Until: at(until), Count: 1,
		Origin: ban.OriginManual, Reason: reason,
	}
}

func TestBanningTwiceProlongsAndNeverShortens(t *testing.T) {
	for name, tc := range map[string]struct {
		first, second, want ban.Ban
	}{
		"longer":      {manual("203.0.113.0/24", 0, 5, "a"), manual("203.0.113.0/24", 1, 6, "b"), manual("203.0.113.0/24", 0, 6, "b")},
		"shorter":     {manual("203.0.113.9/32", 0, 5, "a"), manual("203.0.113.9/32", 1, 2, "b"), manual("203.0.113.9/32", 0, 5, "b")},
		"no reason":   {manual("203.0.113.9/32", 0, 5, "a"), manual("203.0.113.9/32", 1, 6, ""), manual("203.0.113.9/32", 0, 6, "a")},
		"for ever":    {manual("203.0.113.9/32", 0, 5, ""), foreverFrom(1), foreverFrom(0)},
		"not anymore": {foreverFrom(0), manual("203.0.113.9/32", 1, 2, ""), foreverFrom(0)},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			check(t, tc.first, m.ban(at(0), tc.first))
			check(t, tc.want, m.ban(at(1), tc.second))
			check(t, []ban.Ban{tc.want}, m.state().Bans)
			check(t, []store.Ended(nil), m.state().Ended)
		})
	}
}

func foreverFrom(hour float64) ban.Ban {
	b := manual("203.0.113.9/32", hour, 0, "")
	b.Until = ban.Forever
	return b
}

func TestProlongingABanKeepsWhatIsKnownOfIt(t *testing.T) {
	m := newMachine(t)
	log := append(failures("203.0.113.9", 0, 0, 0, 0, 0), failures("203.0.113.9", 30, 30, 30, 30, 30)...)
	m.read(at(30), log)
	want := firstBan("203.0.113.9/32", at(30))
	want.Until, want.Count = at(100), 2
	want.Origin, want.Reason = ban.OriginManual, "enough"
	check(t, want, m.ban(at(31), manual("203.0.113.9/32", 31, 100, "enough")))
	if n := len(m.state().Evidence[want.Prefix].Hits); n != 5 {
		t.Errorf("%d hits are left of the evidence, want 5", n)
	}
}

func TestAManualBanKnowsTheFailuresOfItsClient(t *testing.T) {
	for name, tc := range map[string]struct {
		now  float64
		want int
	}{
		"a tally":            {3, 3},
		"a tally that ended": {27, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.read(at(2), failures("203.0.113.9", 0, 1, 2))
			want := manual("203.0.113.9/32", tc.now, 100, "")
			want.Failures = tc.want
			check(t, want, m.ban(at(tc.now), manual("203.0.113.9/32", tc.now, 100, "")))
		})
	}
}

func TestFailuresWithinAManualBanOnlyCount(t *testing.T) {
	m := newMachine(t)
	m.ban(at(0), manual("2001:db8::/64", 0, 10, ""))
	m.read(at(9), failures("2001:db8::1", 1, 2, 3, 4, 5, 6))
	want := manual("2001:db8::/64", 0, 10, "")
	want.Failures = 6
	check(t, []ban.Ban{want}, m.state().Bans)
}

func TestBanningAgainAfterTheTimeIsOverStartsAnew(t *testing.T) {
	m := newMachine(t)
	first, second := manual("203.0.113.9/32", 0, 5, "a"), manual("203.0.113.9/32", 6, 7, "")
	m.ban(at(0), first)
	check(t, second, m.ban(at(6), second)) // nothing has settled since hour 5
	got := m.state()
	check(t, []ban.Ban{second}, got.Bans)
	check(t, []store.Ended{{Ban: first, At: at(5), How: store.Expired}}, got.Ended)
}

func TestOffendersOfAPrefixAreThoseOfItsTalliesAndBans(t *testing.T) {
	m := newMachine(t)
	m.read(at(0), append(tape{
		named("a.example.org", "203.0.113.1", 0), named("b.example.org", "198.51.100.1", 0),
	}, failures("203.0.113.2", 0, 0, 0, 0, 0)...))
	got, err := m.at(at(0)).Offenders(prefixes("203.0.113.0/24")[0])
	check(t, nil, err)
	banned := ban.Offender{Address: netip.MustParseAddr("203.0.113.2")}
	check(t, []ban.Offender{{Address: netip.MustParseAddr("203.0.113.1"), Name: "a.example.org"}, banned, banned, banned, banned, banned}, got)
}

func TestWhoIsLoggedInIsNeitherBannedNorHasATally(t *testing.T) {
	peers := []netip.Addr{netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("192.0.2.1")}
	m := newMachine(t)
	log := append(failures("203.0.113.9", 0, 0, 0, 0, 0), failures("2001:db8::99", 0, 0)...)
	log = append(log, failures("203.0.113.10", 0, 0, 0, 0, 0)...)
	m.read(at(0), log)
	m.ban(at(0), manual("198.51.100.7/32", 0, 10, ""))
	m.ban(at(0), manual("198.51.100.0/24", 0, 10, "")) // wider than a client
	m.ban(at(0), manual("192.0.2.0/24", 0, 1, ""))     // over by now

	ended, err := m.at(at(1)).Admit(peers)
	check(t, nil, err)
	check(t, []string{"198.51.100.7/32", "203.0.113.9/32"}, banned(ended))
	got := m.state()
	check(t, []string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.10/32"}, banned(got.Bans))
	failures := map[string]int{}
	for _, c := range got.Clients {
		failures[c.Prefix.String()] = c.Failures
	}
	check(t, map[string]int{"198.51.100.7/32": 0, "203.0.113.9/32": 0, "203.0.113.10/32": 5, "2001:db8::/64": 0}, failures)

	before := m.file()
	ended, err = m.at(at(2)).Admit(peers)
	check(t, nil, err)
	check(t, []string(nil), banned(ended))
	m.checkUntouched(before)

	log = append(log, failure("203.0.113.9", at(3))) // a mail program with an old password goes on
	m.read(at(3), log)
	if _, err := m.at(at(3)).Admit(peers); err != nil {
		t.Error(err)
	}
	for _, c := range m.state().Clients {
		if c.Prefix.String() == "203.0.113.9/32" && (c.Failures > 0 || len(c.Hits) > 0) {
			t.Errorf("%d failures and %d hits are left", c.Failures, len(c.Hits))
		}
	}
}

func TestUnbanOfAnAddressLiftsWhateverCoversIt(t *testing.T) {
	for name, tc := range map[string]struct {
		banned  []string
		unban   string
		lifted  []string
		blocked []string
	}{
		"its own":               {[]string{"203.0.113.9/32", "203.0.113.10/32"}, "203.0.113.9/32", []string{"203.0.113.9/32"}, []string{"203.0.113.10/32"}},
		"the /64 around it":     {[]string{"2001:db8::/64", "2001:db8:0:1::/64"}, "2001:db8::99/128", []string{"2001:db8::/64"}, []string{"2001:db8:0:1::/64"}},
		"a wide one around it":  {[]string{"203.0.113.0/24", "198.51.100.0/24"}, "203.0.113.9/32", []string{"203.0.113.0/24"}, []string{"198.51.100.0/24"}},
		"all that are inside":   {[]string{"203.0.113.1/32", "203.0.113.128/25", "198.51.100.1/32"}, "203.0.113.0/24", []string{"203.0.113.1/32", "203.0.113.128/25"}, []string{"198.51.100.1/32"}},
		"inside and around":     {[]string{"203.0.0.0/16", "203.0.113.1/32", "192.0.2.1/32"}, "203.0.113.0/24", []string{"203.0.0.0/16", "203.0.113.1/32"}, []string{"192.0.2.1/32"}},
		"everybody of a family": {[]string{"203.0.113.1/32", "2001:db8::/64"}, "0.0.0.0/0", []string{"203.0.113.1/32"}, []string{"2001:db8::/64"}},
		"nobody":                {[]string{"203.0.113.1/32"}, "198.51.100.1/32", nil, []string{"203.0.113.1/32"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			for _, p := range tc.banned {
				m.ban(at(0), manual(p, 0, 10, ""))
			}
			r := blocking()
			m.settle(at(1), ban.NeverBan{}, r)
			r.check(t, tc.banned...)

			check(t, tc.lifted, banned(m.unban(at(1), tc.unban)))
			var want []store.Ended
			for _, p := range tc.lifted {
				want = append(want, store.Ended{Ban: manual(p, 0, 10, ""), At: at(1), How: store.Unbanned})
			}
			check(t, want, m.state().Ended)
			m.settle(at(1), ban.NeverBan{}, r)
			r.check(t, tc.blocked...)
		})
	}
}

func TestUnbanLeavesABanWhoseTimeIsOverToItsEnd(t *testing.T) {
	m := newMachine(t)
	m.ban(at(0), manual("203.0.113.9/32", 0, 5, ""))
	check(t, []ban.Ban(nil), m.unban(at(6), "203.0.113.9/32"))
	over := manual("203.0.113.9/32", 0, 5, "")
	check(t, pass.Settled{Expired: []ban.Ban{over}}, m.settle(at(6), ban.NeverBan{}, blocking()))
	check(t, []store.Ended{{Ban: over, At: at(5), How: store.Expired}}, m.state().Ended)
}

func TestPardonedFailuresNeverCountAgain(t *testing.T) {
	for name, tc := range map[string]struct{ address, unban string }{
		"IPv4":                  {"203.0.113.9", "203.0.113.9/32"},
		"IPv6 by its network":   {"2001:db8::1", "2001:db8::/64"},
		"IPv6 by its neighbour": {"2001:db8::1", "2001:db8::2/128"},
		"IPv4 by a wide prefix": {"203.0.113.9", "203.0.113.0/24"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			log := failures(tc.address, 0, 0, 0, 0, 0, 1)
			m.read(at(1), log)
			ended := m.unban(at(2), tc.unban)
			if len(ended) != 1 {
				t.Fatalf("%d bans ended, want 1", len(ended))
			}
			prefix := ended[0].Prefix
			check(t, state{
				Ended:   []store.Ended{{Ban: ended[0], At: at(2), How: store.Unbanned}},
				Clients: []ban.Client{{Prefix: prefix, Pardon: at(2)}},
			}, m.state())

			m.update(func(tx *store.Tx) error { return tx.DeletePosition([16]byte{}) })
			log = append(log, failures(tc.address, 2, 2.1, 2.2, 2.3, 2.4)...)
			check(t, pass.Read{Entries: 11, First: at(0), Events: 11}, m.read(at(3), log))
			check(t, []string(nil), banned(m.state().Bans))

			log = append(log, failures(tc.address, 2.5)...)
			check(t, []ban.Ban{firstBan(prefix.String(), at(2.5))}, m.read(at(3), log).Bans)
		})
	}
}

func TestUnbanOfNobodyStillPardonsWhatWasNotReadYet(t *testing.T) {
	m := newMachine(t)
	check(t, []ban.Ban(nil), m.unban(at(2), "203.0.113.9/32"))
	m.read(at(2), failures("203.0.113.9", 0, 0, 0, 0, 0))
	check(t, state{Clients: []ban.Client{{Prefix: prefixes("203.0.113.9/32")[0], Pardon: at(2)}}}, m.state())
}

func TestABanThatWasLiftedDoesNotLengthenTheNextOne(t *testing.T) {
	m := newMachine(t)
	log := failures("203.0.113.9", 0, 0, 0, 0, 0)
	m.read(at(0), log)
	m.unban(at(1), "203.0.113.9/32")
	log = append(log, failures("203.0.113.9", 2, 2, 2, 2, 2)...)
	check(t, []ban.Ban{firstBan("203.0.113.9/32", at(2))}, m.read(at(2), log).Bans)
}

func TestABanThatWasServedStillLengthensTheNextOneAfterAnUnban(t *testing.T) {
	m := newMachine(t)
	log := failures("203.0.113.9", 0, 0, 0, 0, 0, 25, 25, 25, 25, 25)
	m.read(at(25), log)
	m.unban(at(26), "203.0.113.9/32")
	log = append(log, failures("203.0.113.9", 27, 27, 27, 27, 27)...)
	want := firstBan("203.0.113.9/32", at(27))
	want.Count, want.Until = 2, at(27+48)
	check(t, []ban.Ban{want}, m.read(at(27), log).Bans)
}

func TestABanWiderOrNarrowerThanAClientLeavesTheTallyAlone(t *testing.T) {
	for _, prefix := range []string{"2001:db8::/48", "2001:db8::1/128"} {
		m := newMachine(t)
		m.ban(at(0), manual(prefix, 0, 100, ""))
		m.read(at(5), failures("2001:db8::1", 1, 2, 3, 4, 5))
		want := []ban.Ban{firstBan("2001:db8::/64", at(5)), manual(prefix, 0, 100, "")}
		slices.SortFunc(want, func(a, b ban.Ban) int { return ban.ComparePrefix(a.Prefix, b.Prefix) })
		check(t, want, m.state().Bans)
	}
}

func TestBanAndUnbanRememberWhenTheStateChanged(t *testing.T) {
	m := newMachine(t)
	m.ban(at(1), manual("203.0.113.9/32", 1, 2, ""))
	check(t, at(1), m.lastCommit())
	m.unban(at(3), "203.0.113.9/32")
	check(t, at(3), m.lastCommit())
}

func TestUnbanOfANetworkPardonsAlsoThoseNotReadYet(t *testing.T) {
	log := failures("203.0.113.9", 0, 0, 0, 0, 0)
	for _, network := range []string{"203.0.113.0/24", "0.0.0.0/0"} {
		m := newMachine(t)
		if _, err := m.at(at(1)).Unban(prefixes(network)...); err != nil {
			t.Fatal(err)
		}
		check(t, []ban.Ban(nil), m.read(at(1), log).Bans)
		later := append(slices.Clone(log), failures("203.0.113.9", 2, 2, 2, 2, 2)...)
		check(t, []string{"203.0.113.9/32"}, banned(m.read(at(2), later).Bans))
	}
}
