package store

import (
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"
)

// Compact makes the file small again where more than half of one larger than 1
// MiB is free: bbolt never does. The caller holds the lock.
func (s *Store) Compact() error {
	if s.Missing() {
		return nil
	}
	partial := s.path + ".new"
	compacted := false
	err := s.with(false, func(db *bolt.DB) (err error) {
		if compacted, err = compact(db, partial); err != nil {
			os.Remove(partial)
			return fmt.Errorf("compacting state %s: %w", s.path, err)
		}
		return nil
	})
	if err != nil || !compacted {
		return err
	}
	if err := publish(partial, s.path); err != nil {
		return fmt.Errorf("compacting state %s: %w", s.path, err)
	}
	return nil
}

func compact(db *bolt.DB, path string) (done bool, err error) {
	const least, batch = 1 << 20, 1 << 20
	page := int64(db.Info().PageSize)
	var size int64
	err = db.View(func(tx *bolt.Tx) error {
		size = tx.Size()
		return nil
	})
	if err != nil || size <= least || int64(db.Stats().FreePageN)*page*2 <= size {
		return false, err
	}
	os.Remove(path)
	to, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: busy, OpenFile: createOwned})
	if err != nil {
		return false, err
	}
	err = errors.Join(bolt.Compact(to, db, batch), to.Close())
	if err != nil {
		return false, err
	}
	return true, New(path).View(func(*Tx) error { return nil }) // looks whether it is sound
}
