package pass

import (
	"net/netip"
	"time"

	"smtpban/internal/journal"
	"smtpban/internal/postfix"
)

// batch is what was read since the last commit.
type batch struct {
	entries  int
	findings []postfix.Finding
	clients  map[netip.Prefix]bool // whose state it may change
	shapes   Shapes
	gaps     []*journal.Gap // dated ones
	begin    time.Time
}

func newBatch() *batch {
	return &batch{clients: map[netip.Prefix]bool{}, shapes: Shapes{}, begin: time.Now()}
}

// full reports whether it is time to commit.
func (b *batch) full() bool {
	return b.entries == batchEntries || len(b.clients) >= batchClients ||
		b.entries%1000 == 0 && time.Since(b.begin) > batchTime
}
