package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCompactShrinksAFileThatIsMostlyFree(t *testing.T) {
	s := newStore(t)
	size := func() int64 {
		info, err := os.Stat(s.path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	compact := func() int64 {
		t.Helper()
		before := size()
		if err := s.Compact(); err != nil {
			t.Fatal(err)
		}
		return before - size()
	}
	drop := func(from, to int) {
		update(t, s, func(tx *Tx) error {
			for i := from; i < to; i++ {
				if err := tx.delete(bucketClients, clientKey(nth(i))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := s.Compact(); err != nil || files(t, s) != nil {
		t.Errorf("without a state: %v, %v", err, files(t, s))
	}
	const n = 20_000
	update(t, s, func(tx *Tx) error {
		for i := range n {
			if err := tx.put(bucketClients, clientKey(nth(i)), encodeClient(nthClient(i))); err != nil {
				return err
			}
		}
		return sample().put(tx)
	})
	drop(0, n/4)
	if saved := compact(); saved != 0 {
		t.Errorf("a quarter was free, and it shrank by %d", saved)
	}
	drop(n/4, n-10)
	want, err := everything(s)
	if err != nil {
		t.Fatal(err)
	}
	if saved := compact(); saved < 1<<20 || size() > 1<<18 {
		t.Errorf("it shrank by %d to %d", saved, size())
	}
	got, err := everything(New(s.path))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if saved := compact(); saved != 0 {
		t.Errorf("a small file shrank by %d", saved)
	}
	if diff := cmp.Diff([]string{filepath.Base(s.path)}, files(t, s)); diff != "" {
		t.Error(diff)
	}
}
