package store

import (
	"errors"
	"os"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// locked runs fn as a run would that holds the lock.
func locked(t *testing.T, path string, trust bool, fn func(*Store) error) error {
	t.Helper()
	s := New(path)
	if trust {
		s.Trust()
	}
	unlock, err := s.Lock(0)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	return fn(s)
}

func look(s *Store) error { return s.View(nothing) }

// decay damages a file as a disk does: no time of it changes.
func decay(t *testing.T, s *Store) {
	t.Helper()
	before, err := appearanceOf(s.path)
	if err != nil {
		t.Fatal(err)
	}
	loseBan(t, s)
	now, err := appearanceOf(s.path)
	if err != nil {
		t.Fatal(err)
	}
	noted, err := os.ReadFile(s.lockPath())
	if err != nil {
		t.Fatal(err)
	}
	if string(noted) != before.String() {
		t.Fatalf("noted is %q, want %q", noted, before)
	}
	if err := os.WriteFile(s.lockPath(), []byte(now.String()), 0o600); err != nil { // as if they had not
		t.Fatal(err)
	}
}

// loseBan takes a pair away without telling the digest.
func loseBan(t *testing.T, s *Store) {
	t.Helper()
	db, err := bolt.Open(s.path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketBans).Delete(prefixKey(nth(1))) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// someBans makes a state that a run has left sound.
func someBans(t *testing.T) *Store {
	t.Helper()
	s := newStore(t)
	err := locked(t, s.path, false, func(s *Store) error {
		return s.Update(func(tx *Tx) error { return errors.Join(tx.PutBan(nthBan(1)), tx.PutBan(nthBan(2))) })
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAFileThatLooksAsItWasLeftIsSoundForWhoTrustsThat(t *testing.T) {
	s := someBans(t)
	decay(t, s)
	if err := locked(t, s.path, true, look); err != nil {
		t.Errorf("who trusts it looked at all of it: %v", err)
	}
	if err := locked(t, s.path, false, look); !errors.Is(err, ErrDamaged) {
		t.Errorf("who does not trust it: %v", err)
	}
	err := locked(t, s.path, true, func(s *Store) error { return s.Snapshot(time.Now(), 0) })
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("a snapshot of it: %v", err)
	}
}

// What one run has found, the next must not take for sound, although nobody has
// written to the file.
func TestNobodyTrustsAFileThatWasFoundDamaged(t *testing.T) {
	s := someBans(t)
	decay(t, s)
	for _, trust := range []bool{false, true} {
		if err := locked(t, s.path, trust, look); !errors.Is(err, ErrDamaged) {
			t.Errorf("with trust %v: %v", trust, err)
		}
	}
}

func TestWhoeverWritesIsNoticed(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *Store){
		"a pair lost": loseBan,
		"a byte": func(t *testing.T, s *Store) {
			f, err := os.OpenFile(s.path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			garbage := make([]byte, info.Size()/2)
			_, err = f.WriteAt(garbage, info.Size()/4)
			if err := errors.Join(err, f.Close(), os.Chtimes(s.path, info.ModTime(), info.ModTime())); err != nil {
				t.Fatal(err)
			}
		},
		"another file": func(t *testing.T, s *Store) {
			text, err := os.ReadFile(s.path)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Remove(s.path), os.WriteFile(s.path, text, 0o600)); err != nil {
				t.Fatal(err)
			}
			loseBan(t, s)
		},
	} {
		s := someBans(t)
		if err := locked(t, s.path, true, look); err != nil {
			t.Fatal(err)
		}
		change(t, s)
		if err := locked(t, s.path, true, look); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A run in which nothing was looked at, or after which somebody else has written,
// says nothing of the file.
func TestOnlyASoundFileIsNoted(t *testing.T) {
	s := someBans(t)
	loseBan(t, s)
	if err := locked(t, s.path, false, func(*Store) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := locked(t, s.path, true, look); !errors.Is(err, ErrDamaged) {
		t.Errorf("after a run that did not look: %v", err)
	}
	if err := locked(t, s.path, true, look); !errors.Is(err, ErrDamaged) {
		t.Errorf("after a run that found damage: %v", err)
	}
	s = someBans(t)
	err := locked(t, s.path, false, func(s *Store) error {
		err := look(s)
		loseBan(t, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := locked(t, s.path, true, look); !errors.Is(err, ErrDamaged) {
		t.Errorf("after a run during which somebody wrote: %v", err)
	}
}

func TestAFileOfANewerVersionIsLeftAsItIs(t *testing.T) {
	s := someBans(t)
	db, err := bolt.Open(s.path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error { return errors.Join(writeSchema(tx, 99), putDigest(tx, digest(tx))) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	noted := appearance{}.String()
	if err := os.WriteFile(s.lockPath(), []byte(noted), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := locked(t, s.path, false, look); !errors.Is(err, ErrNewer) {
		t.Fatalf("error %v, want ErrNewer", err)
	}
	if text, err := os.ReadFile(s.lockPath()); string(text) != noted {
		t.Errorf("the lock file was written: %q (%v)", text, err)
	}
}

func TestNothingIsWrittenWhereItIsNotedAlready(t *testing.T) {
	s := someBans(t)
	before, err := appearanceOf(s.lockPath())
	if err != nil {
		t.Fatal(err)
	}
	if err := locked(t, s.path, true, look); err != nil {
		t.Fatal(err)
	}
	after, err := appearanceOf(s.lockPath())
	if err != nil || after != before {
		t.Errorf("the lock file was written: %v, before %v (%v)", after, before, err)
	}
}

// Whoever owns the directory may have given somebody else's file this name.
func TestAFileOfAnotherNameIsNoneToWriteTo(t *testing.T) {
	s := newStore(t)
	victim := s.path + ".victim"
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(victim, s.lockPath()); err != nil {
		t.Fatal(err)
	}
	err := locked(t, s.path, false, func(s *Store) error { return s.Update(func(tx *Tx) error { return tx.PutBan(nthBan(1)) }) })
	if text, errRead := os.ReadFile(victim); string(text) != "precious" {
		t.Errorf("it holds %q now (%v, %v)", text, err, errRead)
	}
}
