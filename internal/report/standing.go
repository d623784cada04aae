package report

import (
	"slices"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// Standing is how things stand, in numbers.
type Standing struct {
	Bans      int   // in force
	Protected int   // of these, those without effect because the client is protected
	Held      int   // of these, those held back
	Latest    []Ban // those that began last, the newest first

	// Since some time. Of the events, those of its hour are among them.
	Events, Counted int // of the log; events that count
	Begun, Ended    int // bans

	Lost []store.Gap // noticed since some time, in that order
}

// latest is how many of the bans are named.
const latest = 5

// NewStanding returns how things stand at now: what happened since a time, such as
// the beginning of the day, and what was lost of the log since another one.
func NewStanding(tx *store.Tx, never ban.NeverBan, since, lost, now time.Time) (s Standing, err error) {
	for b, err := range bans(tx, never, now) {
		if err != nil {
			return Standing{}, err
		}
		s.add(b, since)
	}
	for x, err := range tx.History() {
		if err != nil {
			return Standing{}, err
		}
		if !x.At.Before(since) {
			s.Ended++
		}
		if !x.Start.Before(since) {
			s.Begun++
		}
	}
	seen, err := seenSince(tx, since)
	if err != nil {
		return Standing{}, err
	}
	for _, c := range seen {
		if c.Class != ban.Login {
			s.Events += c.Events
			s.Counted += c.Counted
		}
	}
	s.Lost, err = gapsSince(tx, lost)
	return s, err
}

func (s *Standing) add(b Ban, since time.Time) {
	s.Bans++
	switch {
	case b.Held:
		s.Held++
	case len(b.Targets) == 0:
		s.Protected++
	}
	if !b.Start.Before(since) {
		s.Begun++
	}
	if len(s.Latest) == latest && !b.Start.After(s.Latest[latest-1].Start) {
		return
	}
	s.Latest = append(s.Latest, b)
	slices.SortStableFunc(s.Latest, func(a, b Ban) int { return b.Start.Compare(a.Start) })
	s.Latest = s.Latest[:min(len(s.Latest), latest)]
}
