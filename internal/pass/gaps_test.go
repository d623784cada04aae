package pass_test

import (
	"iter"
	"testing"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/journal"
	"smtpban/internal/store"
)

// holes is an input with nothing but gaps.
type holes []*journal.Gap

func (h holes) Entries() iter.Seq2[journal.Entry, error] {
	return func(yield func(journal.Entry, error) bool) {
		for _, gap := range h {
			if !yield(journal.Entry{}, gap) {
				return
			}
		}
	}
}

func (h holes) Positions() (journal.Positions, error) { return journal.Positions{}, nil }
func (h holes) Close() error                          { return nil }

func TestDamagedFileIsToldOnceUntilItChanges(t *testing.T) {
	m := newMachine(t)
	damaged := &journal.Gap{Reason: "system@1.journal is damaged"}
	another := &journal.Gap{Reason: "system@2.journal is damaged"}
	lost := &journal.Gap{From: at(0), Reason: "vacuumed"}
	for i, run := range []struct {
		found holes
		told  []*journal.Gap
	}{
		{holes{damaged}, []*journal.Gap{damaged}},
		{holes{damaged}, nil},
		{holes{damaged, lost}, []*journal.Gap{lost}},
		{holes{another, damaged}, []*journal.Gap{another}},
		{holes{damaged, another}, nil},
		{holes{another}, nil},
		{nil, nil},
		{holes{damaged}, []*journal.Gap{damaged}},
	} {
		got := m.readFrom(at(1), run.found)
		if diff := cmp.Diff(run.told, got.Gaps, compare); diff != "" {
			t.Errorf("run %d (-want +got):\n%s", i+1, diff)
		}
	}
}

func TestAGapIsStoredTogetherWithThePosition(t *testing.T) {
	m := newMachine(t)
	vacuumed := &journal.Gap{From: at(0), To: at(1), Reason: "vacuumed"}
	damaged := &journal.Gap{Reason: "system@1.journal is damaged"}
	suppressed := &journal.Gap{To: at(2), Lost: 25004, Reason: "suppressed"}
	in := m.open(failures("203.0.113.9", 1, 2))
	in.before = map[int]error{0: vacuumed, 1: suppressed}
	check(t, []*journal.Gap{vacuumed, suppressed}, m.readFrom(at(3), in).Gaps)
	m.readFrom(at(4), holes{damaged})
	m.readFrom(at(5), holes{damaged})
	check(t, []store.Gap{
		{From: at(0), To: at(1), Reason: "vacuumed", Noticed: at(3)},
		{To: at(2), Lost: 25004, Reason: "suppressed", Noticed: at(3)},
		{Reason: "system@1.journal is damaged", Noticed: at(4)},
	}, m.rest().Gaps)

	// A run that cannot commit leaves neither behind, and tells of neither.
	before := m.rest()
	in = m.open(failures("203.0.113.9", 1, 2, 3))
	in.before = map[int]error{2: vacuumed}
	in.positionErrors = map[int]error{1: errBroken}
	read, err := m.at(at(6)).Read(in)
	check(t, errBroken, err)
	check(t, []*journal.Gap(nil), read.Gaps)
	check(t, before, m.rest())
}

func TestAGapWithoutAnEntryIsStored(t *testing.T) {
	m := newMachine(t)
	lost := &journal.Gap{From: at(0), Reason: "no boot that was read before is in the journal any more"}
	check(t, []*journal.Gap{lost}, m.readFrom(at(3), holes{lost}).Gaps)
	check(t, []store.Gap{{From: at(0), Reason: lost.Reason, Noticed: at(3)}}, m.rest().Gaps)
}
