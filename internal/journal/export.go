package journal

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"strconv"
	"time"
)

var _ Input = (*Export)(nil)

// Export reads what journalctl -o export prints.
//
// The entries of one boot must stand in the order in which they were logged, as
// journalctl prints them, and each once; several boots may be mixed.
type Export struct {
	fields *exportFields
	uid    int
	from   Positions
	met    Positions     // the latest entry met of each boot, read before or not
	read   Positions     // how far each boot was read
	passed map[Boot]bool // the entry of the position it started from was met
	held   map[Boot][]item
}

// OpenExport reads export text from r. As with the journal itself only entries
// count that a process of this uid sent by syslog(3); without a trusted journald
// behind it the text is as trustworthy as whoever hands it over.
//
// The entries that a position in from covers are passed over. Where stamps are equal to the microsecond those up to the one with the
// position's cursor are old; without cursors all of them are.
func OpenExport(r io.Reader, uid int, from Positions) *Export {
	return &Export{
		fields: newExportFields(r),
		uid:    uid,
		from:   from,
		met:    Positions{},
		read:   Positions{},
		passed: map[Boot]bool{},
		held:   map[Boot][]item{},
	}
}

// Close does nothing: whoever opened the reader below closes it.
func (x *Export) Close() error { return nil }

// Positions returns how far each boot was read that has moved.
func (x *Export) Positions() (Positions, error) { return maps.Clone(x.read), nil }

// Entries yields the new entries of smtpd and postscreen, and a gap where
// journald dropped some of Postfix's. Malformed text, text that ends within an
// entry's field and text without any entry are errors; they name the byte at
// which the entry or field begins.
func (x *Export) Entries() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for n := 0; ; n++ {
			start := x.fields.offset
			raw, err := x.fields.entry()
			if err == io.EOF && n > 0 {
				return
			}
			if err == io.EOF {
				err = errors.New("no entry in it (not what journalctl -o export prints?)")
			}
			var i item
			var fresh bool
			if err == nil {
				i, fresh, err = x.judge(raw)
			}
			if err != nil {
				yield(Entry{}, fmt.Errorf("export text at byte %d: %w", start, err))
				return
			}
			if fresh && !x.tell(i, yield) {
				return
			}
		}
	}
}

// item is an entry of Postfix, or a gap of which one of journald's tells.
type item struct {
	Entry
	gap  *Gap
	here Position
}

// tell yields the item unless the entry is not ours. A gap before the first
// entry of Postfix is held back until that comes, with its position: under a
// wrong uid nothing must be passed over that is new once the uid is right.
func (x *Export) tell(i item, yield func(Entry, error) bool) bool {
	if _, read := x.read[i.Boot]; !read && i.gap != nil {
		x.held[i.Boot] = append(x.held[i.Boot], i)
		return true
	}
	for _, earlier := range x.held[i.Boot] {
		x.read[i.Boot] = earlier.here
		if !yield(Entry{}, earlier.gap) {
			return false
		}
	}
	delete(x.held, i.Boot)
	x.read[i.Boot] = i.here
	if i.gap != nil {
		return yield(Entry{}, i.gap)
	}
	return !ClientFacing(i.Identifier) || yield(i.Entry, nil)
}

// judge makes an item of the fields of an entry; fresh is false if it is not
// trusted, not ours, or was read before.
func (x *Export) judge(raw exportEntry) (i item, fresh bool, err error) {
	i.Time, err = raw.realtime()
	if err != nil {
		return item{}, false, err
	}
	suppression := raw["_TRANSPORT"] == "driver" && raw["_UID"] == "0" && raw["MESSAGE_ID"] == SuppressionID
	if !suppression && (raw["_TRANSPORT"] != "syslog" || raw["_UID"] != strconv.Itoa(x.uid)) {
		return item{}, false, nil
	}
	if i.Monotonic, err = raw.monotonic(); err != nil {
		return item{}, false, err
	}
	if i.Boot, err = ParseBoot(raw["_BOOT_ID"]); err != nil {
		return item{}, false, fmt.Errorf("field _BOOT_ID: %w", err)
	}
	if suppression {
		s := Suppression{Dropped: raw["N_DROPPED"], Unit: raw["OBJECT_SYSTEMD_UNIT"], UID: raw["OBJECT_UID"]}
		if i.gap = s.Gap(i.Boot, i.Time, x.uid); i.gap == nil {
			return item{}, false, nil
		}
	}
	i.here = Position{Cursor: raw["__CURSOR"], Realtime: i.Time, Monotonic: i.Monotonic}
	if last, ok := x.met[i.Boot]; ok && (last.isAfter(i.Entry) || i.here.Cursor != "" && i.here.Cursor == last.Cursor) {
		// What was read and what was not could not be told apart later. It is
		// refused at every run, so that nothing is lost without a word.
		return item{}, false, errors.New("the entry is not after the one before it in its boot (export without --reverse, and each entry once)")
	}
	x.met[i.Boot] = i.here
	i.Identifier = raw["SYSLOG_IDENTIFIER"]
	i.Message = raw["MESSAGE"]
	i.PID = raw.pid()
	return i, !x.isOld(i.Entry, i.here.Cursor), nil
}

// isOld reports whether the entry was read before this text was opened.
func (x *Export) isOld(e Entry, cursor string) bool {
	p, ok := x.from[e.Boot]
	if !ok || !p.Covers(e.Monotonic, e.Time) {
		return false
	}
	if p.isAfter(e) {
		return true
	}
	if x.passed[e.Boot] {
		return false
	}
	x.passed[e.Boot] = cursor != "" && cursor == p.Cursor
	return true
}

// isAfter reports whether p was taken later than e was logged, by the clocks.
func (p Position) isAfter(e Entry) bool {
	return p.Covers(e.Monotonic, e.Time) && (p.Monotonic != e.Monotonic || !p.Realtime.Equal(e.Time))
}

// exportEntry holds the fields of an entry that matter.
type exportEntry map[string]string

func (f exportEntry) realtime() (time.Time, error) {
	us, err := f.microseconds("__REALTIME_TIMESTAMP")
	return time.UnixMicro(us).UTC(), err
}

// monotonic returns 0 if the text does not say.
func (f exportEntry) monotonic() (time.Duration, error) {
	if _, ok := f["__MONOTONIC_TIMESTAMP"]; !ok {
		return 0, nil
	}
	us, err := f.microseconds("__MONOTONIC_TIMESTAMP")
	return time.Duration(us) * time.Microsecond, err
}

// microseconds reads a stamp that fits a time.Duration, which is 292 years.
func (f exportEntry) microseconds(name string) (int64, error) {
	value, ok := f[name]
	if !ok {
		return 0, fmt.Errorf("the entry has no %s", name)
	}
	us, err := strconv.ParseUint(value, 10, 63)
	if err != nil || us > math.MaxInt64/uint64(time.Microsecond) {
		return 0, fmt.Errorf("field %s: %q is no time in microseconds", name, value)
	}
	return int64(us), nil
}

// pid returns what the process says of itself, else what the kernel said, and 0
// if neither is a number.
func (f exportEntry) pid() int {
	pid, err := strconv.Atoi(f["SYSLOG_PID"])
	if err != nil {
		pid, _ = strconv.Atoi(f["_PID"])
	}
	return pid
}
