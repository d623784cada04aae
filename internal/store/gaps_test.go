package store

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGapsComeInTheOrderOfNoticing(t *testing.T) {
	s := newStore(t)
	want := []Gap{
		{From: at(5), To: at(6), Reason: "vacuumed", Noticed: at(9)},
		{Reason: "damaged", Noticed: at(8)}, // the clock was set back
		{To: at(1), Lost: 25004, Reason: "suppressed", Noticed: at(10)},
	}
	for _, g := range want {
		update(t, s, func(tx *Tx) error { return tx.AddGap(g) })
	}
	if diff := cmp.Diff(want, all(t, s, (*Tx).Gaps)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	update(t, s, func(tx *Tx) error { return tx.PruneGaps(at(9)) })
	if diff := cmp.Diff([]Gap{want[0], want[2]}, all(t, s, (*Tx).Gaps)); diff != "" {
		t.Errorf("after pruning (-want +got):\n%s", diff)
	}
}

func TestOnlyTheNewestGapsAreKept(t *testing.T) {
	s := newStore(t)
	var want []Gap
	for n := range maxGaps + 7 {
		want = append(want, Gap{Reason: fmt.Sprint("gap ", n), Noticed: at(0)})
	}
	for len(want) > maxGaps {
		update(t, s, func(tx *Tx) error { return tx.AddGap(want[0]) })
		want = want[1:]
	}
	update(t, s, func(tx *Tx) error {
		for _, g := range want {
			if err := tx.AddGap(g); err != nil {
				return err
			}
		}
		return nil
	})
	if diff := cmp.Diff(want, all(t, s, (*Tx).Gaps)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
