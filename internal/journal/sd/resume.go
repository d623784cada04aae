//go:build cgo

package sd

import (
	"errors"
	"strconv"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/sdjournal"

	"smtpban/internal/journal"
)

// resume goes to the first entry of the boot that was not read before; on is
// false if there is none.
func (r *Reader) resume() (gap *journal.Gap, on bool, err error) {
	pos, moved := r.done[r.boot]
	if !moved {
		pos = r.opts.From[r.boot]
	}
	if r.opts.Anchor {
		if err := r.takeEnd(); err != nil {
			return nil, false, err
		}
	}
	if pos == (journal.Position{}) {
		if r.lost {
			// That the others are gone is told once, even if nothing is
			// read here; and nothing is passed over then.
			r.done[r.boot] = pos
		}
		on, err = r.head()
		return nil, on, err
	}

	// The position may be on an entry that the trusted matches hide (see
	// takeEnd), so that it is looked for without them.
	if err := r.match(r.boot); err != nil {
		return nil, false, err
	}
	_, err = r.seek(pos.Cursor)
	if r.passed != nil && (errors.Is(err, syscall.EINVAL) || errors.Is(err, sdjournal.ErrNoTestCursor)) {
		return nil, false, errHidden
	}
	if errors.Is(err, syscall.EINVAL) && pos.Cursor != "" {
		return r.resumeByClocks(pos, "the stored position is not a cursor")
	}
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, sdjournal.ErrNoTestCursor) {
		return r.resumeByClocks(pos, "the last entry read is gone from the journal")
	}
	if err != nil {
		return nil, false, err
	}
	if err := r.matchTrusted(r.boot); err != nil {
		return nil, false, err
	}
	on, err = r.seek(pos.Cursor)
	switch {
	case err == nil:
		on, err = r.next()
	case errors.Is(err, sdjournal.ErrNoTestCursor):
		// The entry is hidden, and this is the first one after it that is
		// not: it is new. Only that it is not older is not left to trust.
		on, err = r.skip(on, isBefore(pos))
	}
	return nil, on, err
}

// seek goes to the entry with this cursor, or else to the first one after it.
// The error is sdjournal.ErrNoTestCursor unless the cursor's own entry was
// found, and syscall.EINVAL if it is no cursor at all.
//
// Three calls are needed: the first only marks the place, and only after the
// second does the third tell whether something was there. See
// sd_journal_seek_cursor(3).
func (r *Reader) seek(cursor string) (on bool, err error) {
	if err := r.j.SeekCursor(cursor); err != nil {
		return false, err
	}
	on, err = r.next()
	if err != nil {
		return false, err
	}
	if !on {
		return false, sdjournal.ErrNoTestCursor
	}
	if r.j.TestCursor(cursor) != nil { // or it cannot be read any more
		return true, sdjournal.ErrNoTestCursor
	}
	return true, nil
}

// resumeByClocks tells new entries from old ones without a cursor, and finds out
// whether any are lost.
//
// Where a position is later than all there is, because the end of the journal
// was lost in a crash, all is old. The wall clock must not overrule that: where
// it had been set back, entries would count twice. So that the position does
// not stay ahead of all to come, the end of the boot becomes the new one, but
// only with a gap that reaches to it. Otherwise the position must not move
// beyond what is read: damage can hide from the matches entries that would be
// passed over without a word.
func (r *Reader) resumeByClocks(pos journal.Position, reason string) (gap *journal.Gap, on bool, err error) {
	if err := r.restore(); err != nil {
		return nil, false, err
	}
	if err := r.takeEnd(); err != nil {
		return nil, false, err
	}
	there, err := r.find(pos)
	if err != nil {
		return nil, false, err
	}
	if !there {
		if r.ends[r.boot].Monotonic < pos.Monotonic {
			reason = "the journal ends before the last entry read"
		}
		gap = &journal.Gap{Boot: r.boot, From: pos.Realtime, Reason: reason}
	}
	if err := r.restore(); err != nil {
		return nil, false, err
	}
	on, err = r.head()
	if err != nil {
		return nil, false, err
	}
	on, err = r.skip(on, func(at journal.Position) bool { return pos.Covers(at.Monotonic, at.Realtime) })
	if gap != nil && on {
		at, _ := r.clocks() // the zero time if it cannot be read
		gap.To = at.Realtime
	}
	if gap == nil || on {
		delete(r.ends, r.boot)
	}
	return gap, on, err
}

// find looks through the boot for the entry of a position, by the clocks alone.
// libsystemd does not find every cursor whose entry is there: version 252 fails
// if the clock was set back and another file, without common sequence numbers,
// holds the entries before; later ones fail otherwise (systemd issue 31516).
func (r *Reader) find(pos journal.Position) (bool, error) {
	if err := r.match(r.boot); err != nil {
		return false, err
	}
	if err := r.j.SeekHead(); err != nil {
		return false, err
	}
	on, err := r.next()
	if err != nil {
		return false, err
	}
	if on, err = r.skip(on, isBefore(pos)); err != nil || !on {
		return false, err
	}
	at, err := r.clocks()
	return err == nil && at.Monotonic == pos.Monotonic && at.Realtime.Equal(pos.Realtime), nil
}

// skip goes on to the first entry that is not old.
func (r *Reader) skip(on bool, old func(at journal.Position) bool) (bool, error) {
	var err error
	for ; on; on, err = r.next() {
		at, unreadable := r.clocks()
		switch {
		case unreadable != nil:
			if err := r.passOver(unreadable); err != nil {
				return false, err
			}
		case !old(at):
			return true, nil
		}
	}
	return false, err
}

// isBefore returns a test whether an entry was logged before a position.
func isBefore(pos journal.Position) func(journal.Position) bool {
	return func(at journal.Position) bool { return !at.Covers(pos.Monotonic, pos.Realtime) }
}

// head goes to the first trusted entry of the boot. Seeking a time instead
// would miss entries where the clock was set back.
func (r *Reader) head() (on bool, err error) {
	if err := r.matchTrusted(r.boot); err != nil {
		return false, err
	}
	if err := r.j.SeekHead(); err != nil {
		return false, err
	}
	return r.next()
}

// takeEnd notes the newest entry of the boot, whoever wrote it. It is done
// before the boot is read, so that what is written meanwhile comes after it.
func (r *Reader) takeEnd() error {
	if err := r.match(r.boot); err != nil {
		return err
	}
	if err := r.j.SeekTail(); err != nil {
		return err
	}
	n, err := r.j.Previous()
	if err != nil || n == 0 {
		return r.stuck(err)
	}
	if end, err := r.place(); err == nil {
		r.ends[r.boot] = end
	}
	return nil
}

// leave notes how far the boot was read, while the journal still stands there.
func (r *Reader) leave() {
	if r.counted {
		r.done[r.boot], r.counted = r.here(), false
	}
}

// finish ends the reading of a boot. Its end becomes the position only if
// something trusted was ever read in it: under a wrong uid nothing is, and all
// of it is new once the uid is right. Nor is passed over what is held back, or
// may be in a file that turned out to be damaged.
func (r *Reader) finish() {
	r.leave()
	if r.opts.Anchor && (r.faults.any() || len(r.dropped()) > 0) {
		return
	}
	none := journal.Position{}
	end, taken := r.ends[r.boot]
	from, read := r.opts.From[r.boot], r.done[r.boot]
	if !taken || len(r.held) > 0 || end == from || from == none && read == none {
		return
	}
	if !read.Covers(end.Monotonic, end.Realtime) {
		r.done[r.boot] = end
	}
}

// here returns the position of the entry on which the journal stands. If that
// cannot be told, since libsystemd found a file damaged and let go of it and of
// the place in it, or goes back, since the entry is damaged, it is the last entry
// yielded; the clocks find that again.
func (r *Reader) here() journal.Position {
	p, err := r.place()
	if err != nil || p.Monotonic < r.last.Monotonic {
		return r.last
	}
	return p
}

func (r *Reader) place() (journal.Position, error) {
	p, err := r.clocks()
	if err == nil {
		p.Cursor, err = r.j.GetCursor()
	}
	return p, err
}

// clocks returns when the entry was logged on which the journal stands.
func (r *Reader) clocks() (journal.Position, error) {
	realtime, err := r.j.GetRealtimeUsec()
	if err != nil {
		return journal.Position{}, err
	}
	monotonic, err := r.j.GetMonotonicUsec()
	if err != nil {
		return journal.Position{}, err
	}
	return journal.Position{
		Realtime:  time.UnixMicro(int64(realtime)).UTC(),
		Monotonic: time.Duration(monotonic) * time.Microsecond,
	}, nil
}

// matchTrusted lets through what was received by syslog(3) from a process of
// the trusted uid, which journald takes from the kernel: every other field, the
// unit included, can be had by a local user. And it lets through where journald
// itself, whose transport nobody else has, says that it dropped messages.
//
// libsystemd looks for the last match first, which no other entry has.
func (r *Reader) matchTrusted(boot journal.Boot) error {
	if err := r.match(boot, "_TRANSPORT=syslog", "_UID="+strconv.Itoa(r.opts.UID)); err != nil {
		return err
	}
	if err := r.j.AddDisjunction(); err != nil {
		return err
	}
	return r.addMatches(boot, "_TRANSPORT=driver", "_UID=0", "MESSAGE_ID="+journal.SuppressionID)
}

// match lets through the entries of one boot that have all of these fields.
func (r *Reader) match(boot journal.Boot, fields ...string) error {
	r.j.FlushMatches()
	return r.addMatches(boot, fields...)
}

func (r *Reader) addMatches(boot journal.Boot, fields ...string) error {
	for _, field := range append([]string{"_BOOT_ID=" + boot.String()}, fields...) {
		if err := r.j.AddMatch(field); err != nil {
			return err
		}
	}
	return nil
}
