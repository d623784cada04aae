package journal

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"
)

var _ Input = (*Maillog)(nil)

// maxLine is the length of the longest line that is looked at. Postfix cuts its
// messages far below.
const maxLine = 64 << 10

// lineHash tells a line from another one with the same stamp.
type lineHash [8]byte

// Maillog reads a log file as syslog daemons write it.
//
// Lines must be in the order of their stamps, and none may be more than a year
// old where the stamps have no year. A line stamped with a year and more than a
// minute after now, under a clock gone wrong, is left for the run whose time has
// come: as a position it would silence all lines until then. Nothing vouches for
// who wrote them: use the journal where there is one.
type Maillog struct {
	r     *bufio.Reader
	clock maillogClock

	from time.Time        // stamp of the last line read before
	old  map[lineHash]int // how many lines of that stamp were read before, by hash

	latest time.Time  // the latest stamp read
	hashes []lineHash // of the lines that bear it, in order
	moved  bool
}

// OpenMaillog reads log lines from r; loc is the time zone of the machine that
// wrote them. Stamps without a year are taken for the latest year in which they
// are not in the future.
//
// The position in from is that of the zero Boot. Lines with its stamp that are
// not among those it names are new, so that a file may grow within a second.
func OpenMaillog(r io.Reader, now time.Time, loc *time.Location, from Positions) *Maillog {
	p := from[Boot{}]
	m := &Maillog{
		r:      bufio.NewReaderSize(r, maxLine),
		clock:  maillogClock{now: now, loc: loc},
		from:   p.Realtime,
		old:    map[lineHash]int{},
		latest: p.Realtime,
		hashes: splitHashes(p.Cursor),
	}
	for _, h := range m.hashes {
		m.old[h]++
	}
	return m
}

// Close does nothing: whoever opened the reader below closes it.
func (m *Maillog) Close() error { return nil }

// Positions returns the latest stamp read and the hashes of the lines of smtpd
// and postscreen that bear it, for the zero Boot.
func (m *Maillog) Positions() (Positions, error) {
	if !m.moved {
		return Positions{}, nil
	}
	var cursor strings.Builder
	for _, h := range m.hashes {
		cursor.Write(h[:])
	}
	return Positions{Boot{}: {Cursor: cursor.String(), Realtime: m.latest}}, nil
}

// Entries yields the new lines of smtpd and postscreen. Lines that are no log
// lines are passed over, but if there are only such, that is an error.
func (m *Maillog) Entries() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		some, understood := false, false
		for {
			line, err := m.line()
			if err == io.EOF {
				break
			}
			if err != nil {
				yield(Entry{}, fmt.Errorf("reading the maillog: %w", err))
				return
			}
			some = true
			e, ok := m.clock.parse(line)
			understood = understood || ok
			if !ok || m.clock.isAhead(e.Time) || !ClientFacing(e.Identifier) || !m.advance(e.Time, line) {
				continue
			}
			if !yield(e, nil) {
				return
			}
		}
		if some && !understood {
			yield(Entry{}, errors.New("reading the maillog: not one line has the form of a log line (not a syslog file?)"))
		}
	}
}

// advance moves the position over a line and reports whether the line is new.
func (m *Maillog) advance(stamp time.Time, line string) bool {
	if stamp.Before(m.from) {
		return false
	}
	sum := sha256.Sum256([]byte(line))
	hash := lineHash(sum[:])
	if stamp.Equal(m.from) && m.old[hash] > 0 {
		m.old[hash]--
		return false
	}
	switch {
	case stamp.After(m.latest):
		m.latest, m.hashes = stamp, []lineHash{hash}
	case stamp.Equal(m.latest):
		m.hashes = append(m.hashes, hash)
	}
	m.moved = true
	return true
}

// splitHashes reads the cursor of a maillog's position.
func splitHashes(cursor string) []lineHash {
	var hashes []lineHash
	for h := range slices.Chunk([]byte(cursor), len(lineHash{})) {
		if len(h) == len(lineHash{}) {
			hashes = append(hashes, lineHash(h))
		}
	}
	return hashes
}

// line returns the next line without its end, "" for one that is too long, and
// io.EOF where none is left.
func (m *Maillog) line() (string, error) {
	line, err := m.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		for err == bufio.ErrBufferFull {
			_, err = m.r.ReadSlice('\n')
		}
		return "", err
	}
	if err == io.EOF && len(line) > 0 {
		err = nil
	}
	return strings.TrimRight(string(line), "\r\n"), err
}
