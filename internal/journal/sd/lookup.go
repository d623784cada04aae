//go:build cgo

package sd

import (
	"errors"
	"strconv"

	"smtpban/internal/journal"
)

// Lookup returns the messages of the entries at the places, as far as they are
// still in the journal. Of opts the positions are not looked at.
func Lookup(opts Options, places []journal.Place) (map[journal.Place][]string, error) {
	r, err := open(opts)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	found := map[journal.Place][]string{}
	for _, p := range places {
		if _, known := found[p]; known {
			continue
		}
		messages, err := r.lookup(p)
		if err != nil {
			return nil, err
		}
		found[p] = messages
	}
	return found, nil
}

func (r *Reader) lookup(p journal.Place) (messages []string, err error) {
	r.boot = p.Boot
	if err := r.match(p.Boot, "_TRANSPORT=syslog", "_UID="+strconv.Itoa(r.opts.UID), "SYSLOG_IDENTIFIER="+p.Identifier); err != nil {
		return nil, err
	}
	if err := r.j.SeekRealtimeUsec(uint64(p.Time.UnixMicro())); err != nil {
		return nil, err
	}
	on, err := r.next()
	for ; on; on, err = r.next() {
		e, err := r.line(p.Identifier)
		if err != nil {
			if err := r.passOver(err); err != nil {
				return nil, err
			}
			continue
		}
		if e.Time.After(p.Time) {
			break
		}
		if e.Place() == p {
			messages = append(messages, e.Message)
		}
	}
	if errors.Is(err, errStuck) {
		return messages, r.reconnect()
	}
	return messages, err
}
