//go:build !cgo

package sd

import (
	"errors"
	"iter"
	"time"

	"smtpban/internal/journal"
)

var errNoCgo = errors.New("smtpban was built without cgo and cannot read the systemd journal (install gcc and libsystemd-dev and build with CGO_ENABLED=1)")

// Reader cannot exist without cgo.
type Reader struct{}

// Open always fails.
func Open(Options) (*Reader, error) { return nil, errNoCgo }

// Lookup always fails.
func Lookup(Options, []journal.Place) (map[journal.Place][]string, error) { return nil, errNoCgo }

// Boots is never called.
func (*Reader) Boots() []journal.Boot { return nil }

// Entries is never called.
func (*Reader) Entries() iter.Seq2[journal.Entry, error] {
	return func(yield func(journal.Entry, error) bool) { yield(journal.Entry{}, errNoCgo) }
}

// Positions is never called.
func (*Reader) Positions() (journal.Positions, error) { return nil, errNoCgo }

// Finished is never called.
func (*Reader) Finished() []byte { return nil }

// Writers is never called.
func (*Reader) Writers() (map[int]int, error) { return nil, errNoCgo }

// Since is never called.
func (*Reader) Since(time.Time) iter.Seq2[Written, error] {
	return func(yield func(Written, error) bool) { yield(Written{}, errNoCgo) }
}

// Close is never called.
func (*Reader) Close() error { return nil }
