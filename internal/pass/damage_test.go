package pass_test

import (
	"iter"
	"testing"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/journal"
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
	lost := &journal.Gap{From: at(0), Reason: "vacuumed"}
	for i, run := range []struct {
		found holes
		told  []*journal.Gap
	}{
		{holes{damaged}, []*journal.Gap{damaged}},
		{holes{damaged}, nil},
		{holes{damaged, lost}, []*journal.Gap{lost}},
		{nil, nil},
		{holes{damaged}, []*journal.Gap{damaged}},
	} {
		got := m.readFrom(at(1), run.found)
		if diff := cmp.Diff(run.told, got.Gaps, compare); diff != "" {
			t.Errorf("run %d (-want +got):\n%s", i+1, diff)
		}
	}
}
