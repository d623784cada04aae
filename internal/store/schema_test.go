package store

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"smtpban/internal/ban"
)

// golden was written by the first version.
const golden = "testdata/schema-1.db"

// goldenCopy returns a store with the bytes of the golden file.
func goldenCopy(t *testing.T) *Store {
	t.Helper()
	s := newStore(t)
	if err := os.WriteFile(s.path, readFile(t, golden), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchema1IsReadAsItWasWritten(t *testing.T) {
	s := goldenCopy(t)
	before := readFile(t, s.path)
	want := sample()
	want.Enforced = map[netip.Prefix]Enforced{} // of this and what follows the first version knew nothing
	want.Logins, want.Ignores, want.Outage, want.Bans[2].Held = nil, nil, ban.Outage{}, false
	want.Bans = want.Bans[:3] // nothing was imported
	if diff := cmp.Diff(want, load(t, s, sampleSettings...), exact); diff != "" {
		t.Error(diff)
	}
	if !bytes.Equal(before, readFile(t, s.path)) {
		t.Error("who only reads has changed it")
	}
	update(t, s, func(tx *Tx) error { return tx.PutLastCommit(at(5)) })
	want.Commit = at(5)
	if diff := cmp.Diff(want, load(t, s, sampleSettings...), exact); diff != "" {
		t.Error("after an update", diff)
	}
	view(t, s, func(tx *Tx) error {
		n, err := readSchema(tx.bolt, newestSchema(migrations))
		if n != newestSchema(migrations) {
			t.Errorf("after an update it has schema %d", n)
		}
		return err
	})
	if err := inFile(t, s, func(tx *bolt.Tx) error { _, err := readSchema(tx, 1); return err }); !errors.Is(err, ErrNewer) {
		t.Errorf("an earlier version reads it: %v", err)
	}
}

func TestADamagedFileOfSchema1IsReplacedByItsSnapshotOfSchema1(t *testing.T) {
	s := goldenCopy(t)
	want := load(t, s, sampleSettings...)
	writeFile(t, s.snapshot(), readFile(t, s.path))
	writeFile(t, s.path, nil)
	if _, err := s.Recover(nothing); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, load(t, s, sampleSettings...), exact); diff != "" {
		t.Error(diff)
	}
}

// inFile runs fn on the file of the store without any of the store's checks.
func inFile(t *testing.T, s *Store, fn func(*bolt.Tx) error) error {
	t.Helper()
	db, err := bolt.Open(s.path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	return db.Update(fn)
}

// withSchema returns a copy of the golden file that says it has another schema.
func withSchema(t *testing.T, n uint32) *Store {
	t.Helper()
	s := goldenCopy(t)
	if err := inFile(t, s, func(tx *bolt.Tx) error { return writeSchema(tx, n) }); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestANewerSchemaIsRefusedAndLeftAlone(t *testing.T) {
	s := withSchema(t, newestSchema(migrations)+1)
	before := readFile(t, s.path)
	untouched := func(*Tx) error { t.Error("the transaction ran"); return nil }
	_, _, scratch := s.Scratch()
	for verb, err := range map[string]error{"View": s.View(untouched), "Update": s.Update(untouched), "Scratch": scratch} {
		if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), s.path) {
			t.Errorf("%s: got %v, want ErrNewer and the path", verb, err)
		}
	}
	if !bytes.Equal(before, readFile(t, s.path)) {
		t.Error("the file changed")
	}
}

func TestADamagedSchemaNumberIsRefused(t *testing.T) {
	short := goldenCopy(t)
	err := inFile(t, short, func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keySchema, []byte{1}) })
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Store{"zero": withSchema(t, 0), "short": short} {
		nothing := func(*Tx) error { return nil }
		for verb, err := range map[string]error{"View": s.View(nothing), "Update": s.Update(nothing)} {
			if !errors.Is(err, errDamaged) {
				t.Errorf("%s, %s: got %v", name, verb, err)
			}
		}
	}
}

func TestMigrationGoesUpOneByOne(t *testing.T) {
	for _, tc := range []struct {
		from uint32
		want []int
	}{{1, []int{1, 2, 3}}, {2, []int{2, 3}}, {3, []int{3}}, {4, nil}} {
		s := withSchema(t, tc.from)
		var ran []int
		step := func(n int) func(*bolt.Tx) error {
			return func(*bolt.Tx) error { ran = append(ran, n); return nil }
		}
		steps := []func(*bolt.Tx) error{step(1), step(2), step(3)}
		for range 2 { // the second time there is nothing left to do
			if err := inFile(t, s, func(tx *bolt.Tx) error { _, err := migrate(tx, steps); return err }); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(tc.want, ran); diff != "" {
			t.Errorf("steps from schema %d: %s", tc.from, diff)
		}
		err := inFile(t, s, func(tx *bolt.Tx) error {
			if n, err := readSchema(tx, 4); err != nil || n != 4 {
				t.Errorf("from schema %d: now %d, %v", tc.from, n, err)
			}
			_, err := migrate(tx, nil)
			return err
		})
		if !errors.Is(err, ErrNewer) {
			t.Errorf("to an earlier version: got %v, want ErrNewer", err)
		}
	}
}

func TestAMigrationThatFailsLeavesTheOldSchema(t *testing.T) {
	s := withSchema(t, 1)
	before := readFile(t, s.path)
	failure := errors.New("no room")
	err := inFile(t, s, func(tx *bolt.Tx) error {
		_, err := migrate(tx, []func(*bolt.Tx) error{
			func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketClients) },
			func(*bolt.Tx) error { return failure },
		})
		return err
	})
	if !errors.Is(err, failure) || !strings.Contains(err.Error(), "migrating from schema 2") {
		t.Errorf("got %v", err)
	}
	if !bytes.Equal(before, readFile(t, s.path)) {
		t.Error("the file changed")
	}
}
