package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// size returns how large the file is.
func size(t *testing.T, s *Store) int64 {
	t.Helper()
	info, err := os.Stat(s.path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// saved compacts and returns by how much the file shrank.
func saved(t *testing.T, s *Store) int64 {
	t.Helper()
	before := size(t, s)
	if err := s.Compact(); err != nil {
		t.Fatal(err)
	}
	return before - size(t, s)
}

func dropClients(t *testing.T, s *Store, from, to int) {
	t.Helper()
	update(t, s, func(tx *Tx) error {
		for i := from; i < to; i++ {
			if err := tx.delete(bucketClients, clientKey(nth(i))); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestCompactShrinksAFileThatIsMostlyFree(t *testing.T) {
	s := newStore(t)
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
	dropClients(t, s, 0, n/4)
	if got := saved(t, s); got != 0 {
		t.Errorf("a quarter was free, and it shrank by %d", got)
	}
	dropClients(t, s, n/4, n-10)
	want, err := everything(s)
	if err != nil {
		t.Fatal(err)
	}
	if got := saved(t, s); got < 1<<20 || size(t, s) > 1<<18 {
		t.Errorf("it shrank by %d to %d", got, size(t, s))
	}
	got, err := everything(New(s.path))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if got := saved(t, s); got != 0 {
		t.Errorf("a small file shrank by %d", got)
	}
	if diff := cmp.Diff([]string{filepath.Base(s.path)}, files(t, s)); diff != "" {
		t.Error(diff)
	}
}
