//go:build cgo

package sd

import "smtpban/internal/journal"

// suppressed is a gap of which journald tells, and where it does.
type suppressed struct {
	gap  *journal.Gap
	here journal.Position
}

// suppression yields the gap of which the entry tells on which the journal
// stands. If no trusted entry was read before it, it is held back until one
// comes: under a wrong uid the position must not move, since all is new once
// the uid is right. journald writes the two one after the other.
func (r *Reader) suppression(yield func(journal.Entry, error) bool) (more bool, err error) {
	gap, err := r.suppressed()
	if err != nil {
		return true, r.passOver(err)
	}
	switch {
	case gap == nil:
		return true, nil
	case r.counted:
		return yield(journal.Entry{}, gap), nil
	}
	r.held = append(r.held, suppressed{gap, r.here()})
	return true, nil
}

// suppressed reads the entry of journald on which the journal stands. The gap
// is nil if it is not about Postfix.
func (r *Reader) suppressed() (*journal.Gap, error) {
	var s journal.Suppression
	for name, value := range map[string]*string{"N_DROPPED": &s.Dropped, "OBJECT_SYSTEMD_UNIT": &s.Unit, "OBJECT_UID": &s.UID} {
		var err error
		if *value, err = r.field(name); err != nil {
			return nil, err
		}
	}
	at, err := r.clocks()
	if err != nil {
		return nil, err
	}
	return s.Gap(r.boot, at.Realtime, r.opts.UID), nil
}

// yieldHeld yields what was held back.
func (r *Reader) yieldHeld(yield func(journal.Entry, error) bool) bool {
	for _, s := range r.held {
		r.done[r.boot] = s.here
		if !yield(journal.Entry{}, s.gap) {
			return false
		}
	}
	r.held = nil
	return true
}
