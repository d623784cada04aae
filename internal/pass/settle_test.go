package pass_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
	"smtpban/internal/pass"
	"smtpban/internal/store"
)

// never protects the prefixes.
func never(p ...string) ban.NeverBan {
	var members []ban.Protected
	for _, prefix := range prefixes(p...) {
		members = append(members, ban.Protected{Prefix: prefix, Reason: "test"})
	}
	return ban.NewNeverBan(members, nil)
}

// attacked is a machine on which each address earned a ban from hour 0 to 24.
func attacked(t testing.TB, addresses ...string) *machine {
	t.Helper()
	m := newMachine(t)
	var log tape
	for _, a := range addresses {
		log = append(log, failures(a, 0, 0, 0, 0, 0)...)
	}
	m.read(at(0), log)
	return m
}

func TestSettleAddsTheMissingAndDeletesTheUnwanted(t *testing.T) {
	m := attacked(t, "203.0.113.9", "198.51.100.7", "2001:db8::1")
	r := blocking("198.51.100.7/32", "192.0.2.1/32")
	check(t, pass.Settled{Added: prefixes("203.0.113.9/32", "2001:db8::/64"), Blocked: prefixes("198.51.100.7/32", "203.0.113.9/32", "2001:db8::/64"), Deleted: 1}, m.settle(at(1), ban.NeverBan{}, r))
	r.check(t, "203.0.113.9/32", "198.51.100.7/32", "2001:db8::/64")
	check(t, [][]ban.Change{{
		{Prefix: netip.MustParsePrefix("203.0.113.9/32")},
		{Prefix: netip.MustParsePrefix("2001:db8::/64")},
		{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Delete: true},
	}}, r.applied)
}

func TestSettlingTwiceChangesNothingTheSecondTime(t *testing.T) {
	m := attacked(t, "203.0.113.9", "198.51.100.7")
	r := blocking()
	m.settle(at(24), ban.NeverBan{}, r)
	before, state, batches := m.file(), m.state(), len(r.applied)
	check(t, pass.Settled{}, m.settle(at(24), ban.NeverBan{}, r))
	m.checkUntouched(before)
	check(t, state, m.state())
	check(t, batches, len(r.applied))
}

func TestSettleEndsABanAtTheMicrosecondItsTimeIsOver(t *testing.T) {
	m := attacked(t, "203.0.113.9")
	r := blocking()
	check(t, pass.Settled{Added: prefixes("203.0.113.9/32"), Blocked: prefixes("203.0.113.9/32")}, m.settle(at(24).Add(-time.Microsecond), ban.NeverBan{}, r))
	over := firstBan("203.0.113.9/32", at(0))
	check(t, pass.Settled{Expired: []ban.Ban{over}, Deleted: 1}, m.settle(at(24), ban.NeverBan{}, r))
	r.check(t)
	check(t, at(24), m.lastCommit())
	got := m.state()
	check(t, []store.Ended{{Ban: over, At: at(24), How: store.Expired}}, got.Ended)
	check(t, []ban.Ban(nil), got.Bans)
}

func TestSettleNeverEndsAPermanentBan(t *testing.T) {
	m := newMachine(t)
	m.policy.BanTime = ban.Infinity
	m.read(at(0), failures("203.0.113.9", 0, 0, 0, 0, 0))
	r := blocking()
	check(t, pass.Settled{Added: prefixes("203.0.113.9/32"), Blocked: prefixes("203.0.113.9/32")}, m.settle(at(1e6), ban.NeverBan{}, r))
	r.check(t, "203.0.113.9/32")
}

func TestSettleWithKeepOnlyAdds(t *testing.T) {
	m := attacked(t, "203.0.113.9")
	m.ban(at(0), ban.Ban{Prefix: prefixes("198.51.100.7/32")[0], Start: at(0), Until: at(48), Count: 1, Origin: ban.OriginManual})
	before := m.file()
	r := blocking("203.0.113.9/32", "192.0.2.1/32")
	settled, err := m.at(at(30)).Settle(ban.NeverBan{}, r, true)
	check(t, nil, err)
	check(t, pass.Settled{Added: prefixes("198.51.100.7/32"), Blocked: prefixes("198.51.100.7/32", "203.0.113.9/32")}, settled)
	r.check(t, "192.0.2.1/32", "198.51.100.7/32", "203.0.113.9/32")
	m.checkUntouched(before)
}

func TestSettleTellsWhichRoutesFailedAndGoesOn(t *testing.T) {
	m := attacked(t, "203.0.113.1", "203.0.113.2", "203.0.113.3")
	r := blocking("192.0.2.1/32", "192.0.2.2/32")
	for _, p := range prefixes("203.0.113.2/32", "192.0.2.1/32") {
		r.broken[p] = errBroken
	}
	settled := m.settle(at(1), ban.NeverBan{}, r)
	check(t, 1, settled.Missing())
	check(t, pass.Settled{Added: prefixes("203.0.113.1/32", "203.0.113.3/32"), Blocked: prefixes("203.0.113.1/32", "203.0.113.3/32"), Deleted: 1, Failed: []pass.Failure{
		{Change: ban.Change{Prefix: netip.MustParsePrefix("203.0.113.2/32")}, Err: errBroken},
		{Change: ban.Change{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Delete: true}, Err: errBroken},
	}}, settled)
	r.check(t, "203.0.113.1/32", "203.0.113.3/32", "192.0.2.1/32")

	clear(r.broken)
	check(t, pass.Settled{Added: prefixes("203.0.113.2/32"), Blocked: prefixes("203.0.113.1/32", "203.0.113.2/32", "203.0.113.3/32"), Deleted: 1}, m.settle(at(1), ban.NeverBan{}, r))
	r.check(t, "203.0.113.1/32", "203.0.113.2/32", "203.0.113.3/32")
}

func TestSettleEndsBansAlsoWhereRoutesCannotBeListed(t *testing.T) {
	m := attacked(t, "203.0.113.9")
	r := blocking("203.0.113.9/32")
	r.list = errBroken
	settled, err := m.at(at(24)).Settle(ban.NeverBan{}, r, false)
	check(t, errBroken, err)
	check(t, pass.Settled{Expired: []ban.Ban{firstBan("203.0.113.9/32", at(0))}}, settled)
	check(t, []ban.Ban(nil), m.state().Bans)
	check(t, [][]ban.Change(nil), r.applied)
}

func TestSettleWithoutAnEnforcerEndsBansAndLeavesTheRoutesAlone(t *testing.T) {
	m := attacked(t, "203.0.113.9")
	check(t, pass.Settled{}, m.settle(at(1), ban.NeverBan{}, nil))
	check(t, pass.Settled{Expired: []ban.Ban{firstBan("203.0.113.9/32", at(0))}}, m.settle(at(24), ban.NeverBan{}, nil))
	check(t, []ban.Ban(nil), m.state().Bans)
}

func TestAProtectedClientGetsABanButNoRoute(t *testing.T) {
	m := attacked(t, "203.0.113.9", "127.0.0.1")
	r := blocking()
	check(t, pass.Settled{Spared: prefixes("127.0.0.1/32", "203.0.113.9/32")}, m.settle(at(1), never("203.0.113.0/24"), r))
	r.check(t)
	check(t, []string{"127.0.0.1/32", "203.0.113.9/32"}, banned(m.state().Bans))
}

func TestANetworkThatHoldsAProtectedAddressIsNarrowedToItsOffenders(t *testing.T) {
	m := newMachine(t)
	var log tape
	for _, a := range []string{"2001:db8::b", "2001:db8::a", "2001:db8::25", "2001:db8::b", "2001:db8::a"} {
		log = append(log, failure(a, at(0)))
	}
	m.read(at(0), log)
	r := blocking()
	m.settle(at(1), never("2001:db8::25/128"), r)
	r.check(t, "2001:db8::a/128", "2001:db8::b/128")
	m.settle(at(1), ban.NeverBan{}, r)
	r.check(t, "2001:db8::/64")
}

func TestProtectingAnAddressLiftsItsRouteAtOnce(t *testing.T) {
	m := attacked(t, "203.0.113.9", "198.51.100.7")
	r := blocking()
	m.settle(at(1), ban.NeverBan{}, r)
	check(t, pass.Settled{Blocked: prefixes("198.51.100.7/32"), Deleted: 1, Spared: prefixes("203.0.113.9/32")}, m.settle(at(1), never("203.0.113.9/32"), r))
	r.check(t, "198.51.100.7/32")
	check(t, pass.Settled{Added: prefixes("203.0.113.9/32"), Blocked: prefixes("198.51.100.7/32", "203.0.113.9/32")}, m.settle(at(1), ban.NeverBan{}, r)) // the ban itself still stands
	r.check(t, "198.51.100.7/32", "203.0.113.9/32")
}

// named lets a client whose name Postfix has verified fail.
func named(name, address string, hour float64) journal.Entry {
	e := failure(address, at(hour))
	e.Message = strings.Replace(e.Message, "unknown", name, 1)
	return e
}

func TestProtectingANameLiftsTheRouteOfWhoBearsIt(t *testing.T) {
	m := newMachine(t)
	var log tape
	for range 5 {
		log = append(log, named("mx.example.org", "203.0.113.9", 0), named("example.org.evil.test", "198.51.100.7", 0))
	}
	m.read(at(0), log)
	r := blocking()
	m.settle(at(1), ban.NeverBan{}, r)
	r.check(t, "198.51.100.7/32", "203.0.113.9/32")
	before := m.file()
	check(t, pass.Settled{Blocked: prefixes("198.51.100.7/32"), Deleted: 1, Spared: prefixes("203.0.113.9/32")}, m.settle(at(1), ban.NewNeverBan(nil, []string{".example.org"}), r))
	r.check(t, "198.51.100.7/32")
	m.checkUntouched(before) // the ban itself still stands
}

func TestANetworkIsNarrowedToOffendersThatAreNotNamedSo(t *testing.T) {
	m := newMachine(t)
	names := ban.NewNeverBan(nil, []string{".example.org"})
	log := tape(failures("2001:db8::a", 0, 0, 0, 0, 0))
	m.read(at(0), log)
	r := blocking()
	m.settle(at(0), names, r)
	r.check(t, "2001:db8::/64") // nobody with such a name is known in it

	log = append(log, named("mx.example.org", "2001:db8::25", 1), named("b.evil.test", "2001:db8::b", 1))
	m.read(at(1), log)
	m.settle(at(1), names, r)
	r.check(t, "2001:db8::a/128", "2001:db8::b/128")
	m.settle(at(1), ban.NeverBan{}, r)
	r.check(t, "2001:db8::/64")
}

func TestSettleOnADamagedStateChangesNoRoute(t *testing.T) {
	m := attacked(t, "203.0.113.9")
	overwrite(t, m.path, "this is no state file")
	r := blocking("203.0.113.9/32")
	settled, err := m.at(at(24)).Settle(ban.NeverBan{}, r, false)
	if err == nil {
		t.Error("no error")
	}
	check(t, pass.Settled{}, settled)
	r.check(t, "203.0.113.9/32")
}

func TestANarrowedBanFollowsTheOffendersThatComeDuringIt(t *testing.T) {
	m := newMachine(t)
	guarded := never("2001:db8:1:2::25/128")
	log := failures("2001:db8:1:2::a", 0, 0, 0, 0, 0)
	m.read(at(0), log)
	r := blocking()
	m.settle(at(0), guarded, r)
	r.check(t, "2001:db8:1:2::a/128")

	log = append(log, failures("2001:db8:1:2::b", 1, 1)...)
	log = append(log, failures("2001:db8:1:2::25", 1)...)
	m.read(at(1), log)
	m.settle(at(1), guarded, r)
	r.check(t, "2001:db8:1:2::a/128", "2001:db8:1:2::b/128")

	log = append(log, failures("2001:db8:1:2::c", 2)...)
	m.read(at(2), log)
	m.settle(at(2), guarded, r)
	r.check(t, "2001:db8:1:2::a/128", "2001:db8:1:2::b/128", "2001:db8:1:2::c/128")
}

// enforced returns how the ban on a prefix is enforced.
func (m *machine) enforced(p string) (x store.Enforced) {
	m.t.Helper()
	err := store.New(m.path).View(func(tx *store.Tx) (err error) {
		x, err = tx.Enforced(netip.MustParsePrefix(p))
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return x
}

func TestFailuresLongAfterABanGotItsRouteAreRemembered(t *testing.T) {
	const minute = 1.0 / 60
	m := newMachine(t)
	log := failures("203.0.113.9", 0, 0, 0, 0, 0)
	m.read(at(0), log)
	check(t, store.Enforced{}, m.enforced("203.0.113.9/32"))

	// Only from the moment of the route on, which may come late.
	log = append(log, failures("203.0.113.9", 0.9)...)
	m.read(at(1), log)
	m.settle(at(1), ban.NeverBan{}, blocking())
	routed := store.Enforced{Since: at(1)}
	check(t, routed, m.enforced("203.0.113.9/32"))

	// What smtpd still has to say for a while does not count.
	log = append(log, failures("203.0.113.9", 1+minute, 1+5*minute)...)
	m.read(at(1.2), log)
	check(t, routed, m.enforced("203.0.113.9/32"))

	// The newest failure counts, in whatever order they come.
	log = append(log, failures("203.0.113.9", 1+6*minute, 4, 3)...)
	m.read(at(5), log)
	check(t, store.Enforced{Since: at(1), Late: at(4)}, m.enforced("203.0.113.9/32"))
	check(t, at(24), m.state().Bans[0].Until)

	// A route that was lost begins anew.
	m.settle(at(6), ban.NeverBan{}, blocking())
	check(t, store.Enforced{Since: at(6)}, m.enforced("203.0.113.9/32"))
	m.unban(at(7), "203.0.113.9/32")
	check(t, store.Enforced{}, m.enforced("203.0.113.9/32"))
}

func TestANarrowedBanIsNotTakenForEnforced(t *testing.T) {
	m := attacked(t, "2001:db8::a")
	m.settle(at(1), never("2001:db8::25/128"), blocking())
	check(t, store.Enforced{}, m.enforced("2001:db8::/64"))
	check(t, store.Enforced{}, m.enforced("2001:db8::a/128"))
}

func TestOnlySoManyRoutesAreMadeAndTheLeastActiveGoWithout(t *testing.T) {
	m := newMachine(t)
	log := append(failures("203.0.113.1", 0, 0, 0, 0, 0), failures("203.0.113.2", 0, 0, 0, 0, 0, 0)...)
	log = append(log, failures("203.0.113.3", 1, 1, 1, 1, 1)...)
	log = append(log, failures("2001:db8::1", 1, 1, 1, 1, 1)...)
	m.read(at(1), log)
	p := m.at(at(1))
	p.Limits = ban.Limits{IPv4: 2, IPv6: 1}
	r := blocking("203.0.113.1/32")
	for range 2 {
		settled, err := p.Settle(ban.NeverBan{}, r, false)
		check(t, nil, err)
		check(t, 1, settled.Surplus)
		r.check(t, "203.0.113.2/32", "203.0.113.3/32", "2001:db8::/64")
	}
	check(t, 1, len(r.applied))

	// When one ends, the next one has room.
	m.unban(at(2), "203.0.113.3/32")
	settled, err := p.Settle(ban.NeverBan{}, r, false)
	check(t, nil, err)
	check(t, pass.Settled{Added: prefixes("203.0.113.1/32"), Blocked: prefixes("203.0.113.1/32", "203.0.113.2/32", "2001:db8::/64"), Deleted: 1}, settled)
}

func TestClearTakesEveryRouteAwayWhateverTheStateWants(t *testing.T) {
	r := blocking("198.51.100.7/32", "2001:db8::/64")
	cleared, err := pass.Clear(r)
	if err != nil {
		t.Fatal(err)
	}
	check(t, pass.Settled{Deleted: 2}, cleared)
	r.check(t)
}
