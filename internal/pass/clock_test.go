package pass_test

import (
	"testing"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
	"smtpban/internal/store"
)

const year = 365 * 24 // hours

// turn is what a command does: it looks at the clock, reads and settles. It
// returns whether the clock came into doubt, and who was let out.
func (m *machine) turn(now time.Time, log tape, r *routes) (doubt bool, expired []string) {
	m.t.Helper()
	from, err := m.at(now).CheckClock()
	if err != nil {
		m.t.Fatal(err)
	}
	read := m.read(now, log)
	return !from.IsZero(), banned(append(read.Expired, m.settle(now, ban.NeverBan{}, r).Expired...))
}

// step is a run at an hour.
type step struct {
	Hour    float64
	Doubt   bool
	Expired []string
}

// prisoners are 203.0.113.9, banned up to hour 24, and 198.51.100.7, up to 72.
var prisoners = []string{"203.0.113.9/32", "198.51.100.7/32"}

// checkSteps lets a machine with the prisoners run through the steps. Each one reads
// a new entry of a client that does nothing wrong, so that there is always
// something to commit.
func checkSteps(t *testing.T, steps ...step) *machine {
	t.Helper()
	m := attacked(t, "203.0.113.9")
	m.ban(at(0), ban.Ban{Prefix: prefixes("198.51.100.7/32")[0], Start: at(0), Until: at(72), Count: 1, Origin: ban.OriginManual})
	log := failures("203.0.113.9", 0, 0, 0, 0, 0)
	r := blocking(prisoners...)
	free := 0
	for _, s := range steps {
		log = append(log, connect("192.0.2.80", at(s.Hour)))
		doubt, expired := m.turn(at(s.Hour), log, r)
		free += len(expired)
		check(t, s, step{s.Hour, doubt, expired})
		r.check(t, append([]string{}, prisoners[free:]...)...)
	}
	return m
}

func TestAMachineThatWasOffForAMonthLetsOutAtTheSecondLook(t *testing.T) {
	const back = 30 * 24
	checkSteps(t,
		step{Hour: back, Doubt: true},
		step{Hour: back + 0.5},
		step{Hour: back + 0.9},
		step{Hour: back + 1, Expired: []string{"203.0.113.9/32", "198.51.100.7/32"}},
		step{Hour: back + 24})
}

func TestAClockAt1970AtBootChangesNothing(t *testing.T) {
	boot := time.Unix(20, 0).Sub(epoch).Hours()
	m := checkSteps(t,
		step{Hour: 1},
		step{Hour: boot, Doubt: true},
		step{Hour: boot + 0.1},
		step{Hour: 2}, // set right: no doubt is left
		step{Hour: 23.9},
		step{Hour: 24, Expired: []string{"203.0.113.9/32"}})
	check(t, at(24), m.lastCommit())

	// Even if it stays there: it goes on from there.
	checkSteps(t,
		step{Hour: boot, Doubt: true},
		step{Hour: boot + 1},
		step{Hour: boot + 25},
		step{Hour: 2, Doubt: true},
		step{Hour: 3},
		step{Hour: 24, Expired: []string{"203.0.113.9/32"}})
}

func TestAClockAYearAheadLetsNobodyOut(t *testing.T) {
	m := checkSteps(t,
		step{Hour: 1},
		step{Hour: year, Doubt: true},
		step{Hour: year + 0.5},
		step{Hour: 2},
		step{Hour: year + 1, Doubt: true}, // the look of before does not count
		step{Hour: 3},
		step{Hour: 24, Expired: []string{"203.0.113.9/32"}})
	check(t, at(24), m.lastCommit())
}

func TestALookLongAfterTheFirstIsNotTheSecond(t *testing.T) {
	checkSteps(t,
		step{Hour: year, Doubt: true},
		step{Hour: 2 * year, Doubt: true},
		step{Hour: 2*year + 1, Expired: []string{"203.0.113.9/32", "198.51.100.7/32"}})
	checkSteps(t, // a weekly job
		step{Hour: 7 * 24, Doubt: true},
		step{Hour: 14*24 + 1, Expired: []string{"203.0.113.9/32", "198.51.100.7/32"}})
}

func TestAClockAnHourBackOrADayOnIsBelieved(t *testing.T) {
	checkSteps(t, step{Hour: 10}, step{Hour: 9}, step{Hour: 9.5}, step{Hour: 23.9}, step{Hour: 24, Expired: []string{"203.0.113.9/32"}})
	checkSteps(t, step{Hour: 24, Expired: []string{"203.0.113.9/32"}}, step{Hour: 48}, step{Hour: 72, Expired: []string{"198.51.100.7/32"}})
}

func TestAnEntryOfTheFutureLetsNobodyOut(t *testing.T) {
	m := attacked(t, "203.0.113.9")
	log := append(failures("203.0.113.9", 0, 0, 0, 0, 0), failure("192.0.2.80", at(year)))
	r := blocking("203.0.113.9/32")
	doubt, expired := m.turn(at(1), log, r)
	check(t, false, doubt)
	check(t, []string(nil), expired)
	r.check(t, "203.0.113.9/32")
	check(t, at(1), m.lastCommit())
	doubt, expired = m.turn(at(24), append(log, failures("192.0.2.80", 24)...), r)
	check(t, false, doubt)
	check(t, []string{"203.0.113.9/32"}, expired)
	for _, c := range m.state().Clients {
		if c.Prefix == prefixes("192.0.2.80/32")[0] {
			check(t, []time.Time{at(1), at(24)}, []time.Time{c.First, c.Last}) // it counted when it was read
		}
	}
}

// Where nobody writes to Postfix for days nothing is committed, but the clock
// has not jumped.
func TestAQuietWeekIsNoJump(t *testing.T) {
	m := attacked(t, "203.0.113.9")
	log := failures("203.0.113.9", 0, 0, 0, 0, 0)
	r := blocking("203.0.113.9/32")
	writes, before := 0, m.file()
	for hour := 0.5; hour < 7*24; hour += 0.5 {
		doubt, expired := m.turn(at(hour), log, r)
		check(t, false, doubt)
		check(t, hour == 24, len(expired) == 1)
		if now := m.file(); now != before {
			writes, before = writes+1, now
		}
	}
	if writes != 13 { // twice a day, the last time on the morning of the last one
		t.Errorf("the state was written %d times", writes)
	}
}

// Restoring decides by itself, and writes nothing.
func TestRestoringUnderAClockInDoubtRestoresEverybody(t *testing.T) {
	m := attacked(t, "203.0.113.9")
	before := m.file()
	for _, hour := range []float64{year, time.Unix(20, 0).Sub(epoch).Hours()} {
		r := blocking()
		if _, err := m.at(at(hour)).Settle(ban.NeverBan{}, r, true); err != nil {
			t.Fatal(err)
		}
		r.check(t, "203.0.113.9/32")
	}
	m.checkUntouched(before)
}

func TestUnderAClockInDoubtBansByHandStandAndFall(t *testing.T) {
	m := attacked(t, "203.0.113.9", "203.0.113.10")
	if _, err := m.at(at(year)).CheckClock(); err != nil {
		t.Fatal(err)
	}
	check(t, []string{"203.0.113.9/32"}, banned(m.unban(at(year), "203.0.113.9/32")))
	longer := m.ban(at(year), ban.Ban{Prefix: prefixes("203.0.113.10/32")[0], Start: at(year), Until: at(year + 1), Count: 1, Origin: ban.OriginManual})
	check(t, []time.Time{at(0), at(year + 1)}, []time.Time{longer.Start, longer.Until})
	check(t, at(0), m.lastCommit())
	check(t, []store.Ended{{Ban: firstBan("203.0.113.9/32", at(0)), At: at(year), How: store.Unbanned}}, m.state().Ended)
}

func TestUnderAClockInDoubtNoPositionIsForgotten(t *testing.T) {
	m := attacked(t, "203.0.113.9")
	old := journal.Positions{{1}: {Cursor: "c", Realtime: at(0)}}
	if err := m.at(at(1)).Move(old, nil); err != nil {
		t.Fatal(err)
	}
	before := m.file()
	if err := m.at(at(year)).Move(nil, nil); err != nil {
		t.Fatal(err)
	}
	m.checkUntouched(before)
	m.wake(at(year))
	if err := m.at(at(year)).Move(nil, nil); err != nil {
		t.Fatal(err)
	}
	check(t, journal.Positions{}, m.positions())
}

func TestAFreshStateBelievesAnyClock(t *testing.T) {
	m := newMachine(t)
	from, err := m.at(at(-year)).CheckClock()
	check(t, nil, err)
	check(t, time.Time{}, from)
	m.read(at(year), failures("203.0.113.9", 0, 0, 0, 0, 0))
	check(t, []store.Ended{{Ban: firstBan("203.0.113.9/32", at(0)), At: at(24), How: store.Expired}}, m.state().Ended)
}

// Adding a route is written down with its time, which must not pass for a commit
// under a clock that is right.
func TestARouteAddedUnderAWrongClockDoesNotVouchForIt(t *testing.T) {
	m := attacked(t, "203.0.113.9")
	r := blocking() // lost
	log := failures("203.0.113.9", 0, 0, 0, 0, 0)
	doubt, expired := m.turn(at(year), log, r)
	check(t, true, doubt)
	check(t, []string(nil), expired)
	doubt, expired = m.turn(at(year+0.1), log, r)
	check(t, false, doubt)
	check(t, []string(nil), expired)
	r.check(t, "203.0.113.9/32")
}

// What is logged under it is judged among itself, by its own time.
func TestFailuresUnderAClockAt1970AreOfThen(t *testing.T) {
	boot := time.Unix(20, 0).Sub(epoch).Hours()
	m := attacked(t, "203.0.113.9")
	log := append(failures("203.0.113.9", 0, 0, 0, 0, 0), failures("192.0.2.80", boot, boot, boot, boot, boot)...)
	log = append(log, failures("192.0.2.81", boot, boot, boot)...)
	r := blocking("203.0.113.9/32")
	m.turn(at(boot+0.1), log, r)
	r.check(t, "203.0.113.9/32", "192.0.2.80/32")
	log = append(log, failures("192.0.2.81", 1, 1)...)
	_, expired := m.turn(at(2), log, r)
	check(t, []string{"192.0.2.80/32"}, expired)
	r.check(t, "203.0.113.9/32")
}
