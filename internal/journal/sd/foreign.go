//go:build cgo

package sd

import (
	"fmt"
	"strconv"

	"smtpban/internal/journal"
)

// Writers counts, for each uid, the entries that bear a tag of smtpd or
// postscreen, over all boots and transports. Where nothing trusted is found it
// tells whether Postfix runs under another uid, or somebody pretends to be
// Postfix. It moves the place in the journal, so that no more entries can be
// read after it.
func (r *Reader) Writers() (map[int]int, error) {
	r.leave()
	count := map[int]int{}
	// No match at all would let everything through.
	if matched, err := r.matchWriters(); err != nil || !matched {
		return count, err
	}
	if err := r.j.SeekHead(); err != nil {
		return nil, err
	}
	for {
		on, err := r.next()
		if err != nil || !on {
			return count, err
		}
		value, err := r.field("_UID")
		if err != nil {
			return nil, err
		}
		if uid, err := strconv.Atoi(value); err == nil {
			count[uid]++
		}
	}
}

// matchWriters lets through the entries that bear a tag of smtpd, postscreen or
// cleanup, and reports whether there is any such tag in the journal.
func (r *Reader) matchWriters() (matched bool, err error) {
	tags, err := r.j.GetUniqueValues("SYSLOG_IDENTIFIER")
	if err != nil {
		return false, fmt.Errorf("listing the syslog tags in the journal: %w", err)
	}
	r.j.FlushMatches()
	for _, tag := range tags {
		if !journal.ClientFacing(tag) {
			continue
		}
		if err := r.j.AddMatch("SYSLOG_IDENTIFIER=" + tag); err != nil {
			return false, err
		}
		matched = true
	}
	return matched, nil
}
