package store

import (
	"iter"
	"testing"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/ban"
)

// all reads what a transaction yields.
func all[T any](t *testing.T, s *Store, list func(*Tx) iter.Seq2[T, error]) (found []T) {
	t.Helper()
	view(t, s, func(tx *Tx) error {
		for x, err := range list(tx) {
			if err != nil {
				return err
			}
			found = append(found, x)
		}
		return nil
	})
	return found
}

func TestHoursAddUpAndComeInOrder(t *testing.T) {
	s := newStore(t)
	for _, h := range []Hour{
		{at(2.5), map[ban.Class]Count{ban.SASLAuth: {3, 2}}},
		{at(0.1), map[ban.Class]Count{ban.DNSBL: {7, 0}}},
		{at(2.9), map[ban.Class]Count{ban.SASLAuth: {10, 10}, 200: {1, 0}}},
	} {
		update(t, s, func(tx *Tx) error { return tx.AddHour(h) })
	}
	want := []Hour{
		{at(0), map[ban.Class]Count{ban.DNSBL: {7, 0}}},
		{at(2), map[ban.Class]Count{ban.SASLAuth: {13, 12}, 200: {1, 0}}},
	}
	if diff := cmp.Diff(want, all(t, s, (*Tx).Hours)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	update(t, s, func(tx *Tx) error { return tx.PruneHours(at(1)) })
	if diff := cmp.Diff(want[1:], all(t, s, (*Tx).Hours)); diff != "" {
		t.Errorf("after pruning (-want +got):\n%s", diff)
	}
}
