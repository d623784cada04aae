package store

import (
	"errors"
	"fmt"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Snapshot makes sure of the file, its every value included, and puts a copy
// beside it, unless there is one that was made within age of now.
func (s *Store) Snapshot(now time.Time, age time.Duration) error {
	if s.Missing() {
		return nil
	}
	s.sound, s.trusting = false, false
	if err := s.readAll(); err != nil {
		return err
	}
	if last, ok := s.SnapshotTime(); ok && now.Sub(last).Abs() < age {
		return nil
	}
	partial := s.snapshot() + ".new"
	defer os.Remove(partial) // left over only after a failure
	if err := s.copyTo(partial); err != nil {
		return err
	}
	if err := errors.Join(os.Chtimes(partial, now, now), publish(partial, s.snapshot())); err != nil {
		return fmt.Errorf("writing snapshot %s: %w", s.snapshot(), err)
	}
	return nil
}

// readAll makes sure that everything in the file can be read.
func (s *Store) readAll() error {
	return s.with(true, func(db *bolt.DB) error {
		if err := db.View(decodeEach); err != nil {
			return fmt.Errorf("checking state %s: %w", s.path, err)
		}
		return nil
	})
}

// SnapshotTime returns when the snapshot was made, if there is one.
func (s *Store) SnapshotTime() (time.Time, bool) {
	info, err := os.Stat(s.snapshot())
	if err != nil {
		return time.Time{}, false
	}
	return info.ModTime().UTC(), true
}

// FromSnapshot returns the snapshot as a store of its own, to be looked at.
func (s *Store) FromSnapshot() *Store { return New(s.snapshot()) }

func (s *Store) snapshot() string { return s.path + ".snapshot" }
