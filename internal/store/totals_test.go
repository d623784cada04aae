package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/ban"
)

func TestTotalsAddUpAndOutliveWhatIsPruned(t *testing.T) {
	s := newStore(t)
	for range 2 {
		update(t, s, func(tx *Tx) error {
			return tx.AddTotals(Totals{
				Classes: map[ban.Class]Count{ban.SASLAuth: {7, 5}, 250: {1, 0}},
				Bans:    map[string]int{ban.OriginJournal: 2}, Gaps: 1, Lost: 100,
			})
		})
	}
	update(t, s, func(tx *Tx) error { return tx.AddTotals(Totals{Bans: map[string]int{ban.OriginManual: 1}}) })
	update(t, s, func(tx *Tx) error { return tx.PruneHours(at(1000)) })
	want := Totals{
		Classes: map[ban.Class]Count{ban.SASLAuth: {14, 10}, 250: {2, 0}},
		Bans:    map[string]int{ban.OriginJournal: 4, ban.OriginManual: 1}, Gaps: 2, Lost: 200,
	}
	view(t, s, func(tx *Tx) error {
		got, err := tx.Totals()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		return err
	})
}

func TestNothingToAddToTheTotalsIsNoChange(t *testing.T) {
	s := newStore(t)
	update(t, s, func(tx *Tx) error { return tx.PutLastCommit(at(1)) })
	before := readFile(t, s.path)
	update(t, s, func(tx *Tx) error { return tx.AddTotals(Totals{}) })
	if diff := cmp.Diff(before, readFile(t, s.path)); diff != "" {
		t.Error("the file changed")
	}
}
