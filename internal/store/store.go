// Package store keeps smtpban's state: how far the journal was read, the tally
// of every client, the bans, and a short history of ended ones, all in one
// bbolt file.
//
// Writers exclude each other by a lock beside the file, held for a whole run.
// The file itself is opened for short spells only, so that those who just want
// to look never wait for a long scan.
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// ErrLocked means that another run held the lock, or the file, for too long.
var ErrLocked = errors.New("held by another run")

// ErrNewer means that a later version of smtpban wrote the file.
var ErrNewer = errors.New("written by a newer version of smtpban")

// busy is how long to wait for somebody who has the file open.
const busy = 10 * time.Second

// Store is a state file, which need not exist yet.
type Store struct {
	path string
}

// New returns the store in the file at path. It touches nothing.
func New(path string) *Store { return &Store{path} }

// Lock keeps other writers out until unlock is called. It waits as long as
// patience says and then fails with ErrLocked.
func (s *Store) Lock(patience time.Duration) (unlock func(), err error) {
	path := s.path + ".lock"
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		f, err := tryLock(path)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, ErrLocked) || time.Now().After(deadline) {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
	}
}

// tryLock locks the file at path, which it makes if it is not there. Somebody
// may remove the file meanwhile: the lock counts only if it is on the one that
// others will find.
func tryLock(path string) (*os.File, error) {
	f, err := createOwned(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrExist) {
		f, err = os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	}
	if err != nil {
		return nil, hint(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, err
	}
	locked, err := f.Stat()
	found, missing := os.Lstat(path)
	if err != nil || missing != nil || !os.SameFile(locked, found) {
		f.Close()
		return nil, ErrLocked
	}
	return f, nil
}

// Update runs fn in a transaction that is committed if fn returns nil and
// leaves no trace otherwise, nor if fn puts and deletes nothing. The caller holds the lock.
func (s *Store) Update(fn func(*Tx) error) error {
	if err := s.create(); err != nil {
		return err
	}
	db, err := s.open(false)
	if err != nil {
		return err
	}
	defer db.Close()
	err = db.Update(func(tx *bolt.Tx) error {
		migrated, err := migrate(tx, migrations)
		if err != nil {
			return err
		}
		t := &Tx{bolt: tx}
		if err := errors.Join(fn(t), t.putDue()); err != nil {
			return err
		}
		if !t.changed && !migrated {
			return errUnchanged
		}
		return nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return fmt.Errorf("writing state %s: %w", s.path, err)
	}
	return nil
}

// errUnchanged rolls back a transaction in which nothing was changed: bbolt
// would write and sync the file all the same.
var errUnchanged = errors.New("nothing was changed")

// View runs fn on the state as it was last committed. A file that does not
// exist reads as empty.
func (s *Store) View(fn func(*Tx) error) error {
	db, err := s.open(true)
	if errors.Is(err, fs.ErrNotExist) {
		return fn(&Tx{})
	}
	if err != nil {
		return err
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		if err := checkSchema(tx, newestSchema(migrations)); err != nil {
			return err
		}
		return fn(&Tx{bolt: tx})
	})
	if err != nil {
		return fmt.Errorf("reading state %s: %w", s.path, err)
	}
	return nil
}

// Empty returns a store of nothing in a temporary directory. The caller calls
// remove when done.
func Empty() (empty *Store, remove func(), err error) {
	dir, err := os.MkdirTemp("", "smtpban-")
	if err != nil {
		return nil, nil, fmt.Errorf("making a scratch state: %w", err)
	}
	return New(filepath.Join(dir, "smtpban.db")), func() { os.RemoveAll(dir) }, nil
}

// Scratch returns a copy in a temporary directory, to try something out that
// must not change the state. The caller calls remove when done.
func (s *Store) Scratch() (scratch *Store, remove func(), err error) {
	scratch, remove, err = Empty()
	if err != nil {
		return nil, nil, err
	}
	err = s.View(func(tx *Tx) error {
		if tx.bolt == nil {
			return nil
		}
		return tx.bolt.CopyFile(scratch.path, 0o600)
	})
	if err != nil {
		remove()
		return nil, nil, err
	}
	return scratch, remove, nil
}

func (s *Store) open(readOnly bool) (*bolt.DB, error) {
	// bbolt would create a missing file, and take an empty one for a new one.
	if info, err := os.Stat(s.path); err != nil {
		return nil, fmt.Errorf("opening state: %w", hint(err))
	} else if info.Size() == 0 {
		return nil, fmt.Errorf("opening state %s: the file is empty, so it was damaged (move it away: the next run makes the bans again that the journal still tells of, but not those made or lifted by hand)", s.path)
	}
	db, err := bolt.Open(s.path, 0o600, &bolt.Options{ReadOnly: readOnly, Timeout: busy})
	if errors.Is(err, bolterrors.ErrTimeout) {
		err = ErrLocked
	}
	if err != nil {
		return nil, fmt.Errorf("opening state %s: %w", s.path, hint(err))
	}
	return db, nil
}

// hint adds to an error of the file system or of bbolt what to do about it.
func hint(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w (run as root; the units run as smtpban, who must own it)", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w (installing smtpban makes the directory of its state)", err)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return fmt.Errorf("%w (move it away: the next run makes the bans again that the journal still tells of, but not those made or lifted by hand)", err)
	}
	return err
}

// create makes an empty store if there is none. It appears under its name only
// when it is complete, because bbolt can't recover a first write cut short.
func (s *Store) create() error {
	if _, err := os.Stat(s.path); !errors.Is(err, fs.ErrNotExist) {
		return nil // also if it can't be looked at: opening it tells better
	}
	partial := s.path + ".new"
	if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("creating state: %w", err)
	}
	db, err := bolt.Open(partial, 0o600, &bolt.Options{Timeout: busy, OpenFile: createOwned})
	if err != nil {
		return fmt.Errorf("creating state: %w", err)
	}
	err = db.Update(func(tx *bolt.Tx) error { return writeSchema(tx, newestSchema(migrations)) })
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("creating state %s: %w", s.path, err)
	}
	return s.publish(partial)
}

func (s *Store) publish(partial string) error {
	if err := os.Rename(partial, s.path); err != nil {
		return fmt.Errorf("creating state: %w", err)
	}
	dir, err := os.Open(filepath.Dir(s.path))
	if err != nil {
		return fmt.Errorf("creating state: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("creating state %s: %w", s.path, err)
	}
	return nil
}

// createOwned makes a file that must not exist yet. One that root makes it hands
// to the owner of the directory, so that the units, which run as smtpban, can
// use it too. An existing one root must not hand over: whoever owns the
// directory may have put a link to somebody else's file there.
func createOwned(path string, flag int, mode fs.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag|os.O_EXCL, mode)
	if err != nil || os.Geteuid() != 0 {
		return f, err
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err == nil {
		owner := dir.Sys().(*syscall.Stat_t)
		err = f.Chown(int(owner.Uid), int(owner.Gid))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("giving %s to the owner of its directory: %w", path, err)
	}
	return f, nil
}
