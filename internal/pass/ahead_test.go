package pass_test

import (
	"testing"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// ahead is a machine that has begun at hour 0 and whose clock is then a year
// ahead: it reads the log and settles under that clock.
func ahead(t *testing.T, log tape) *machine {
	t.Helper()
	m := newMachine(t)
	m.ban(at(0), ban.Ban{Prefix: prefixes("198.51.100.7/32")[0], Start: at(0), Until: at(72), Count: 1, Origin: ban.OriginManual})
	doubt, _ := m.turn(at(year), log, blocking())
	check(t, true, doubt)
	return m
}

// setRight is the first run after the clock was set right, at hour 1.
func (m *machine) setRight(log tape) {
	m.t.Helper()
	doubt, _ := m.turn(at(1), log, blocking())
	check(m.t, false, doubt)
}

// bans are those on the prefix.
func (m *machine) bans(prefix string) (bans []ban.Ban) {
	m.t.Helper()
	for _, b := range m.state().Bans {
		if b.Prefix == prefixes(prefix)[0] {
			bans = append(bans, b)
		}
	}
	return bans
}

func TestABanMadeUnderAClockAheadBeginsWhenTheClockIsSetRight(t *testing.T) {
	log := failures("203.0.113.9", year, year, year, year, year)
	m := ahead(t, log)
	check(t, []ban.Ban{firstBan("203.0.113.9/32", at(year))}, m.bans("203.0.113.9/32"))
	m.setRight(log)
	check(t, []ban.Ban{firstBan("203.0.113.9/32", at(1))}, m.bans("203.0.113.9/32"))

	// It is as if the log was first read then.
	late := newMachine(t)
	late.ban(at(0), ban.Ban{Prefix: prefixes("198.51.100.7/32")[0], Start: at(0), Until: at(72), Count: 1, Origin: ban.OriginManual})
	late.turn(at(1), log, blocking())
	check(t, late.state().Bans, m.state().Bans)
	check(t, late.state().Clients, m.state().Clients)

	// What comes within it does not prolong it, and the next one is longer.
	log = append(log, failures("203.0.113.9", 2, 2, 2, 2, 2)...)
	m.turn(at(2), log, blocking())
	_, expired := m.turn(at(25), log, blocking())
	check(t, []string{"203.0.113.9/32"}, expired)
	log = append(log, failures("203.0.113.9", 26, 26, 26, 26, 26)...)
	m.turn(at(26), log, blocking())
	again := m.bans("203.0.113.9/32")
	check(t, 1, len(again))
	check(t, []any{2, at(26), at(26 + 48)}, []any{again[0].Count, again[0].Start, again[0].Until})

	// In the end it is forgotten.
	const forgotten = 26 + 48 + 12*7*24 + 1
	log = append(log, failures("203.0.113.9", forgotten, forgotten, forgotten, forgotten, forgotten)...)
	m.turn(at(forgotten), log, blocking())
	check(t, 1, m.bans("203.0.113.9/32")[0].Count)
}

func TestFailuresCountedUnderAClockAheadCountAsWhenItIsSetRight(t *testing.T) {
	log := failures("203.0.113.9", year, year, year, year)
	m := ahead(t, log)
	m.setRight(log)
	log = append(log, failures("203.0.113.9", 24.5)...)
	m.turn(at(24.5), log, blocking())
	check(t, []ban.Ban{firstBan("203.0.113.9/32", at(24.5))}, m.bans("203.0.113.9/32"))
}

// Even if the clock stayed so long that it was believed. A ban that was served
// then leaves nothing behind that would let the client do as he likes until that
// time comes.
func TestAClockAheadThatWasBelievedIsFoundOutWhenItIsSetRight(t *testing.T) {
	log := append(failures("203.0.113.9", year, year, year, year, year), failures("203.0.113.10", year, year, year, year)...)
	m := ahead(t, log)
	doubt, _ := m.turn(at(year+1), log, blocking())
	check(t, false, doubt)
	log = append(log, failures("203.0.113.11", year+24, year+24, year+24, year+24, year+24)...)
	_, expired := m.turn(at(year+24), log, blocking())
	check(t, []string{"203.0.113.9/32"}, expired)

	doubt, _ = m.turn(at(24), log, blocking())
	check(t, true, doubt)
	m.turn(at(25), log, blocking())
	check(t, []ban.Ban{firstBan("203.0.113.11/32", at(25))}, m.bans("203.0.113.11/32"))
	log = append(log, failures("203.0.113.9", 26, 26, 26, 26, 26)...)
	log = append(log, failures("203.0.113.10", 26)...)
	m.turn(at(26), log, blocking())
	again := m.bans("203.0.113.9/32")
	check(t, 1, len(again))
	check(t, []any{2, at(26)}, []any{again[0].Count, again[0].Start})
	check(t, []ban.Ban{firstBan("203.0.113.10/32", at(26))}, m.bans("203.0.113.10/32"))
	for _, c := range m.state().Clients {
		if c.Prefix == again[0].Prefix {
			check(t, []time.Time{at(26 + 48), at(25)}, c.Ends)
		}
	}
}

func TestAPardonGivenUnderAClockAheadEndsWhenTheClockIsSetRight(t *testing.T) {
	m := ahead(t, nil)
	m.unban(at(year), "203.0.113.9/32", "192.0.2.0/24")
	m.setRight(nil)
	log := append(failures("203.0.113.9", 2, 2, 2, 2, 2), failures("192.0.2.80", 2, 2, 2, 2, 2)...)
	m.turn(at(3), log, blocking())
	check(t, []string{"192.0.2.80/32", "198.51.100.7/32", "203.0.113.9/32"}, banned(m.state().Bans))
}

func TestABanByHandUnderAClockAheadIsAsLongAsItWasMeant(t *testing.T) {
	m := ahead(t, nil)
	m.ban(at(year), manual("203.0.113.9/32", year, year+5, "tests"))
	m.ban(at(year), ban.Ban{Prefix: prefixes("203.0.113.10/32")[0], Start: at(year), Until: ban.Forever, Count: 1, Origin: ban.OriginManual})
	m.setRight(nil)
	check(t, []ban.Ban{manual("203.0.113.9/32", 1, 6, "tests")}, m.bans("203.0.113.9/32"))
	check(t, []time.Time{at(1), ban.Forever}, []time.Time{m.bans("203.0.113.10/32")[0].Start, m.bans("203.0.113.10/32")[0].Until})
}

// A route that was made under it would otherwise be taken for one that has not
// come yet, and a client who goes on in spite of it would not be noticed.
func TestARouteMadeUnderAClockAheadIsThereSinceTheClockIsSetRight(t *testing.T) {
	log := failures("203.0.113.9", year, year, year, year, year)
	m := ahead(t, log)
	check(t, store.Enforced{Since: at(year)}, m.enforced("203.0.113.9/32"))
	m.turn(at(1), log, blocking("198.51.100.7/32", "203.0.113.9/32"))
	check(t, store.Enforced{Since: at(1)}, m.enforced("203.0.113.9/32"))
}

func TestABanOfThePastIsTheSameAfterAClockAhead(t *testing.T) {
	m := attacked(t, "203.0.113.9")
	log := failures("203.0.113.9", 0, 0, 0, 0, 0)
	m.turn(at(year), log, blocking())
	before := m.state()
	m.turn(at(1), log, blocking())
	check(t, before, m.state())
}

// A machine that was off for a month jumps ahead, and is right.
func TestAClockAt1970AfterALongPauseLetsNobodyOut(t *testing.T) {
	const back = 30 * 24
	m := ahead(t, nil)
	m.turn(at(year+1), nil, blocking())
	log := failures("203.0.113.9", year+back, year+back, year+back, year+back, year+back)
	m.turn(at(year+back), log, blocking())
	m.turn(at(year+back+1), log, blocking())
	before := m.bans("203.0.113.9/32")
	check(t, []ban.Ban{firstBan("203.0.113.9/32", at(year+back))}, before)

	early := time.Unix(20, 0).Sub(epoch).Hours()
	m.turn(at(early), log, blocking())
	m.turn(at(early+1), log, blocking())
	check(t, before, m.bans("203.0.113.9/32"))
	m.turn(at(year+back+3), log, blocking())
	m.turn(at(year+back+4), log, blocking())
	check(t, before, m.bans("203.0.113.9/32"))
}
