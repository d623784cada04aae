//go:build cgo

package sd

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/sdjournal"

	"smtpban/internal/journal"
)

// openFiles opens the files that were named. Unlike in a directory, one that
// cannot be opened fails the others, so that then it is left out.
func (r *Reader) openFiles() (*sdjournal.Journal, error) {
	j, cause := sdjournal.NewJournalFromFiles(r.opts.Files...)
	if cause == nil {
		return j, nil
	}
	var sound []string
	for _, name := range r.opts.Files {
		j, err := sdjournal.NewJournalFromFiles(name)
		if err != nil {
			continue
		}
		sound = append(sound, name)
		j.Close()
	}
	if len(sound) == 0 {
		return nil, cause
	}
	return sdjournal.NewJournalFromFiles(sound...)
}

// look finds out which of the journal's files libsystemd has opened: it passes
// over others without a word. Where there is no /proc nothing is known of that. It
// is an error if some are not open for want of descriptors: they are sound, and
// must not be taken for lost.
func (r *Reader) look() error {
	dir, err := os.Open("/proc/self/fd")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking which files of the journal are open: %w", err)
	}
	defer dir.Close()
	numbers, err := dir.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("looking which files of the journal are open: %w", err)
	}
	r.open, r.shut = map[int]fileID{}, map[fileID]bool{}
	for id := range r.files {
		r.shut[id] = true
	}
	for _, number := range numbers {
		fd, err := strconv.Atoi(number)
		if err != nil {
			continue
		}
		if id, err := identify(fd); err == nil && r.files[id] != "" {
			r.open[fd] = id
			delete(r.shut, id)
		}
	}
	const spare = 8 // libsystemd needs some on the way
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("asking how many files may be open: %w", err)
	}
	if len(r.shut) > 0 && uint64(len(numbers)+spare) > limit.Cur {
		return fmt.Errorf("opening the journal: %w (it has %d files: see LimitNOFILE= in systemd.exec(5))", syscall.EMFILE, len(r.files))
	}
	return nil
}

// checkUnopened notes the files that libsystemd has not opened, although they
// have entries. One without may just be being made.
func (r *Reader) checkUnopened() {
	for _, name := range r.unopened() {
		r.damaged(name)
	}
}

// unopened returns the files that libsystemd has not opened, although they have
// entries.
func (r *Reader) unopened() (names []string) {
	for _, id := range slices.SortedFunc(maps.Keys(r.shut), r.byName) {
		if name := r.files[id]; hasEntries(name, id) {
			names = append(names, name)
		}
	}
	return names
}

func (r *Reader) byName(a, b fileID) int { return strings.Compare(r.files[a], r.files[b]) }

// hasEntries reports whether the file says so.
func hasEntries(name string, id fileID) bool {
	h, ok := readHeader(name, id)
	return ok && h.entries > 0
}

// dropped returns the files that libsystemd has let go of. Where it finds damage
// in a file it closes it and goes on with the others, without a word as well.
func (r *Reader) dropped() (names []string) {
	for fd, id := range r.open {
		if now, err := identify(fd); err != nil || now != id {
			names = append(names, r.files[id])
		}
	}
	slices.Sort(names)
	return names
}

// restore opens the journal anew if files were dropped: what is damaged of one
// boot, or in one place, is not all that the file holds.
func (r *Reader) restore() error {
	if len(r.dropped()) == 0 {
		return nil
	}
	return r.reconnect()
}

// reconnect opens the journal anew, with all of its files.
func (r *Reader) reconnect() error {
	r.passed = nil
	for _, name := range r.dropped() {
		r.damaged(name)
	}
	if err := r.j.Close(); err != nil {
		return err
	}
	r.j = nil
	return r.connect()
}

// tellDamage yields a gap for each further file that is known to be damaged. When
// it was written what is lost is not known.
func (r *Reader) tellDamage(yield func(journal.Entry, error) bool) bool {
	for _, name := range slices.Concat(r.dropped(), r.faults.news()) {
		r.damaged(name)
	}
	for len(r.gaps) > 0 {
		gap := r.gaps[0]
		r.gaps = r.gaps[1:]
		if !yield(journal.Entry{}, gap) {
			return false
		}
	}
	return true
}
