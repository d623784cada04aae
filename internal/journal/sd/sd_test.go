//go:build cgo

package sd_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/journal"
	"smtpban/internal/journal/journaltest"
	"smtpban/internal/journal/sd"
)

const postfix = 101 // the uid that is trusted

var (
	boot1 = journaltest.Boot(1)
	boot2 = journaltest.Boot(2)
	noon  = time.Date(2026, time.November, 3, 12, 0, 0, 0, time.UTC)
)

// at is the nth entry of a boot that began at start: n seconds later by both clocks.
func at(boot journal.Boot, start time.Time, n int) journaltest.Entry {
	up := time.Duration(n) * time.Second
	return journaltest.Entry{
		Boot: boot, Time: start.Add(up), Monotonic: up, UID: postfix,
		Identifier: "postfix/smtpd", PID: 1000 + n, Message: fmt.Sprintf("%s line %d", boot.String()[30:], n),
	}
}

// series is the entries from to to of a boot, both included.
func series(boot journal.Boot, start time.Time, from, to int) (all []journaltest.Entry) {
	for n := from; n <= to; n++ {
		all = append(all, at(boot, start, n))
	}
	return all
}

// qmgr makes the entry one that is trusted, but not of smtpd.
func qmgr(e journaltest.Entry) journaltest.Entry {
	e.Identifier = "postfix/qmgr"
	return e
}

// other makes the entry one that is not of Postfix.
func other(e journaltest.Entry) journaltest.Entry {
	e.Identifier, e.UID, e.Transport = "systemd", 0, "journal"
	return e
}

// entries is what a reader should make of journal entries.
func entries(lists ...[]journaltest.Entry) (want []journal.Entry) {
	for _, list := range lists {
		for _, e := range list {
			want = append(want, journal.Entry{Boot: e.Boot, Time: e.Time, Monotonic: e.Monotonic, Identifier: e.Identifier, PID: e.PID, Message: e.Message})
		}
	}
	return want
}

// result is all that a run brings.
type result struct {
	Entries []journal.Entry
	Gaps    []journal.Gap
	moved   journal.Positions
}

// store is what a caller keeps from run to run.
type store struct {
	t         *testing.T
	opts      sd.Options
	positions journal.Positions

	finishes bool   // it remembers which files are finished
	finished []byte // which
	opened   int    // files at the end of the latest run
}

func newStore(t *testing.T, dir string) *store {
	return &store{t: t, opts: sd.Options{Directory: dir, UID: postfix}, positions: journal.Positions{}}
}

// run reads what is new and keeps the positions, through their stored form.
func (s *store) run() result {
	s.t.Helper()
	return s.runUntil(-1)
}

func (s *store) keep(moved journal.Positions) {
	s.t.Helper()
	kept := maps.Clone(s.positions)
	for boot, p := range moved {
		data, err := p.MarshalBinary()
		if err != nil {
			s.t.Fatal(err)
		}
		if err := p.UnmarshalBinary(data); err != nil {
			s.t.Fatal(err)
		}
		kept[boot] = p
	}
	s.positions = kept
}

// expect runs and compares all that comes.
func (s *store) expect(what string, want []journal.Entry, gaps ...journal.Gap) result {
	s.t.Helper()
	got := s.run()
	if diff := cmp.Diff(want, got.Entries); diff != "" {
		s.t.Errorf("%s: entries (-want +got):\n%s", what, diff)
	}
	if diff := cmp.Diff(gaps, got.Gaps); diff != "" {
		s.t.Errorf("%s: gaps (-want +got):\n%s", what, diff)
	}
	return got
}

// expectQuiet runs twice and wants nothing, but that damage is found again, and
// no position moved.
func (s *store) expectQuiet(damage ...journal.Gap) {
	s.t.Helper()
	for range 2 {
		if got := s.expect("nothing new", nil, damage...); len(got.moved) > 0 {
			s.t.Errorf("nothing new, but positions moved: %v", got.moved)
		}
	}
}

// openFiles counts the files in a directory that this process has open.
func openFiles(t *testing.T, dir string) (n int) {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if name, err := os.Readlink(fd); err == nil && filepath.Dir(name) == dir {
			n++
		}
	}
	return n
}

func file(dir, name string) string { return filepath.Join(dir, name+".journal") }

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(file(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// runUntil reads until n entries and gaps have come and keeps the positions then.
func (s *store) runUntil(n int) (got result) {
	s.t.Helper()
	opts := s.opts
	opts.From, opts.Finished = s.positions, s.finished
	r, err := sd.Open(opts)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	for e, err := range r.Entries() {
		var gap *journal.Gap
		switch {
		case errors.As(err, &gap):
			got.Gaps = append(got.Gaps, *gap)
		case err != nil:
			s.t.Fatal(err)
		default:
			got.Entries = append(got.Entries, e)
		}
		if len(got.Entries)+len(got.Gaps) == n {
			break
		}
	}
	got.moved, err = r.Positions()
	if err != nil {
		s.t.Fatal(err)
	}
	s.keep(got.moved)
	s.opened = openFiles(s.t, s.opts.Directory)
	if s.finishes {
		s.finished = r.Finished()
	}
	return got
}
