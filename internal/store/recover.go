package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Source is what took the place of a damaged or lost file.
type Source int

// The sources, in the order in which they are tried.
const (
	FromCommit   Source = iota // the file itself, as one of its last two commits left it
	FromSnapshot               // what Snapshot wrote
	FromNothing                // an empty state
)

// Recovery is what Recover did.
type Recovery struct {
	Source   Source
	Snapshot time.Time // when it was made, if it was used
	Aside    string    // where the damaged file is now; "" if there was none
}

// What is kept beside the file, by the end of its name before the number.
const (
	damaged  = ".damaged-"
	replaced = ".replaced-" // by an import
)

// kept is how many of each are.
const kept = 3

// Recover puts the best state there is in the place of a damaged or lost file,
// together with what adopt adds to it. Until it is complete the damaged file
// stays where it is, so that a run cut short changes nothing. The caller holds
// the lock.
func (s *Store) Recover(adopt func(*Tx) error) (Recovery, error) {
	fresh := New(s.path + ".recovered")
	defer os.Remove(fresh.path) // left over only after a failure
	r, err := s.bestTo(fresh)
	if err == nil {
		err = fresh.Update(adopt)
	}
	if err == nil {
		r.Aside, err = s.giveWay(fresh, damaged)
	}
	if err != nil {
		return Recovery{}, fmt.Errorf("replacing the damaged state %s: %w", s.path, err)
	}
	s.sound = false
	return r, nil
}

// bestTo copies the best state there is to fresh. What is damaged or missing is
// no choice; another failure, such as a full disk, does not make it one.
func (s *Store) bestTo(fresh *Store) (Recovery, error) {
	tried := []Recovery{{Source: FromCommit}}
	if at, ok := s.SnapshotTime(); ok {
		tried = append(tried, Recovery{Source: FromSnapshot, Snapshot: at})
	}
	for _, r := range tried {
		from := &Store{path: s.path, salvage: true}
		if r.Source == FromSnapshot {
			from.path = s.snapshot()
		}
		if from.Missing() {
			continue
		}
		err := from.copyTo(fresh.path)
		if err == nil {
			err = New(fresh.path).readAll()
		}
		if !errors.Is(err, ErrDamaged) {
			return r, err
		}
	}
	if err := os.Remove(fresh.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Recovery{}, err
	}
	return Recovery{Source: FromNothing}, fresh.create()
}

// giveWay puts another file in the place of this one, which gets a name of the
// kind. It forgets the oldest of them.
func (s *Store) giveWay(to *Store, kind string) (aside string, err error) {
	if s.Missing() {
		return "", publish(to.path, s.path)
	}
	numbers, err := s.aside(kind)
	if err != nil {
		return "", err
	}
	next := 1
	if len(numbers) > 0 {
		next = numbers[len(numbers)-1] + 1
	}
	for _, n := range numbers[:max(len(numbers)+1-kept, 0)] {
		if err := os.Remove(s.asidePath(kind, n)); err != nil {
			return "", err
		}
	}
	aside = s.asidePath(kind, next)
	err = s.link(s.path, aside)
	switch {
	case err == nil:
		err = publish(to.path, s.path)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EMLINK):
		err = s.swap(to, aside)
	}
	if err != nil {
		return "", err
	}
	return aside, nil
}

// swap is for file systems that have no second names. A run that is cut short in
// it leaves no file under the state's name; see PutBack.
func (s *Store) swap(to *Store, aside string) error {
	if err := os.Rename(s.path, s.limbo()); err != nil {
		return err
	}
	if err := publish(to.path, s.path); err != nil {
		return errors.Join(err, s.PutBack())
	}
	return os.Rename(s.limbo(), aside)
}

// PutBack undoes what a run left that was cut short while another file took the
// place of the state. The caller holds the lock.
func (s *Store) PutBack() error {
	if !s.Interrupted() {
		return nil
	}
	if err := publish(s.limbo(), s.path); err != nil {
		return fmt.Errorf("putting the state %s back: %w", s.path, err)
	}
	return nil
}

// Interrupted reports whether the state is not there because a run was cut short
// while another file took its place.
func (s *Store) Interrupted() bool {
	_, err := os.Lstat(s.limbo())
	return err == nil && s.Missing()
}

func (s *Store) limbo() string { return s.path + ".aside" }

func (s *Store) asidePath(kind string, n int) string { return s.path + kind + strconv.Itoa(n) }

// aside returns the numbers of the files of a kind that are kept, in order.
func (s *Store) aside(kind string) (numbers []int, err error) {
	entries, err := os.ReadDir(filepath.Dir(s.path))
	for _, e := range entries {
		suffix, ok := strings.CutPrefix(e.Name(), filepath.Base(s.path)+kind)
		if n, err := strconv.Atoi(suffix); ok && err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, err
}
