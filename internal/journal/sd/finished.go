//go:build cgo

package sd

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"smtpban/internal/journal"
)

// A run with nothing new costs what it costs to open the files of the journal, of
// which there may be hundreds. Archived ones never change, so that those whose
// entries have all been read need not be opened again. They are remembered by a hash
// of their name, with the uid and the positions up to which they were read.
//
// What is remembered only holds as long as all is as it was then: each of these
// files is still there, the uid is the same, no position is earlier, and each is
// found by its cursor. Otherwise all files are opened. The file that holds a
// position is never passed over, so that it can be found.

// finished is what is remembered.
type finished struct {
	uid       int
	positions journal.Positions // without cursors
	files     []uint64          // hashes, in order
}

// errHidden means that what is looked for may be in a file that was passed over.
var errHidden = errors.New("not all files of the journal are open")

// Finished returns what a later Open may take as Options.Finished. It is nil if
// nothing can be remembered, before all was read above all. As long as the files are
// the same it stays the same, so that nothing has to be written.
func (r *Reader) Finished() []byte {
	if !r.complete || r.waits || r.bad > 0 || len(r.told) > 0 || r.faults.any() || len(r.opts.Files) > 0 {
		return nil
	}
	positions := maps.Clone(r.opts.From)
	moved, err := r.Positions()
	if err != nil {
		return nil
	}
	maps.Copy(positions, moved)
	var held []place
	for boot, p := range positions {
		if boot == (journal.Boot{}) || p == (journal.Position{}) {
			continue
		}
		at, ok := placeOf(p.Cursor)
		if !ok {
			return nil
		}
		held = append(held, at)
	}
	f := finished{uid: r.opts.UID, positions: positions, files: slices.Collect(maps.Keys(r.passed))}
	for id, name := range r.files {
		if r.shut[id] || !isArchived(name) {
			continue
		}
		if h, ok := readHeader(name, id); ok && h.archived && !slices.ContainsFunc(held, h.holds) {
			f.files = append(f.files, hash(name))
		}
	}
	slices.Sort(f.files)
	switch {
	case len(f.files) == 0:
		return nil
	case slices.Equal(f.files, slices.Sorted(maps.Keys(r.passed))):
		return r.opts.Finished // it holds for later positions as well
	}
	return f.encode()
}

// place is an entry by its number in a sequence.
type place struct {
	sequence [16]byte
	number   uint64
}

// placeOf reads it in a cursor.
func placeOf(cursor string) (p place, ok bool) {
	sequence, rest, _ := strings.Cut(strings.TrimPrefix(cursor, "s="), ";i=")
	number, _, _ := strings.Cut(rest, ";")
	if len(sequence) != hex.EncodedLen(len(p.sequence)) {
		return place{}, false
	}
	_, err := hex.Decode(p.sequence[:], []byte(sequence))
	if err == nil {
		p.number, err = strconv.ParseUint(number, 16, 64)
	}
	return p, err == nil
}

// holds reports whether the entry is in the file.
func (h header) holds(p place) bool {
	return p.sequence == h.sequence && h.head <= p.number && p.number <= h.tail
}

// isArchived reports whether journald names files like this that it has finished
// with, NAME@SEQUENCE-NUMBER-TIME.journal. No two ever have the same name.
func isArchived(path string) bool {
	name, ok := strings.CutSuffix(filepath.Base(path), ".journal")
	_, stamp, found := strings.Cut(name, "@")
	return ok && found && len(stamp) == 32+1+16+1+16 && stamp[32] == '-' && stamp[49] == '-' &&
		strings.Trim(stamp, "0123456789abcdef-") == ""
}

// passOver returns those of the files that need not be opened.
func (o Options) passOver(names []string) map[uint64]bool {
	if o.Anchor || len(o.Files) > 0 {
		return nil
	}
	f, ok := decodeFinished(o.Finished)
	if !ok || f.uid != o.UID {
		return nil
	}
	for boot, p := range f.positions {
		if !o.From[boot].Covers(p.Monotonic, p.Realtime) {
			return nil
		}
	}
	passed := make(map[uint64]bool, len(f.files))
	for _, h := range f.files {
		passed[h] = true
	}
	there := 0
	for _, name := range names {
		if passed[hash(name)] {
			there++
		}
	}
	if there != len(passed) {
		return nil
	}
	return passed
}

// openEverything opens the journal anew with all of its files.
func (r *Reader) openEverything() error {
	if err := r.reconnect(); err != nil {
		return err
	}
	return r.survey()
}

// The form in which it is remembered: lines of the version, the uid and each
// position, an empty one, and eight bytes for each file.
const finishedVersion = "1"

func (f finished) encode() []byte {
	lines := []string{finishedVersion, strconv.Itoa(f.uid)}
	for _, boot := range slices.SortedFunc(maps.Keys(f.positions), compareBoots) {
		p := f.positions[boot]
		p.Cursor = ""
		value, _ := p.MarshalBinary() // it never fails
		lines = append(lines, boot.String()+" "+hex.EncodeToString(value))
	}
	b := []byte(strings.Join(lines, "\n") + "\n\n")
	for _, h := range f.files {
		b = binary.BigEndian.AppendUint64(b, h)
	}
	return b
}

// decodeFinished reads it. What can't be read was not remembered.
func decodeFinished(b []byte) (f finished, ok bool) {
	head, files, ok := bytes.Cut(b, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) < 2 || lines[0] != finishedVersion || len(files) == 0 || len(files)%8 != 0 {
		return finished{}, false
	}
	var err error
	if f.uid, err = strconv.Atoi(lines[1]); err != nil {
		return finished{}, false
	}
	for h := range slices.Chunk(files, 8) {
		f.files = append(f.files, binary.BigEndian.Uint64(h))
	}
	f.positions = journal.Positions{}
	for _, line := range lines[2:] {
		name, value, _ := strings.Cut(line, " ")
		boot, err := journal.ParseBoot(name)
		if err != nil {
			return finished{}, false
		}
		plain, err := hex.DecodeString(value)
		var p journal.Position
		if err != nil || p.UnmarshalBinary(plain) != nil {
			return finished{}, false
		}
		f.positions[boot] = p
	}
	return f, true
}
