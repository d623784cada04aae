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
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// ErrLocked means that another run held the lock, or the file, for too long.
var ErrLocked = errors.New("held by another run")

// ErrNewer means that a later version of smtpban wrote the file.
var ErrNewer = errors.New("written by a newer version of smtpban")

// busy is how long to wait for somebody who has the file open.
const busy = 10 * time.Second

// Store is a state file, which need not exist yet. One goroutine at a time may use it:
// what runs beside it has a Store of its own, as another process has.
type Store struct {
	path    string
	sound   bool // it was looked at, and nothing is wrong with it
	damaged bool // something was found to be wrong with it
	salvage bool // the last commit but one will do

	trusting bool       // see Trust
	known    bool       // this version knows its schema
	seen     appearance // of the file when it was last looked at or changed

	link func(from, to string) error // gives a file a second name
}

// New returns the store in the file at path. It touches nothing.
func New(path string) *Store { return &Store{path: path, link: os.Link} }

// Lock keeps other writers out until unlock is called. It waits as long as
// patience says and then fails with ErrLocked.
func (s *Store) Lock(patience time.Duration) (unlock func(), err error) {
	path := s.lockPath()
	var f *os.File
	err = patiently(patience, func() (err error) {
		f, err = tryLock(path)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() {
		s.note(f)
		f.Close()
	}, nil
}

func (s *Store) lockPath() string { return s.path + ".lock" }

// patiently tries until the answer is another one than ErrLocked, or patience
// is at its end.
func patiently(patience time.Duration, try func() error) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := try()
		if !errors.Is(err, ErrLocked) || time.Now().After(deadline) {
			return err
		}
	}
}

// tryLock locks the file at path, which it makes if it is not there. Somebody
// may remove the file meanwhile: the lock counts only if it is on the one that
// others will find.
func tryLock(path string) (*os.File, error) {
	f, err := createOwned(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrExist) {
		f, err = openLock(path)
	}
	if err != nil {
		return nil, hint(err)
	}
	if err := flock(f, unix.LOCK_EX); err != nil {
		f.Close()
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

// openLock opens the file also where nothing may be written.
func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission) {
		return os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	}
	return f, err
}

// flock fails with ErrLocked where it would have to wait.
func flock(f *os.File, how int) error {
	err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return err
}

// Update runs fn in a transaction that is committed if fn returns nil and
// leaves no trace otherwise, nor if fn puts and deletes nothing. The caller holds the lock.
func (s *Store) Update(fn func(*Tx) error) error {
	if err := s.create(); err != nil {
		return err
	}
	return s.with(false, func(db *bolt.DB) error {
		err := db.Update(func(tx *bolt.Tx) error {
			migrated, err := migrate(tx, migrations)
			if err != nil {
				return err
			}
			s.known = true
			t := &Tx{bolt: tx}
			if err := errors.Join(fn(t), t.putDue()); err != nil {
				return err
			}
			if !t.changed && !migrated {
				return errUnchanged
			}
			// gofail: var beforeCommit string
			// return errors.New(beforeCommit)
			return t.putDigest(migrated)
		})
		if err != nil && !errors.Is(err, errUnchanged) {
			return fmt.Errorf("writing state %s: %w", s.path, err)
		}
		s.notice()
		// gofail: var afterCommit string
		// return errors.New(afterCommit)
		return nil
	})
}

// errUnchanged rolls back a transaction in which nothing was changed: bbolt
// would write and sync the file all the same.
var errUnchanged = errors.New("nothing was changed")

// View runs fn on the state as it was last committed. A file that does not
// exist reads as empty.
func (s *Store) View(fn func(*Tx) error) error {
	opened := false
	err := s.with(true, func(db *bolt.DB) error {
		opened = true
		err := db.View(func(tx *bolt.Tx) error {
			if _, err := readSchema(tx, newestSchema(migrations)); err != nil {
				return err
			}
			s.known = true
			return fn(&Tx{bolt: tx})
		})
		if err != nil {
			return fmt.Errorf("reading state %s: %w", s.path, err)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) && !opened {
		return fn(&Tx{})
	}
	return err
}

// Missing reports whether there is no file yet, or none any more.
func (s *Store) Missing() bool {
	_, err := os.Stat(s.path)
	return errors.Is(err, fs.ErrNotExist)
}

// Size returns how large the file is, in bytes, 0 if there is none.
func (s *Store) Size() (int64, error) {
	info, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
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
	if !s.Missing() {
		err = s.copyTo(scratch.path)
	}
	if err != nil {
		remove()
		return nil, nil, err
	}
	return scratch, remove, nil
}

// copyTo writes what was last committed to a new file in place of what a run
// that was killed may have left there.
func (s *Store) copyTo(path string) error {
	os.Remove(path) // if it can't be removed it can't be made
	f, err := createOwned(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("copying state: %w", err)
	}
	defer f.Close()
	return s.View(func(tx *Tx) error {
		w := &writer{to: f}
		_, err := tx.bolt.WriteTo(w)
		if w.err != nil {
			err = w.err
		}
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			return fmt.Errorf("copying it to %s: %w", path, err)
		}
		return nil
	})
}

// writer keeps its error, of which bbolt passes on the text alone.
type writer struct {
	to  io.Writer
	err error
}

func (w *writer) Write(b []byte) (n int, err error) {
	n, w.err = w.to.Write(b)
	return n, w.err
}

// hint adds to an error of the file system or of bbolt what to do about it.
func hint(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w (run as root; the units run as smtpban, who must own it)", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w (installing smtpban makes the directory of its state)", err)
	}
	return err
}

// create makes an empty store if there is none. It appears under its name only
// when it is complete, because bbolt can't recover a first write cut short.
func (s *Store) create() error {
	if !s.Missing() {
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
	err = db.Update(func(tx *bolt.Tx) error {
		err := writeSchema(tx, newestSchema(migrations))
		if err != nil {
			return err
		}
		return putDigest(tx, digest(tx))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("creating state %s: %w", s.path, err)
	}
	if err := publish(partial, s.path); err != nil {
		return fmt.Errorf("creating state %s: %w", s.path, err)
	}
	return nil
}

// publish gives a complete file its name, in place of an earlier one, for good.
func publish(partial, path string) error {
	if err := os.Rename(partial, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
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
