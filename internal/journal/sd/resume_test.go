//go:build cgo

package sd_test

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/journal"
	"smtpban/internal/journal/journaltest"
)

const (
	reasonGone    = "the last entry read is gone from the journal"
	reasonBeyond  = "the journal ends before the last entry read"
	reasonCursor  = "the stored position is not a cursor"
	reasonAllLost = "no boot that was read before is in the journal any more"
)

func TestNormalCursorStillThereIsSkipped(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 5)...)
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 5)))
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 6, 8)...)
	s.expect("grown", entries(series(boot1, noon, 6, 8)))
}

func TestLastEntryNothingNewYieldsNothing(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 5)...)
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 5)))
	s.expectQuiet()
}

func TestAfterRotateNothingIsLostOrReadTwice(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "system"), series(boot1, noon, 1, 5)...)
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 5)))
	if err := os.Rename(file(dir, "system"), file(dir, "system@1")); err != nil {
		t.Fatal(err)
	}
	journaltest.Write(t, file(dir, "system"), series(boot1, noon, 6, 8)...)
	s.expect("rotated", entries(series(boot1, noon, 6, 8)))
	s.expectQuiet()
}

func TestEntryGoneByVacuumYieldsTheNextOneAndAGap(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 5)...)
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 5)))
	journaltest.Write(t, file(dir, "b"), series(boot1, noon, 8, 9)...)
	remove(t, dir, "a")
	s.expect("vacuumed", entries(series(boot1, noon, 8, 9)),
		journal.Gap{Boot: boot1, From: noon.Add(5 * time.Second), To: noon.Add(8 * time.Second), Reason: reasonGone})
	s.expectQuiet()
}

func TestEntryGoneWithOlderOnesLeftYieldsNothingTwice(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 3)...)
	journaltest.Write(t, file(dir, "b"), series(boot1, noon, 4, 5)...)
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 5)))
	journaltest.Write(t, file(dir, "c"), series(boot1, noon, 8, 9)...)
	remove(t, dir, "b") // quarantined, say
	s.expect("the middle is gone", entries(series(boot1, noon, 8, 9)),
		journal.Gap{Boot: boot1, From: noon.Add(5 * time.Second), To: noon.Add(8 * time.Second), Reason: reasonGone})
	s.expectQuiet()
}

func TestEntryGoneAndNothingTrustedLeftIsOneGapOnly(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 5)...)
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 5)))
	journaltest.Write(t, file(dir, "b"), other(at(boot1, noon, 7)))
	remove(t, dir, "a")
	s.expect("vacuumed", nil, journal.Gap{Boot: boot1, From: noon.Add(5 * time.Second), Reason: reasonGone})
	s.expectQuiet()
	journaltest.Write(t, file(dir, "b"), at(boot1, noon, 8))
	s.expect("grown", entries(series(boot1, noon, 8, 8)))
}

func TestCursorFromTheFutureFallsBackAndFindsTheTailAgain(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 3)...)
	journaltest.Write(t, file(dir, "b"), series(boot1, noon, 4, 9)...)
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 9)))
	remove(t, dir, "b")
	s.expect("the end is lost", nil, journal.Gap{Boot: boot1, From: noon.Add(9 * time.Second), Reason: reasonBeyond})
	s.expectQuiet()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 10, 11)...)
	s.expect("grown", entries(series(boot1, noon, 10, 11)))
}

// A machine set back to a snapshot goes on under the same boot id, with its
// monotonic clock set back and its wall clock right. What it wrote until the
// first run cannot be told from what was read before, since where the wall clock
// had been set back old entries look just the same.
func TestCursorFromTheFutureOfASnapshotIsAGapThenGoesOn(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 3)...)
	journaltest.Write(t, file(dir, "b"), series(boot1, noon, 100, 110)...)
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 3), series(boot1, noon, 100, 110)))
	remove(t, dir, "b")
	later := noon.Add(time.Hour)
	journaltest.Write(t, file(dir, "a"), series(boot1, later, 4, 6)...)
	s.expect("set back", nil, journal.Gap{Boot: boot1, From: noon.Add(110 * time.Second), Reason: reasonBeyond})
	s.expectQuiet()
	journaltest.Write(t, file(dir, "a"), series(boot1, later, 7, 8)...)
	s.expect("grown", entries(series(boot1, later, 7, 8)))
}

func TestMalformedCursorDoesNotReplayTheJournal(t *testing.T) {
	for _, cursor := range []string{"nonsense", "s=zz", "\x00"} {
		dir := t.TempDir()
		journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 5)...)
		s := newStore(t, dir)
		s.positions[boot1] = journal.Position{Cursor: cursor, Realtime: noon.Add(3 * time.Second), Monotonic: 3 * time.Second}
		s.expect("entry there", entries(series(boot1, noon, 4, 5)))
		s.expectQuiet()
		s.positions[boot1] = journal.Position{Cursor: cursor, Realtime: noon, Monotonic: 0}
		s.expect("entry gone", entries(series(boot1, noon, 1, 5)),
			journal.Gap{Boot: boot1, From: noon, To: noon.Add(time.Second), Reason: reasonCursor})
		s.expectQuiet()
		s.positions[boot1] = journal.Position{Cursor: cursor, Realtime: noon.Add(5 * time.Second), Monotonic: 5 * time.Second}
		s.expect("nothing new", nil)
		s.expectQuiet()
	}
}

// A cursor of another journal, as after the files were restored from elsewhere.
func TestForeignCursorNeitherLosesNorReplaysAnything(t *testing.T) {
	elsewhere := t.TempDir()
	journaltest.Write(t, file(elsewhere, "a"), series(boot1, noon, 1, 9)...)
	foreign := newStore(t, elsewhere)
	foreign.runUntil(3)
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 5)...)
	s := newStore(t, dir)
	s.positions = foreign.positions
	s.expect("an entry that is here, too", entries(series(boot1, noon, 4, 5)))
	s.expectQuiet()

	foreign.run()
	s.positions = foreign.positions
	s.expect("an entry later than all here", nil, journal.Gap{Boot: boot1, From: noon.Add(9 * time.Second), Reason: reasonBeyond})
	s.expectQuiet()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 6, 7)...)
	s.expect("grown", entries(series(boot1, noon, 6, 7)))
}

// journalctl --flush copies the volatile journal, so that for a while every
// entry is there twice.
func TestVolatileToPersistentKeepsTheCursor(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "volatile"), series(boot1, noon, 1, 5)...)
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 5)))
	data, err := os.ReadFile(file(dir, "volatile"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file(dir, "persistent"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	journaltest.Write(t, file(dir, "persistent"), series(boot1, noon, 6, 7)...)
	s.expect("both", entries(series(boot1, noon, 6, 7)))
	remove(t, dir, "volatile")
	s.expectQuiet()
}

func TestClockSetBackWithinABootHidesNothing(t *testing.T) {
	dir := t.TempDir()
	back := series(boot1, noon.Add(-time.Hour), 6, 8) // the wall clock only
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 5)...)
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 5)))
	journaltest.Write(t, file(dir, "b"), back...)
	s.expect("set back", entries(back))
	s.expectQuiet()
	remove(t, dir, "b")
	s.expect("the end is lost", nil, journal.Gap{Boot: boot1, From: back[2].Time, Reason: reasonBeyond})
}

// The case in which a plain cursor sees nothing at all: two journals that share
// no sequence numbers, the later boot earlier by the wall clock.
func TestClockSetBackAcrossARebootHidesNothing(t *testing.T) {
	before, after := series(boot1, noon, 1, 5), series(boot2, noon.Add(-time.Hour), 1, 5)
	t.Run("both there at the first run", func(t *testing.T) {
		dir := t.TempDir()
		journaltest.Write(t, file(dir, "a"), before...)
		journaltest.Write(t, file(dir, "b"), after...)
		s := newStore(t, dir)
		s.expect("first run", entries(after, before))
		s.expectQuiet()
	})
	t.Run("the second appears after the first run", func(t *testing.T) {
		dir := t.TempDir()
		journaltest.Write(t, file(dir, "a"), before...)
		s := newStore(t, dir)
		s.expect("first run", entries(before))
		journaltest.Write(t, file(dir, "b"), after...)
		s.expect("second run", entries(after))
		s.expectQuiet()
		journaltest.Write(t, file(dir, "b"), at(boot2, noon.Add(-time.Hour), 6))
		s.expect("grown", entries(series(boot2, noon.Add(-time.Hour), 6, 6)))
	})
	t.Run("in one file", func(t *testing.T) {
		dir := t.TempDir()
		journaltest.Write(t, file(dir, "a"), before...)
		s := newStore(t, dir)
		s.expect("first run", entries(before))
		journaltest.Write(t, file(dir, "a"), after...)
		s.expect("second run", entries(after))
		s.expectQuiet()
	})
}

func TestAnEarlierBootThatGrewLateIsReadToo(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 5)...)
	journaltest.Write(t, file(dir, "b"), series(boot2, noon.Add(time.Hour), 1, 5)...)
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 5), series(boot2, noon.Add(time.Hour), 1, 5)))
	journaltest.Write(t, file(dir, "a"), at(boot1, noon, 6))
	s.expect("the earlier boot grew", entries(series(boot1, noon, 6, 6)))
	s.expectQuiet()
}

func TestEveryKnownBootGoneIsOneGap(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		dir := t.TempDir()
		journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 5)...)
		s := newStore(t, dir)
		s.expect("first run", entries(series(boot1, noon, 1, 5)))
		remove(t, dir, "a")
		later := at(boot2, noon.Add(time.Hour), 1)
		want := entries([]journaltest.Entry{later})
		if quiet {
			later, want = other(later), nil
		}
		journaltest.Write(t, file(dir, "b"), later)
		s.expect("all gone", want, journal.Gap{Boot: boot1, From: noon.Add(5 * time.Second), Reason: reasonAllLost})
		s.expectQuiet()
	}
}

// A maillog's position knows no boot: a state that was first used with a maillog
// has read nothing of the journal yet.
func TestThePositionOfAMaillogIsNoBootThatIsGone(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 5)...)
	s := newStore(t, dir)
	s.positions = journal.Positions{journal.Boot{}: {Cursor: "hashes", Realtime: noon}}
	s.expect("first run", entries(series(boot1, noon, 1, 5)))
	s.expectQuiet()
}

// Where no boot is left that was read, and the next one is quiet, the loss is
// told once, and yet nothing is passed over when the uid turns out to be wrong.
func TestEveryKnownBootGoneUnderAWrongUIDSkipsNothing(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 5)...)
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 5)))
	remove(t, dir, "a")
	next := series(boot2, noon.Add(time.Hour), 1, 5)
	journaltest.Write(t, file(dir, "b"), next...)
	s.opts.UID = postfix + 1
	s.expect("all gone", nil, journal.Gap{Boot: boot1, From: noon.Add(5 * time.Second), Reason: reasonAllLost})
	s.expectQuiet()
	s.opts.Anchor = true
	s.expectQuiet()
	s.opts.Anchor, s.opts.UID = false, postfix
	s.expect("the uid set right", entries(next))
}

func TestAnchorLeavesABootAloneInWhichNothingTrustedWasRead(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), append(series(boot1, noon, 1, 5), other(at(boot1, noon, 6)))...)
	s := newStore(t, dir)
	s.opts.Anchor, s.opts.UID = true, postfix+1
	s.expectQuiet()
	s.opts.UID = postfix
	s.expect("the uid set right", entries(series(boot1, noon, 1, 5)))
}

func TestAnchorKeepsAQuietPositionAlive(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 5)...)
	journaltest.Write(t, file(dir, "b"), other(at(boot1, noon, 6)), other(at(boot1, noon, 7)))
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 5)))
	s.opts.Anchor = true
	s.expect("anchored", nil)
	if got := s.positions[boot1].Monotonic; got != 7*time.Second {
		t.Errorf("anchored at %v, want 7s", got)
	}
	s.expectQuiet()
	both := newStore(t, dir)
	both.opts.Anchor = true
	both.expect("read and anchored in one run", entries(series(boot1, noon, 1, 5)))
	if diff := cmp.Diff(s.positions, both.positions); diff != "" {
		t.Errorf("anchored later and at once (-later +at once):\n%s", diff)
	}
	s.opts.Anchor = false
	remove(t, dir, "a")
	s.expectQuiet()
	journaltest.Write(t, file(dir, "b"), at(boot1, noon, 8), other(at(boot1, noon, 9)))
	s.expect("grown", entries(series(boot1, noon, 8, 8)))
}

func TestCuttingTheRunAnywhereChangesNothing(t *testing.T) {
	dir := t.TempDir()
	one, two := series(boot1, noon, 1, 4), series(boot2, noon.Add(-time.Hour), 1, 4)
	journaltest.Write(t, file(dir, "a"), append([]journaltest.Entry{qmgr(at(boot1, noon, 0))}, one...)...)
	journaltest.Write(t, file(dir, "b"), append(two, qmgr(at(boot2, noon.Add(-time.Hour), 5)))...)
	want := entries(two, one)
	for cut := 1; cut <= len(want); cut++ {
		s := newStore(t, dir)
		got := s.runUntil(cut).Entries
		got = append(got, s.run().Entries...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("cut after %d entries (-want +got):\n%s", cut, diff)
		}
		s.expectQuiet()
	}
}

func TestReadingWhileTheJournalGrowsYieldsEachEntryOnce(t *testing.T) {
	const batches, size = 12, 5
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "0"), series(boot1, noon, 1, size)...)
	written := make(chan struct{})
	go func() {
		defer close(written)
		for n := 1; n < batches; n++ {
			name := string(rune('0' + n/4)) // three files, one after the other
			journaltest.Write(t, file(dir, name), series(boot1, noon, n*size+1, (n+1)*size)...)
		}
	}()
	s := newStore(t, dir)
	var got []journal.Entry
	for open := true; open; {
		select {
		case <-written:
			open = false
		default:
		}
		r := s.run()
		if len(r.Gaps) > 0 {
			t.Fatalf("gaps: %v", r.Gaps)
		}
		got = append(got, r.Entries...)
	}
	if diff := cmp.Diff(entries(series(boot1, noon, 1, batches*size)), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s.expectQuiet()
}
