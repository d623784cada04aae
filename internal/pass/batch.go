package pass

import (
	"time"

	"smtpban/internal/journal"
	"smtpban/internal/postfix"
)

// batch is what was read since the last commit.
type batch struct {
	entries  int
	findings []postfix.Finding
	shapes   Shapes
	gaps     []*journal.Gap // dated ones
	begin    time.Time
}

func newBatch() *batch { return &batch{shapes: Shapes{}, begin: time.Now()} }

// full reports whether it is time to commit.
func (b *batch) full() bool {
	return b.entries == batchEntries || b.entries%1000 == 0 && time.Since(b.begin) > batchTime
}
