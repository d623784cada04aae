package store

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func nothing(*Tx) error { return nil }

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// snapshotted returns a store with a snapshot of the sample, made at hour 10,
// and a later commit in the file alone.
func snapshotted(t *testing.T) *Store {
	t.Helper()
	s := newStore(t)
	update(t, s, sample().put)
	if err := s.Snapshot(at(10), 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error { return tx.PutLastCommit(at(20)) })
	return s
}

func TestASnapshotIsMadeOnceADay(t *testing.T) {
	const day = 24 * time.Hour
	s := newStore(t)
	if err := s.Snapshot(at(0), day); err != nil || files(t, s) != nil {
		t.Errorf("without a state: %v, %v", err, files(t, s))
	}
	for _, tc := range []struct {
		now, commit float64
		wantAt      float64
		want        float64
	}{
		{0, 1, 0, 1}, {23.9, 2, 0, 1}, {24, 3, 24, 3}, {25, 4, 24, 3},
		{-1, 5, -1, 5}, // the clock was wrong
	} {
		update(t, s, func(tx *Tx) error { return tx.PutLastCommit(at(tc.commit)) })
		if err := s.Snapshot(at(tc.now), day); err != nil {
			t.Fatal(err)
		}
		made, ok := s.SnapshotTime()
		if !ok || !made.Equal(at(tc.wantAt)) {
			t.Errorf("at hour %v the snapshot is of %v", tc.now, made)
		}
		want := empty
		want.Commit = at(tc.want)
		if diff := cmp.Diff(want, load(t, New(s.snapshot())), exact); diff != "" {
			t.Errorf("at hour %v: %s", tc.now, diff)
		}
	}
	if diff := cmp.Diff([]string{"smtpban.db", "smtpban.db.snapshot"}, files(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestASnapshotOfADamagedFileIsNotMade(t *testing.T) {
	s := snapshotted(t)
	before := readFile(t, s.snapshot())
	writeFile(t, s.path, readFile(t, s.path)[:9000])
	if err := s.Snapshot(at(100), time.Hour); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
	if !bytes.Equal(before, readFile(t, s.snapshot())) {
		t.Error("the snapshot changed")
	}
}
