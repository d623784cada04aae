package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	bolt "go.etcd.io/bbolt"
)

// ErrHolds means that there is a state with something in it already.
var ErrHolds = errors.New("holds something already")

// Fill makes a state of the records that fill adds, and puts it in the place of
// the present one, which must be empty or, with replace, is kept beside it. Until
// all is complete nothing changes. The caller holds the lock.
func (s *Store) Fill(replace bool, fill func(add func(Record) error) error) (aside string, err error) {
	holds, err := s.holds()
	if err != nil {
		return "", err
	}
	if holds && !replace {
		return "", fmt.Errorf("state %s: %w", s.path, ErrHolds)
	}
	fresh := New(s.path + ".imported")
	defer os.Remove(fresh.path) // left over only after a failure
	if err := os.Remove(fresh.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := fresh.create(); err != nil {
		return "", err
	}
	if err := fresh.with(false, func(db *bolt.DB) error { return fillBatches(db, fill) }); err != nil {
		return "", err
	}
	if err := New(fresh.path).View(func(*Tx) error { return nil }); err != nil { // looks whether it is sound
		return "", err
	}
	// What is there is a copy of another state.
	if err := os.Remove(s.snapshot()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if holds {
		aside, err = s.giveWay(fresh, replaced)
	} else {
		err = publish(fresh.path, s.path)
	}
	if err != nil {
		return "", fmt.Errorf("putting the imported state in the place of %s: %w", s.path, err)
	}
	s.sound = false
	return aside, nil
}

// holds reports whether there is anything in the state but what every run
// remembers of the machine.
func (s *Store) holds() (found bool, err error) {
	err = s.View(func(tx *Tx) error {
		if tx.bolt == nil {
			return nil
		}
		return tx.bolt.ForEach(func(name []byte, b *bolt.Bucket) error {
			if k, _ := b.Cursor().First(); k != nil && !bytes.Equal(name, bucketMeta) && !bytes.Equal(name, bucketSettings) {
				found = true
			}
			return nil
		})
	})
	return found, err
}

// filler puts records into a file that nobody uses yet, in transactions that
// stay small.
type filler struct {
	db   *bolt.DB
	tx   *bolt.Tx // nil between two
	size int      // of what is in it
	sum  uint64   // what all that adds to the digest
}

// maxFill is how much goes into one transaction. What bbolt keeps of it in memory
// is many times that.
const maxFill = 1 << 20

func fillBatches(db *bolt.DB, fill func(add func(Record) error) error) error {
	db.NoSync = true // once, at the end, is enough
	f := filler{db: db}
	err := fill(f.add)
	if err == nil {
		err = f.finish()
	}
	if err == nil {
		err = db.Sync()
	}
	if f.tx != nil {
		err = errors.Join(err, f.tx.Rollback())
	}
	return err
}

func (f *filler) add(r Record) error {
	if err := f.begin(); err != nil {
		return err
	}
	b, err := f.tx.CreateBucketIfNotExists(r.bucket)
	if err != nil {
		return err
	}
	if k, _ := b.Cursor().Seek(r.key); bytes.Equal(k, r.key) {
		return fmt.Errorf("%s: this record was there before", r.Kind)
	}
	if bytes.Equal(r.bucket, bucketGaps) { // the next one comes after all
		if n := binary.BigEndian.Uint64(r.key); n > b.Sequence() {
			if err := b.SetSequence(n); err != nil {
				return err
			}
		}
	}
	if err := b.Put(r.key, r.value); err != nil {
		return err
	}
	f.sum += fingerprint(r.bucket, r.key, r.value)
	if f.size += len(r.key) + len(r.value); f.size < maxFill {
		return nil
	}
	return f.commit()
}

func (f *filler) begin() (err error) {
	if f.tx == nil {
		f.tx, err = f.db.Begin(true)
	}
	return err
}

func (f *filler) commit() error {
	tx := f.tx
	f.tx, f.size = nil, 0
	return tx.Commit()
}

// finish writes the digest, to which create knows only its own part.
func (f *filler) finish() error {
	if err := f.begin(); err != nil {
		return err
	}
	sum, _, err := storedDigest(f.tx)
	if err == nil {
		err = putDigest(f.tx, sum+f.sum)
	}
	if err != nil {
		return err
	}
	return f.commit()
}
