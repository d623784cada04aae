package pass_test

import (
	"testing"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
	"smtpban/internal/store"
)

func TestTotalsCountEachEventBanAndGapOnce(t *testing.T) {
	m := newMachine(t)
	log := append(failures("203.0.113.9", 1, 1.1, 1.2, 1.3, 1.4), failures("198.51.100.7", 1.5)...)
	log = append(log, success("192.0.2.1", at(1.6)))
	in := m.open(log)
	in.before = map[int]error{0: &journal.Gap{From: at(0), To: at(1), Reason: "vacuumed"}, 3: &journal.Gap{To: at(1), Lost: 25004, Reason: "suppressed"}}
	m.readFrom(at(2), in)
	m.read(at(2), log)
	manual := ban.Ban{Prefix: prefixes("198.51.100.0/24")[0], Start: at(2), Until: at(3), Count: 1, Origin: ban.OriginManual}
	m.ban(at(2), manual)
	m.ban(at(2.5), manual) // still in force
	m.unban(at(3), "203.0.113.9/32", "198.51.100.0/24")
	m.ban(at(4), ban.Ban{Prefix: manual.Prefix, Start: at(4), Until: at(5), Count: 1, Origin: ban.OriginManual})
	check(t, store.Totals{
		Classes: map[ban.Class]store.Count{ban.SASLAuth: {Events: 6, Counted: 6}, ban.Login: {Events: 1}},
		Bans:    map[string]int{ban.OriginJournal: 1, ban.OriginManual: 2}, Gaps: 2, Lost: 25004,
	}, m.rest().Totals)
}

func TestABanThatIsOverWhenItsLogIsReadIsInTheTotals(t *testing.T) {
	m := newMachine(t)
	m.read(at(100), failures("203.0.113.9", 1, 1.1, 1.2, 1.3, 1.4))
	check(t, store.Totals{
		Classes: map[ban.Class]store.Count{ban.SASLAuth: {Events: 5, Counted: 5}},
		Bans:    map[string]int{ban.OriginJournal: 1},
	}, m.rest().Totals)
}
