package pass_test

import (
	"testing"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// TestWhatIsToldOfIsBoundedAndTheRestCounted bans more than a run tells of one by
// one, and lets all of them run out in one run.
func TestWhatIsToldOfIsBoundedAndTheRestCounted(t *testing.T) {
	const told, more = 10_000, 1234
	m := newMachine(t)
	var log tape
	for i := range told + more {
		log = append(log, failures(nth(i).Addr().String(), 0, 0, 0, 0, 0)...)
	}
	read := m.read(at(1), log)
	check(t, []int{told, more}, []int{len(read.Bans), read.MoreBans})
	check(t, told+more, len(m.state().Bans))

	r := blocking()
	check(t, told+more, len(m.settle(at(1), ban.NeverBan{}, r).Added))
	check(t, store.Enforced{Since: at(1)}, m.enforced(nth(told+more-1).String()))

	settled := m.settle(at(24), ban.NeverBan{}, r)
	check(t, []int{told, more, told + more}, []int{len(settled.Expired), settled.More, settled.Deleted})
	left := m.state()
	check(t, []ban.Ban(nil), left.Bans)
	if n := len(left.Ended); n < told || n >= told+more {
		t.Errorf("%d bans are in the history, which does not keep all", n)
	}
	r.check(t)
}

func TestBansThatRunOutAreAllEndedHoweverTheyLieAmongOthers(t *testing.T) {
	m := newMachine(t)
	const many = 2500
	var left []string
	m.update(func(tx *store.Tx) error {
		for i := range many {
			b := nthBan(i)
			if i%7 == 3 {
				b.Until = at(48)
				left = append(left, b.Prefix.String())
			}
			if err := tx.PutBan(b); err != nil {
				return err
			}
		}
		return nil
	})
	check(t, many-len(left), len(m.settle(at(24), ban.NeverBan{}, nil).Expired))
	check(t, left, banned(m.state().Bans))
}
