// Package journal holds what smtpban reads: entries, where they stand and what
// could not be read, and the readers of the two text inputs, journalctl's
// export format and a syslog file (maillog). The systemd journal itself is read
// by package sd below it, so that everything else builds without cgo.
package journal

import (
	"encoding/hex"
	"fmt"
	"iter"
	"strings"
	"time"
)

// Boot is the id of the boot an entry was written in, journald's _BOOT_ID. The
// zero Boot stands for inputs that know no boots, such as a maillog.
type Boot [16]byte

// ParseBoot reads the 32 hexadecimal digits of a _BOOT_ID field.
func ParseBoot(s string) (Boot, error) {
	var b Boot
	if len(s) != hex.EncodedLen(len(b)) {
		return Boot{}, fmt.Errorf("boot id %q: want 32 hexadecimal digits", s)
	}
	if _, err := hex.Decode(b[:], []byte(s)); err != nil {
		return Boot{}, fmt.Errorf("boot id %q: %w", s, err)
	}
	return b, nil
}

// String returns the id as journald writes it.
func (b Boot) String() string { return hex.EncodeToString(b[:]) }

// Entry is one log line of one process.
type Entry struct {
	Boot       Boot
	Time       time.Time     // when it was logged, by the wall clock; UTC, microseconds
	Monotonic  time.Duration // since the boot; never runs backwards within one; 0 if unknown
	Identifier string        // syslog tag without the pid: postfix/submission/smtpd
	PID        int           // 0 if unknown
	Message    string
}

// ClientFacing reports whether the process with this syslog tag talks to SMTP
// clients: smtpd or postscreen, of whichever instance (postfix/smtpd,
// postfix/submission/smtpd, postfix-out/postscreen), or cleanup, which tells
// what a milter made of a whole message. Only its entries are read.
func ClientFacing(identifier string) bool {
	return strings.HasSuffix(identifier, "/smtpd") || strings.HasSuffix(identifier, "/postscreen") ||
		strings.HasSuffix(identifier, "/cleanup")
}

// Input is an open place to read entries from: the systemd journal, export
// text, or a maillog.
type Input interface {
	// Entries yields every entry after the positions the input was opened
	// with, each once, oldest boot first. It can be ranged over once. A
	// yielded *Gap tells of entries that cannot be read any more and does
	// not end the iteration; any other error does.
	Entries() iter.Seq2[Entry, error]

	// Positions returns where to go on, for every boot that has moved since
	// the input was opened. It covers just the entries yielded so far, so
	// that it may be asked between two of them.
	Positions() (Positions, error)

	Close() error
}

// Gap is a stretch of the journal that was written but cannot be read any more.
type Gap struct {
	Boot     Boot
	From, To time.Time // last entry read before it, first one after it; zero if not known
	Lost     int       // messages, 0 if it is not known how many
	Reason   string    // for people
}

// Undated reports whether it is not known when anything of the gap was written,
// as of a damaged file. Such a gap is found at every reading, another one only
// once, since the position moves beyond it.
func (g *Gap) Undated() bool { return g.From.IsZero() && g.To.IsZero() }

func (g *Gap) Error() string {
	lost := "entries"
	if g.Lost > 0 {
		lost = fmt.Sprintf("%d messages", g.Lost)
	}
	switch from, to := g.From.UTC().Format(time.RFC3339), g.To.UTC().Format(time.RFC3339); {
	case g.Undated():
	case g.From.IsZero():
		lost += " up to " + to
	case g.To.IsZero():
		lost += " between " + from + " and now"
	default:
		lost += " between " + from + " and " + to
	}
	if g.Lost > 0 {
		return lost + " are lost: " + g.Reason
	}
	return lost + " may be lost: " + g.Reason
}
