package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// ErrDamaged means that the file does not hold what was last committed to it.
var ErrDamaged = errors.New("damaged")

// damage is an ErrDamaged that says what is wrong.
type damage struct{ error }

func damagef(format string, args ...any) error { return damage{fmt.Errorf(format, args...)} }

func (damage) Is(target error) bool { return target == ErrDamaged }
func (d damage) Unwrap() error      { return d.error }

// with opens the file and runs fn on it. The first time it makes sure that the
// file is sound, before bbolt trusts it, unless it looks just as it was left.
//
// This is the one place where the mapped file is touched. A disk that fails, or
// somebody who cuts the file off, makes bbolt panic or the kernel send SIGBUS;
// both end here as an error. After a panic bbolt may hold its own locks for
// ever, so that only the file can be closed.
func (s *Store) with(readOnly bool, fn func(*bolt.DB) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { s.damaged = s.damaged || errors.Is(err, ErrDamaged) }()
	if !s.sound {
		s.notice()
		s.sound = s.looksSound()
	}
	if !s.sound {
		if err := s.checkPages(); err != nil {
			return fmt.Errorf("opening state %s: %w", s.path, hint(err))
		}
	}
	var file *os.File
	defer func() {
		if r := recover(); r != nil {
			_ = flock(file, unix.LOCK_UN) // the mapping would keep the lock
			file.Close()
			if s.checkPages() == nil {
				panic(r) // not the file's fault
			}
			err = fmt.Errorf("reading state %s: %w", s.path, damagef("%v", r))
		}
	}()
	db, err := bolt.Open(s.path, 0o600, &bolt.Options{ReadOnly: readOnly, Timeout: busy,
		OpenFile: func(string, int, fs.FileMode) (_ *os.File, err error) {
			file, err = s.openFile(readOnly)
			return file, err
		}})
	if errors.Is(err, bolterrors.ErrTimeout) {
		err = ErrLocked
	}
	if err != nil {
		return fmt.Errorf("opening state %s: %w", s.path, hint(err))
	}
	if !s.sound {
		if err := db.View(checkContent); err != nil {
			return errors.Join(fmt.Errorf("opening state %s: %w", s.path, err), db.Close())
		}
		s.sound, s.damaged = true, false
	}
	return errors.Join(fn(db), db.Close())
}

// openFile opens the file for bbolt, which would create a missing one, and take
// an empty one for a new one.
func (s *Store) openFile(readOnly bool) (*os.File, error) {
	flag := os.O_RDWR
	if readOnly {
		flag = os.O_RDONLY
	}
	f, err := os.OpenFile(s.path, flag, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() == 0 {
		err = errEmpty
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

var errEmpty = damagef("the file is empty")

// checkPages makes sure that bbolt can follow what the pages of the file say.
func (s *Store) checkPages() (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damagef("%v", r)
		}
	}()
	f, err := s.openFile(true)
	if err != nil {
		return err
	}
	defer f.Close()
	// As bbolt does it, so that no commit changes pages meanwhile.
	err = patiently(busy, func() error { return flock(f, unix.LOCK_SH) })
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mapping it: %w", err)
	}
	defer unix.Munmap(data)
	whole, err := checkPages(data)
	if err == nil && !whole && !s.salvage {
		err = damagef("one of its two meta pages is broken, perhaps that of the last commit")
	}
	return err
}
