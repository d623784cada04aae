package pass_test

import (
	"testing"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

func (m *machine) adopt(now float64, routes ...string) (adopted int) {
	m.t.Helper()
	return m.adoptAsOf(now, time.Time{}, routes...)
}

func (m *machine) adoptAsOf(now float64, asOf time.Time, routes ...string) (adopted int) {
	m.t.Helper()
	m.update(func(tx *store.Tx) (err error) {
		adopted, err = m.at(at(now)).Adopt(tx, prefixes(routes...), asOf)
		return err
	})
	return adopted
}

func TestRoutesWithoutABanAreAdopted(t *testing.T) {
	m := attacked(t, "203.0.113.9", "2001:db8::1")
	known := m.state().Bans
	routes := []string{"198.51.100.7/32", "203.0.113.9/32", "2001:db8::/64", "2001:db8:1::/64", "2001:db8::25/128", "192.0.2.0/24"}
	check(t, 3, m.adopt(10, routes...))
	adopted := func(prefix string) ban.Ban {
		return ban.Ban{Prefix: prefixes(prefix)[0], Start: at(10), Until: at(34), Count: 1, Origin: ban.OriginAdopted}
	}
	check(t, []ban.Ban{adopted("192.0.2.0/24"), adopted("198.51.100.7/32"), known[0], known[1], adopted("2001:db8:1::/64")}, m.state().Bans)
	check(t, 0, m.adopt(11, routes...))
	r := blocking(routes...)
	m.settle(at(11), ban.NeverBan{}, r)
	r.check(t, "192.0.2.0/24", "198.51.100.7/32", "203.0.113.9/32", "2001:db8:1::/64", "2001:db8::/64")
}

// What the log tells of a client is better than what nobody knows: how long it
// is banned, and for which time.
func TestTheBanOfTheLogTakesThePlaceOfTheAdoptedOne(t *testing.T) {
	m := newMachine(t)
	m.adopt(10, "203.0.113.9/32")
	read := m.read(at(10), failures("203.0.113.9", 0, 1, 2, 3, 4, 5))
	own := firstBan("203.0.113.9/32", at(4))
	own.Failures = 6
	check(t, []ban.Ban{own}, read.Bans)
	check(t, []ban.Ban(nil), read.Expired)
	check(t, []ban.Ban{own}, m.state().Bans)
}

// A snapshot's time is one at which the clock was right: a clock that is behind
// it is not believed, and one that is a little after it is.
func TestTheTimeOfTheLostStateVouchesForTheClock(t *testing.T) {
	m := newMachine(t)
	m.adoptAsOf(-year, at(0), "203.0.113.9/32")
	b := m.state().Bans[0]
	check(t, []time.Time{at(0), at(24)}, []time.Time{b.Start, b.Until})

	m = newMachine(t)
	m.adoptAsOf(11, at(0), "203.0.113.9/32")
	check(t, at(11), m.lastCommit())
}

// Failures of years cannot have come all at once.
func TestALogAheadOfAWrongClockBansNobodyForBeingRead(t *testing.T) {
	m := newMachine(t)
	m.adoptAsOf(-10*year, at(0))
	read := m.read(at(-10*year), failures("203.0.113.9", -20*24, -15*24, -10*24, -5*24, 0))
	check(t, []ban.Ban(nil), read.Bans)
}

// An admin who pardoned everybody under a clock that was a year ahead did not
// mean to let them do as they like for that year.
func TestAPardonOfAClockAheadReachesNoFurtherThanNow(t *testing.T) {
	for _, who := range []string{"203.0.113.9/32", "203.0.0.0/16"} {
		m := newMachine(t)
		m.unban(at(year), who)
		m.update(func(tx *store.Tx) error { return tx.PutLastCommit(at(0)) }) // set right, and believed
		read := m.read(at(6), failures("203.0.113.9", 6.1, 6.2, 6.3, 6.4, 6.5))
		check(t, []string{"203.0.113.9/32"}, banned(read.Bans))
	}
}

// A ban that is held back has no route: one that is there is of a ban that was
// confirmed, or made by hand, after the lost state was copied.
func TestARouteWithAHeldBanIsAdopted(t *testing.T) {
	m := newMachine(t)
	held := firstBan("203.0.113.9/32", at(0))
	held.Held = true
	m.update(func(tx *store.Tx) error { return tx.PutBan(held) })
	check(t, 1, m.adopt(10, "203.0.113.9/32"))
	got := m.state()
	check(t, []ban.Ban{{Prefix: held.Prefix, Start: at(10), Until: at(34), Count: 1, Origin: ban.OriginAdopted}}, got.Bans)
	check(t, []store.Ended{{Ban: held, At: at(10), How: store.Lapsed}}, got.Ended)
}
