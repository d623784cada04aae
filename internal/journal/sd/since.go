//go:build cgo

package sd

import (
	"iter"
	"strconv"
	"time"

	"smtpban/internal/journal"
)

// Since yields what was written since a time: everything of the trusted uid that
// came by syslog(3), and whatever bears a tag of smtpd, postscreen or cleanup,
// whoever wrote it. Only entries with such a tag have a message. It is for a look
// at what there is: a clock that was set back may hide some. No more entries can
// be read after it.
func (r *Reader) Since(t time.Time) iter.Seq2[Written, error] {
	return func(yield func(Written, error) bool) {
		r.leave()
		r.boot = journal.Boot{}
		if err := r.seekSince(t); err != nil {
			yield(Written{}, err)
			return
		}
		for {
			on, err := r.next()
			if err != nil {
				yield(Written{}, err)
				return
			}
			if !on {
				return
			}
			w, err := r.written()
			if err != nil {
				if err := r.passOver(err); err != nil {
					yield(Written{}, err)
					return
				}
				continue
			}
			if !w.Time.Before(t) && !yield(w, nil) {
				return
			}
		}
	}
}

// seekSince lets through what Since yields, from the time on.
func (r *Reader) seekSince(t time.Time) error {
	if _, err := r.matchWriters(); err != nil {
		return err
	}
	if err := r.j.AddDisjunction(); err != nil {
		return err
	}
	for _, field := range []string{"_TRANSPORT=syslog", "_UID=" + strconv.Itoa(r.opts.UID)} {
		if err := r.j.AddMatch(field); err != nil {
			return err
		}
	}
	return r.j.SeekRealtimeUsec(uint64(t.UnixMicro()))
}

// written reads the entry on which the journal stands.
func (r *Reader) written() (Written, error) {
	tag, err := r.field("SYSLOG_IDENTIFIER")
	if err != nil {
		return Written{}, err
	}
	uid, err := r.field("_UID")
	if err != nil {
		return Written{}, err
	}
	transport, err := r.field("_TRANSPORT")
	if err != nil {
		return Written{}, err
	}
	var w Written
	if w.UID, err = strconv.Atoi(uid); err != nil {
		w.UID = -1 // the kernel's own have none
	}
	w.Trusted = w.UID == r.opts.UID && transport == "syslog"
	if journal.ClientFacing(tag) {
		w.Entry, err = r.line(tag)
		return w, err
	}
	at, err := r.clocks()
	w.Identifier, w.Time = tag, at.Realtime
	return w, err
}
