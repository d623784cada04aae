package store

import (
	"bytes"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestScratchChangesNeverReachTheStore(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := newStore(t)
	update(t, s, sample().put)
	before := readFile(t, s.path)
	scratch, remove, err := s.Scratch()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), load(t, scratch, sampleSettings...), exact); diff != "" {
		t.Error("the copy differs", diff)
	}
	useScratch(t, scratch)
	remove()
	if !bytes.Equal(before, readFile(t, s.path)) {
		t.Error("the store changed")
	}
	assertEmptyDirectory(t, os.TempDir())
}

func TestScratchOfAMissingStoreIsEmpty(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := newStore(t)
	scratch, remove, err := s.Scratch()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(empty, load(t, scratch), exact); diff != "" {
		t.Error(diff)
	}
	useScratch(t, scratch)
	remove()
	if got := files(t, s); got != nil {
		t.Errorf("Scratch left %v beside the store", got)
	}
	assertEmptyDirectory(t, os.TempDir())
}

func TestAScratchThatFailsLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := newStore(t)
	if err := os.WriteFile(s.path, []byte("no store"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Scratch(); err == nil {
		t.Error("no error")
	}
	assertEmptyDirectory(t, os.TempDir())
}

// useScratch does with the copy what a run does with a store.
func useScratch(t *testing.T, scratch *Store) {
	t.Helper()
	unlock, err := scratch.Lock(0)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	update(t, scratch, func(tx *Tx) error { return tx.PutLastCommit(at(1000)) })
	view(t, scratch, func(tx *Tx) error {
		if commit, err := tx.LastCommit(); err != nil || !commit.Equal(at(1000)) {
			t.Errorf("last commit %v, %v", commit, err)
		}
		return nil
	})
}

func assertEmptyDirectory(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) > 0 {
		t.Errorf("left in the temporary directory: %v", entries)
	}
}
