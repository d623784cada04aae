//go:build cgo

package sd

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/sdjournal"

	"smtpban/internal/journal"
)

var _ journal.Input = (*Reader)(nil)

// maxBad is how many unreadable places a run passes over before it gives up.
const maxBad = 100

// Reader reads the systemd journal. It must be opened, used and closed by one
// goroutine, which Open locks to its thread: libsystemd lets a journal be used
// by one thread only.
//
// Each boot is read by itself, under a match on its id. Read together, the
// journal is in the order of its wall clock where sequence numbers do not
// decide, and a clock set back across a reboot hides the later boot from
// whoever stands at the end of the earlier one. Within a boot the monotonic
// clock orders it, and a cursor finds its place.
type Reader struct {
	j      *sdjournal.Journal
	fields fields // of j's entries
	opts   Options
	faults *faults
	boots  []journal.Boot // the first to be read first
	gaps   []*journal.Gap // known, not yielded yet
	lost   bool           // no boot that was read before is left

	passed map[uint64]bool   // hashes of files that are not opened, see Finished; nil if all are
	files  map[fileID]string // that the journal consists of, but for those
	open   map[int]fileID    // those that j has open, by its descriptors
	shut   map[fileID]bool   // those that it has not
	told   map[string]bool   // names of the damaged ones

	boot    journal.Boot      // the one being read
	gap     *journal.Gap      // between what was read of it before and what there is now, yielded
	counted bool              // j stands on an entry of it that counts as read
	last    journal.Position  // the last entry yielded of it, without its cursor
	hole    *journal.Gap      // unreadable entries since, not yielded yet
	held    []suppressed      // gaps that wait for a trusted entry
	bad     int               // unreadable places so far
	ends    journal.Positions // newest entry of a boot, taken before it was read
	done    journal.Positions // how far each boot was read

	complete bool // all was read to its end
	waits    bool // something was held back at the end of a boot
}

// Open opens the journal. It fails with ErrNoJournal where there is none, and
// with ErrPermission if not all of it may be read.
func Open(opts Options) (*Reader, error) {
	r, err := open(opts)
	if err != nil {
		return nil, err
	}
	if err := r.survey(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// open returns a reader that knows nothing yet of what there is to be read.
func open(opts Options) (*Reader, error) {
	names, err := opts.find()
	if err != nil {
		return nil, err
	}
	passed := opts.passOver(names)
	files, err := opts.checkReadable(names, passed)
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	faults, err := watchFaults()
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	r := &Reader{opts: opts, faults: faults, passed: passed, files: files, told: map[string]bool{}, ends: journal.Positions{}, done: journal.Positions{}}
	if err := r.connect(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// survey finds out which boots there are.
func (r *Reader) survey() (err error) {
	r.boots, err = r.listBoots()
	for errors.Is(err, errStuck) {
		if err := r.reconnect(); err != nil {
			return err
		}
		r.boots, err = r.listBoots()
	}
	if r.passed != nil && (errors.Is(err, errHidden) || err == nil && !slices.ContainsFunc(r.boots, r.isKnown)) {
		return r.openEverything()
	}
	if err != nil {
		return fmt.Errorf("listing the boots in the journal: %w", err)
	}
	if len(r.boots) == 0 {
		return fmt.Errorf("%w: no entry in %s", ErrNoJournal, r.opts.place())
	}
	r.hole = nil // what was found on the way is found again where it matters
	r.checkLost()
	return nil
}

// connect opens the journal, under no match and nowhere in it.
//
// libsystemd first lists the files and then opens them. One that journald renames
// in between, because it begins a new one, is missed, and its entries would be
// passed over for good by whoever goes on to those of the new one. So the journal
// is opened again until the files are the same before and after, and none with
// entries is missing that was not missing the time before: those that still are
// cannot be opened.
func (r *Reader) connect() error {
	for before, tries := "", 0; ; tries++ {
		if err := r.openJournal(); err != nil {
			return err
		}
		names, err := r.opts.find()
		if err != nil {
			return err
		}
		files, err := r.opts.checkReadable(names, r.passed)
		if err != nil {
			return err
		}
		same := maps.Equal(files, r.files)
		r.files = files
		r.look()
		missing := strings.Join(r.unopened(), "\n")
		if same && missing == before || tries == maxOpenings {
			return nil
		}
		before = missing
		if err := r.j.Close(); err != nil {
			return err
		}
		r.j = nil
	}
}

// maxOpenings is how often the journal is opened again because its files change.
const maxOpenings = 20

func (r *Reader) openJournal() (err error) {
	switch {
	case r.passed != nil:
		r.j, err = sdjournal.NewJournalFromFiles(slices.Sorted(maps.Values(r.files))...)
		if err != nil {
			r.passed = nil
			return r.openJournal()
		}
	case len(r.opts.Files) > 0:
		r.j, err = r.openFiles()
	case r.opts.Directory != "":
		r.j, err = sdjournal.NewJournalFromDir(r.opts.Directory)
	default:
		r.j, err = sdjournal.NewJournal()
	}
	var errno syscall.Errno
	if err != nil && !errors.As(err, &errno) {
		return fmt.Errorf("loading libsystemd: %w (install the package libsystemd0)", err)
	}
	if err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	r.fields.of(r.j)
	return r.look()
}

// Close closes the journal and lets the goroutine change threads again. To
// close it once more does nothing.
func (r *Reader) Close() (err error) {
	if r.faults == nil {
		return nil
	}
	if r.j != nil {
		err = r.j.Close()
	}
	r.faults.unwatch()
	r.j, r.faults = nil, nil
	runtime.UnlockOSThread()
	return err
}

// Entries yields the entries that smtpd and postscreen wrote under the trusted
// uid after the positions the journal was opened with, and a gap where journald
// dropped some of Postfix's.
func (r *Reader) Entries() iter.Seq2[journal.Entry, error] {
	return func(yield func(journal.Entry, error) bool) {
		if !r.tellDamage(yield) {
			return
		}
		for i := 0; i < len(r.boots); i++ {
			boot := r.boots[i]
			more, err := r.readBoot(boot, yield)
			if errors.Is(err, errHidden) {
				if err = r.openEverything(); err == nil {
					i = -1 // what was read of other boots is not read again
					continue
				}
			}
			if (more || err != nil) && !r.tellDamage(yield) {
				return
			}
			if err != nil {
				yield(journal.Entry{}, fmt.Errorf("reading the journal of boot %s: %w", boot, err))
				return
			}
			if !more {
				return
			}
		}
		r.checkUnopened()
		r.complete = r.tellDamage(yield)
	}
}

// readBoot yields what is new in one boot. It returns false if the caller wants
// no more.
func (r *Reader) readBoot(boot journal.Boot, yield func(journal.Entry, error) bool) (more bool, err error) {
	r.boot, r.last, r.gap = boot, r.opts.From[boot], nil
	if err := r.restore(); err != nil {
		return false, err
	}
	more, err = r.readOn(yield)
	for errors.Is(err, errStuck) {
		if err := r.reconnect(); err != nil {
			return false, err
		}
		more, err = r.readOn(yield)
	}
	return more, err
}

// readOn yields what is new in the boot since it was read last.
func (r *Reader) readOn(yield func(journal.Entry, error) bool) (more bool, err error) {
	r.held = nil
	gap, on, err := r.resume()
	if err != nil {
		return false, err
	}
	if gap != nil && r.gap == nil {
		if r.gap = gap; !yield(journal.Entry{}, gap) {
			return false, nil
		}
	}
	for ; on; on, err = r.step() {
		e, kind, err := r.entry()
		if err != nil {
			r.counted = true
			if err := r.passOver(err); err != nil {
				return false, err
			}
			continue
		}
		if r.hole != nil {
			at, _ := r.clocks() // the zero time if not even that can be read
			if !r.yieldHole(at.Realtime, yield) {
				return false, nil
			}
		}
		if kind == journald {
			if more, err := r.suppression(yield); err != nil || !more {
				return more, err
			}
			continue
		}
		if !r.yieldHeld(yield) {
			return false, nil
		}
		r.counted = true
		if kind == others {
			continue
		}
		r.last = journal.Position{Realtime: e.Time, Monotonic: e.Monotonic}
		if !yield(e, nil) {
			return false, nil
		}
	}
	if err != nil {
		return false, err
	}
	if r.hole != nil && !r.yieldHole(time.Time{}, yield) {
		return false, nil
	}
	r.waits = r.waits || len(r.held) > 0
	r.finish()
	return true, nil
}

func (r *Reader) yieldHole(to time.Time, yield func(journal.Entry, error) bool) bool {
	hole := r.hole
	r.hole, hole.To = nil, to
	return yield(journal.Entry{}, hole)
}

// errStuck means that libsystemd would fail for ever, in the same place: it has
// found an entry and cannot read it any more. Once the journal is opened anew it
// finds the damage in time.
var errStuck = errors.New("stuck")

// next goes to the next entry. The error is errStuck or the last one.
func (r *Reader) next() (on bool, err error) {
	n, err := r.j.Next()
	return n == 1, r.stuck(err)
}

// step goes to the next entry, which is about to be read.
func (r *Reader) step() (on bool, err error) {
	if r.fields.handle == nil {
		return r.next()
	}
	on, err = r.fields.next()
	return on, r.stuck(err)
}

// stuck passes over the place where moving on failed.
func (r *Reader) stuck(cause error) error {
	if cause == nil {
		return nil
	}
	if err := r.passOver(cause); err != nil {
		return err
	}
	return fmt.Errorf("%w: %w", errStuck, cause)
}

// passOver notes a place that cannot be read, and the position there, since the
// gap is yielded only when the journal stands on the entry after it, which does
// not count as read then. It returns cause if there were too many such places.
func (r *Reader) passOver(cause error) error {
	r.leave()
	if r.hole == nil {
		r.hole = &journal.Gap{Boot: r.boot, From: r.last.Realtime, Reason: "unreadable entries: " + cause.Error()}
	}
	if r.bad++; r.bad > maxBad {
		return fmt.Errorf("%w (more than %d unreadable places; see journalctl --verify)", cause, maxBad)
	}
	return nil
}

// The kinds of entries that are let through.
type kind int

const (
	clientFacing kind = iota // of smtpd or postscreen
	others                   // of Postfix, too
	journald                 // not of Postfix, but perhaps about it
)

// entry reads the entry on which the journal stands, if it is a client-facing
// one. The tag is asked for first, since most entries end there, and each field
// costs a walk over all of them.
func (r *Reader) entry() (journal.Entry, kind, error) {
	if e, ok := r.fields.take(r.boot); ok {
		if e.Message == "" {
			return journal.Entry{}, others, nil
		}
		return e, clientFacing, nil
	}
	tag, err := r.field("SYSLOG_IDENTIFIER")
	if tag == "" && err == nil {
		// Of a damaged entry libsystemd finds the fields that are whole, and
		// mail_owner owns no processes but Postfix's, which have a tag: see
		// postconf(5). So has journald.
		err = errors.New("an entry of Postfix without SYSLOG_IDENTIFIER")
	}
	if err != nil {
		return journal.Entry{}, others, err
	}
	if tag == journal.Journald {
		transport, err := r.field("_TRANSPORT")
		if transport == "driver" {
			return journal.Entry{}, journald, err
		}
		return journal.Entry{}, others, err
	}
	if !journal.ClientFacing(tag) {
		return journal.Entry{}, others, nil
	}
	e, err := r.line(tag)
	return e, clientFacing, err
}

// line reads the rest of a client-facing entry.
func (r *Reader) line(tag string) (journal.Entry, error) {
	message, err := r.field("MESSAGE")
	if message == "" && err == nil {
		err = errors.New("an entry of smtpd or postscreen without MESSAGE")
	}
	if err != nil {
		return journal.Entry{}, err
	}
	pid, err := r.field("SYSLOG_PID")
	if pid == "" && err == nil {
		pid, err = r.field("_PID")
	}
	if err != nil {
		return journal.Entry{}, err
	}
	at, err := r.clocks()
	if err != nil {
		return journal.Entry{}, err
	}
	e := journal.Entry{Boot: r.boot, Time: at.Realtime, Monotonic: at.Monotonic, Identifier: tag, Message: message}
	e.PID, _ = strconv.Atoi(pid) // whoever logs without a pid has none
	return e, nil
}

// field returns the value of a field, "" if the entry has no such field.
func (r *Reader) field(name string) (string, error) {
	data, err := r.j.GetDataBytes(name)
	if errors.Is(err, syscall.ENOENT) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("field %s: %w", name, err)
	}
	_, value, _ := bytes.Cut(data, []byte("="))
	if bytes.IndexByte(value, 0) >= 0 {
		// syslog(3) sends none, but pages that never reached the disk are zero.
		return "", fmt.Errorf("field %s: zeros in it", name)
	}
	return string(value), nil
}

// Positions returns how far each boot was read that has moved. An entry that is
// not of smtpd or postscreen counts as read too, so that it is not read again.
func (r *Reader) Positions() (journal.Positions, error) {
	all := maps.Clone(r.done)
	if r.counted {
		all[r.boot] = r.here()
	}
	return all, nil
}
