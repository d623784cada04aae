package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/journal"
	"smtpban/internal/journal/sd"
	"smtpban/internal/pass"
	"smtpban/internal/store"
)

const (
	idleBans = 1000
	newLines = 1000
)

// idleState is a machine on which smtpban has been running: its configuration,
// its state, and its routes once a run has made them.
type idleState struct {
	config, state string // files
	before        string // the state as it was before the last new entries
	cursor        string // of the last entry read
	earlier       string // of the last one read before those
	block         []string
}

// idleOn returns the state of a machine whose journal has so many files and was
// read to its end.
func (b *bench) idleOn(files int) (idleState, error) {
	if s, ok := b.states[files]; ok {
		return s, b.routesOf(s)
	}
	dir, truth, err := b.journal(files)
	if err != nil {
		return idleState{}, err
	}
	base := filepath.Join(b.scratch, strconv.Itoa(files))
	s := idleState{config: base + ".toml", state: base + ".db", before: base + ".before.db"}
	s.block = []string{"block", "--config", s.config, "--now", now()}
	text := fmt.Sprintf("[journal]\ndirectory = %q\npostfix_user = \"%d\"\n[store]\npath = %q\n", dir, postfixUID, s.state)
	if err := os.WriteFile(s.config, []byte(text), 0o644); err != nil {
		return s, err
	}
	if s.earlier, err = readMost(s, dir, truth.ClientFacing-newLines); err != nil {
		return s, err
	}
	if err := copyFile(s.before, s.state); err != nil {
		return s, err
	}
	if err := b.routesOf(s); err != nil {
		return s, err
	}
	if s.cursor, err = cursor(s.state); err != nil {
		return s, err
	}
	if err := s.teachBefore(); err != nil {
		return s, err
	}
	b.states[files] = s
	return s, nil
}

// routesOf lets the kernel have the routes of a state and no others, and the
// state be at the end of its journal.
func (b *bench) routesOf(s idleState) error {
	if err := b.flush(); err != nil {
		return err
	}
	for range 2 { // after the first run nothing is new
		if _, err := execute(b.binary, s.block...); err != nil {
			return err
		}
	}
	return nil
}

// flush takes all routes of smtpban's away.
func (b *bench) flush() error {
	return errors.Join(b.ip("route", "flush", "proto", "213"), b.ip("-6", "route", "flush", "proto", "213"))
}

// beginning is an input that ends early.
type beginning struct {
	journal.Input
	entries int
}

func (b beginning) Entries() iter.Seq2[journal.Entry, error] {
	return func(yield func(journal.Entry, error) bool) {
		left := b.entries
		for e, err := range b.Input.Entries() {
			if !yield(e, err) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// readMost makes a state that has read so many entries and holds idleBans bans,
// and returns its cursor.
func readMost(s idleState, dir string, entries int) (string, error) {
	in, err := sd.Open(sd.Options{Directory: dir, UID: postfixUID})
	if err != nil {
		return "", err
	}
	defer in.Close()
	file := store.New(s.state)
	p := pass.Pass{Store: file, Policy: config.Defaults().Policy, Now: end()}
	if _, err := p.Read(beginning{in, entries}); err != nil {
		return "", err
	}
	if err := file.Update(keepBans); err != nil {
		return "", err
	}
	return cursor(s.state)
}

// keepBans leaves idleBans bans in a state, or makes as many.
func keepBans(tx *store.Tx) error {
	var all []ban.Ban
	for b, err := range tx.Bans() {
		if err != nil {
			return err
		}
		all = append(all, b)
	}
	kept := 0
	for _, b := range all {
		if kept < idleBans && b.Active(end().Add(time.Hour)) {
			kept++
			continue
		}
		if err := tx.EndBan(b, b.Until, store.Unbanned); err != nil {
			return err
		}
	}
	for n := 0; kept < idleBans; n++ {
		kept++
		if err := tx.PutBan(madeBan(n)); err != nil {
			return err
		}
	}
	return nil
}

// madeBan is the nth of many bans, in order of the address. Its prefix is from
// 10.0.0.0/8.
func madeBan(n int) ban.Ban {
	addr := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	return ban.Ban{
		Prefix: netip.PrefixFrom(addr, 32), Class: ban.SASLAuth, Failures: 5,
		Start: end().Add(-time.Hour), Until: end().Add(24 * time.Hour), Count: 1, Origin: ban.OriginJournal,
	}
}

// cursor returns how far the journal was read, which is of one boot.
func cursor(state string) (string, error) {
	positions, err := pass.Positions(store.New(state))
	for _, p := range positions {
		return p.Cursor, err
	}
	return "", errors.Join(err, fmt.Errorf("%s has no position", state))
}

// teachBefore lets the state of before know what runs have learned of the machine
// and of the files of its journal: it is one on which smtpban has been running, and
// what was learned then was the same but for the positions.
func (s idleState) teachBefore() error {
	earlier, err := pass.Positions(store.New(s.before))
	if err != nil {
		return err
	}
	later, err := pass.Positions(store.New(s.state))
	if err != nil {
		return err
	}
	learned := map[string][]byte{"machine": nil, "journal": nil} // as cmd/smtpban names them
	err = store.New(s.state).View(func(tx *store.Tx) error {
		for name := range learned {
			value, err := tx.Setting(name)
			if err == nil && value == nil {
				err = fmt.Errorf("%s has no setting %q", s.state, name)
			}
			if err != nil {
				return err
			}
			learned[name] = slices.Clone(value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for boot, p := range later {
		if !bytes.Contains(learned["journal"], withoutCursor(p)) {
			return fmt.Errorf("the setting %q of %s has another form now", "journal", s.state)
		}
		learned["journal"] = bytes.Replace(learned["journal"], withoutCursor(p), withoutCursor(earlier[boot]), 1)
	}
	return store.New(s.before).Update(func(tx *store.Tx) error {
		return errors.Join(tx.PutSetting("machine", learned["machine"]), tx.PutSetting("journal", learned["journal"]))
	})
}

// withoutCursor is a position as it stands in the setting "journal".
func withoutCursor(p journal.Position) []byte {
	p.Cursor = ""
	value, _ := p.MarshalBinary() // it never fails
	return hex.AppendEncode(nil, value)
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// often is how many runs of a few milliseconds make one sample.
const often = 20

// seek is the anchor's part of a run with nothing new.
func (b *bench) seek(s idleState, files int) (measurement, error) {
	dir, _, err := b.journal(files)
	return command(often, b.anchor, append([]string{"seek", dir, s.cursor}, matches()...)...), err
}

// idle is row 4.
func idle(b *bench, r row) error {
	s, err := b.idleOn(files)
	if err != nil {
		return err
	}
	c, err := b.seek(s, files)
	if err != nil {
		return err
	}
	ours, theirs, ratio, err := pairs(b.rounds, command(often, b.binary, s.block...), c)
	if err != nil {
		return err
	}
	b.add(r, "", show(ours), "C "+show(theirs), ratio, "at most 2.5, or 10 ms", ratio <= 2.5 || ours <= 10*time.Millisecond)
	return nil
}

// manyFiles is row 5.
func manyFiles(b *bench, r row) error {
	few, err := b.idleOn(files)
	if err != nil {
		return err
	}
	for _, n := range []int{154, 1000} {
		if n > 154 && b.quick {
			continue
		}
		many, err := b.idleOn(n)
		if err != nil {
			return err
		}
		ours, theirs, ratio, err := pairs(b.rounds, command(often, b.binary, many.block...), command(often, b.binary, few.block...))
		if err != nil {
			return err
		}
		b.compare(r, fmt.Sprintf("%d files", n), ours, theirs, ratio, "14 files", 1.5)
	}
	return nil
}

// news is row 6.
func news(b *bench, r row) error {
	s, err := b.idleOn(files)
	if err != nil {
		return err
	}
	dir, _, err := b.journal(files)
	if err != nil {
		return err
	}
	rewind := func() error {
		if err := errors.Join(copyFile(s.state, s.before), b.flush()); err != nil {
			return err
		}
		_, err := execute(b.binary, "restore", "--config", s.config, "--now", now())
		return err
	}
	block := command(1, b.binary, s.block...)
	once := func() (total time.Duration, err error) {
		for range often {
			t, err := prepared(rewind, block)()
			if err != nil {
				return 0, err
			}
			total += t
		}
		return total / often, nil
	}
	c := command(often, b.anchor, append([]string{"after", dir, s.earlier}, matches()...)...)
	ours, theirs, ratio, err := pairs(b.rounds, once, c)
	if err != nil {
		return err
	}
	b.compare(r, "", ours, theirs, ratio, "C", 2)
	return nil
}

// systemCalls is row 7. Writing to a pipe or an event is no writing to a file.
func systemCalls(b *bench, r row) error {
	s, err := b.idleOn(files)
	if err != nil {
		return err
	}
	trace := filepath.Join(b.scratch, "trace")
	const calls = "write,pwrite64,writev,pwritev,pwritev2,ftruncate,fallocate,fsync,fdatasync,sync_file_range,msync,sync,syncfs,rename,renameat,renameat2,unlink,unlinkat"
	args := append([]string{"-f", "-q", "-y", "-o", trace, "-e", "trace=" + calls, b.binary}, s.block...)
	if _, err := execute("strace", args...); err != nil {
		return err
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		return err
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "(") && !strings.Contains(line, "<pipe:") && !strings.Contains(line, "eventfd") && !strings.Contains(line, "--- ") {
			n++
		}
	}
	b.add(r, "writes, syncs and changes of names", strconv.Itoa(n), "", 0, "none", n == 0)
	return nil
}
