//go:build cgo

package sd_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"smtpban/internal/journal"
	"smtpban/internal/journal/journaltest"
	"smtpban/internal/journal/sd"
)

func TestATruncatedFileCostsOnlyItsOwnEntries(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 3)...)
	journaltest.Write(t, file(dir, "b"), series(boot1, noon, 4, 6)...)
	for _, c := range []struct {
		size int64
		gaps []journal.Gap
	}{
		{5000, []journal.Gap{damagedGap("a")}},
		{100, nil}, // like one that is just being made
		{0, nil},
	} {
		if err := os.Truncate(file(dir, "a"), c.size); err != nil {
			t.Fatal(err)
		}
		s := newStore(t, dir)
		s.expect("truncated", entries(series(boot1, noon, 4, 6)), c.gaps...)
		s.expectQuiet(c.gaps...)
	}
}

// Damage of any kind must neither count an entry twice nor stop the reading for
// good: what can be read is read, in order.
func TestADamagedFileIsReadAsFarAsItGoes(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 50)...)
	journaltest.Write(t, file(dir, "b"), series(boot1, noon, 51, 60)...)
	want := newStore(t, dir).run().Entries
	data, err := os.ReadFile(file(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	const width, places = 200, 40
	first, last := used(data)
	harmed, holes := 0, 0
	for offset := first; offset < last; offset += (last - first) / places {
		damage(t, file(dir, "a"), offset, data[offset:offset+width])
		s := newStore(t, dir)
		got := s.run()
		if len(got.Entries) < len(want) {
			harmed++
		}
		holes += len(got.Gaps)
		if !isSubsequence(times(got.Entries), times(want)) {
			t.Errorf("damaged at %d: not a part of what was written, in order: %v", offset, times(got.Entries))
		}
		if again := s.run().Entries; len(again) > 0 {
			t.Errorf("damaged at %d: the second run read %v", offset, again)
		}
		overwrite(t, file(dir, "a"), offset, data[offset:offset+width])
	}
	if harmed == 0 || holes == 0 {
		t.Errorf("%d of the damages did harm, %d were noticed: want some of each", harmed, holes)
	}
}

// without makes the entry one of which a part cannot be read.
func without(field string, e journaltest.Entry) string {
	before, rest, _ := strings.Cut(string(journaltest.Export(e)), field+"=")
	_, after, _ := strings.Cut(rest, "\n")
	return before + after
}

func withoutMessage(e journaltest.Entry) string { return without("MESSAGE", e) }

func TestAnEntryWithoutATagIsAGap(t *testing.T) {
	dir := t.TempDir()
	journaltest.WriteExport(t, file(dir, "a"), []byte(without("SYSLOG_IDENTIFIER", at(boot1, noon, 1))))
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 2, 3)...)
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 2, 3)),
		journal.Gap{Boot: boot1, To: noon.Add(2 * time.Second), Reason: "unreadable entries: an entry of Postfix without SYSLOG_IDENTIFIER"})
	s.expectQuiet()
}

// The clocks of a damaged entry may show anything. A position that goes back
// would count entries twice once its cursor is lost.
func TestADamagedEntryDoesNotMoveThePositionBack(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 3)...)
	data, err := os.ReadFile(file(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	odd := at(boot1, noon, 4)
	odd.Monotonic = 1
	journaltest.WriteExport(t, file(dir, "a"), []byte(withoutMessage(odd)))
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 3)),
		journal.Gap{Boot: boot1, From: noon.Add(3 * time.Second), Reason: "unreadable entries: an entry of smtpd or postscreen without MESSAGE"})
	rewrite(t, file(dir, "a"), data)
	s.expectQuiet()
}

// Pages that never reached the disk, and those of a file that is being vacuumed,
// are zero.
func TestAFieldWithZerosInItIsAGap(t *testing.T) {
	for _, field := range []string{"SYSLOG_IDENTIFIER=", "MESSAGE="} {
		dir := t.TempDir()
		odd := at(boot1, noon, 2)
		odd.Identifier = "postfix/submission/smtpd"
		journaltest.Write(t, file(dir, "a"), at(boot1, noon, 1), odd, at(boot1, noon, 3))
		data, err := os.ReadFile(file(dir, "a"))
		if err != nil {
			t.Fatal(err)
		}
		value := map[string]string{"SYSLOG_IDENTIFIER=": odd.Identifier, "MESSAGE=": odd.Message}[field]
		offset := bytes.Index(data, []byte(field+value))
		overwrite(t, file(dir, "a"), offset+len(field)+3, make([]byte, len(value)-3))
		s := newStore(t, dir)
		s.expect(field, entries(series(boot1, noon, 1, 1), series(boot1, noon, 3, 3)), journal.Gap{
			Boot: boot1, From: noon.Add(1 * time.Second), To: noon.Add(3 * time.Second),
			Reason: "unreadable entries: field " + strings.TrimSuffix(field, "=") + ": zeros in it"})
		s.expectQuiet()
	}
}

func TestUnreadableEntriesAreAGapAtAnyCut(t *testing.T) {
	dir := t.TempDir()
	text := string(journaltest.Export(at(boot1, noon, 1))) +
		withoutMessage(at(boot1, noon, 2)) + withoutMessage(at(boot1, noon, 3)) +
		string(journaltest.Export(qmgr(at(boot1, noon, 4)), at(boot1, noon, 5))) +
		withoutMessage(at(boot1, noon, 6)) + string(journaltest.Export(at(boot1, noon, 7))) +
		withoutMessage(at(boot1, noon, 8))
	journaltest.WriteExport(t, file(dir, "a"), []byte(text))
	const reason = "unreadable entries: an entry of smtpd or postscreen without MESSAGE"
	want := result{
		Entries: entries([]journaltest.Entry{at(boot1, noon, 1), at(boot1, noon, 5), at(boot1, noon, 7)}),
		Gaps: []journal.Gap{
			{Boot: boot1, From: noon.Add(1 * time.Second), To: noon.Add(4 * time.Second), Reason: reason},
			{Boot: boot1, From: noon.Add(5 * time.Second), To: noon.Add(7 * time.Second), Reason: reason},
			{Boot: boot1, From: noon.Add(7 * time.Second), Reason: reason},
		},
	}
	for cut := 1; cut <= 6; cut++ {
		s := newStore(t, dir)
		got, rest := s.runUntil(cut), s.run()
		got.Entries, got.Gaps = append(got.Entries, rest.Entries...), append(got.Gaps, rest.Gaps...)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(result{})); diff != "" {
			t.Errorf("cut after %d (-want +got):\n%s", cut, diff)
		}
		s.expectQuiet()
	}
}

func TestTooManyUnreadableEntriesAreAnErrorAndTheNextRunGoesOn(t *testing.T) {
	dir := t.TempDir()
	var text strings.Builder
	for n := range 150 {
		text.WriteString(withoutMessage(at(boot1, noon, n)))
	}
	text.Write(journaltest.Export(at(boot1, noon, 150)))
	journaltest.WriteExport(t, file(dir, "a"), []byte(text.String()))
	s := newStore(t, dir)
	r, err := sd.Open(s.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var last error
	for _, last = range r.Entries() {
	}
	if last == nil || !strings.Contains(last.Error(), "more than 100 unreadable places") {
		t.Errorf("error %v", last)
	}
	moved, err := r.Positions()
	if err != nil {
		t.Fatal(err)
	}
	s.keep(moved)
	got := s.run()
	if diff := cmp.Diff(entries(series(boot1, noon, 150, 150)), got.Entries); diff != "" || len(got.Gaps) != 1 {
		t.Errorf("next run: gaps %v, entries (-want +got):\n%s", got.Gaps, diff)
	}
}

// Damage may hide from the matches what can be read without them, and end the
// reading early. The position must not pass over what was not read then, unless
// a gap tells that all up to now may be lost.
func TestNoDamageMovesThePositionBeyondWhatWasRead(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 20)...)
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 20)))
	from := s.positions[boot1]
	var grown []journaltest.Entry
	for n := 21; n <= 60; n++ {
		grown = append(grown, at(boot1, noon, n), other(at(boot1, noon, n)))
	}
	journaltest.Write(t, file(dir, "a"), grown...)
	data, err := os.ReadFile(file(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	const step = 100
	first, last := used(data)
	first += step // without the boot's id there is no journal
	stopped, lost := 0, 0
	lose := func(by time.Duration) journal.Position { // the cursor, and the entry as well if by is not 0
		return journal.Position{Cursor: "not to be found", Realtime: from.Realtime.Add(by), Monotonic: from.Monotonic + by}
	}
	for _, width := range []int{300, 1000, 3000} {
		for offset := first; offset+width < last; offset += step {
			damage(t, file(dir, "a"), offset, data[offset:offset+width])
			for _, from := range []journal.Position{from, lose(0), lose(time.Millisecond)} {
				s.positions = journal.Positions{boot1: from}
				got := s.run()
				toNow := slices.ContainsFunc(got.Gaps, func(g journal.Gap) bool { return g.To.IsZero() })
				switch read := lastRead(got, from); {
				case toNow:
					lost++
				case s.positions[boot1].Monotonic > read:
					t.Errorf("%d bytes damaged at %d, from %v: the position is at %v, read until %v, gaps %v",
						width, offset, from, s.positions[boot1].Monotonic, read, got.Gaps)
				case len(got.Entries) < 40:
					stopped++
				}
			}
			overwrite(t, file(dir, "a"), offset, data[offset:offset+width])
		}
	}
	if stopped == 0 || lost == 0 {
		t.Errorf("%d of the damages ended the reading early, %d lost all: want some of each", stopped, lost)
	}
}

// lastRead is how far the run read, or else where it began.
func lastRead(r result, from journal.Position) time.Duration {
	if n := len(r.Entries); n > 0 {
		return r.Entries[n-1].Monotonic
	}
	return from.Monotonic
}

// used is where in the bytes of a journal file the entries are.
func used(data []byte) (first, last int) {
	return bytes.Index(data, []byte("_BOOT_ID=")), bytes.LastIndex(data, []byte("MESSAGE="))
}

// damage changes each of the bytes that are in the file at the offset.
func damage(t *testing.T, name string, offset int, data []byte) {
	t.Helper()
	damaged := slices.Clone(data)
	for i := range damaged {
		damaged[i] ^= 0xa5
	}
	overwrite(t, name, offset, damaged)
}

func overwrite(t *testing.T, name string, offset int, data []byte) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, int64(offset)); err != nil {
		t.Fatal(err)
	}
}

// times stands for the entries: the text of one may be damaged unnoticed.
func times(entries []journal.Entry) (all []time.Time) {
	for _, e := range entries {
		all = append(all, e.Time)
	}
	return all
}

func isSubsequence(part, whole []time.Time) bool {
	for _, e := range part {
		i := slices.Index(whole, e)
		if i < 0 {
			return false
		}
		whole = whole[i+1:]
	}
	return true
}
