// Package pass does the work of one run: it reads what is new in the log into
// the state, and draws the routes after the state.
package pass

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
	"smtpban/internal/postfix"
	"smtpban/internal/store"
)

// A batch is committed after so many entries or so much time, so that a run
// over a huge journal that is cut short has not worked in vain.
const (
	batchEntries = 50_000
	batchTime    = 2 * time.Second
)

// maxAhead is how far ahead of now an entry's time may lie. One further ahead
// was written under a clock gone wrong, and counts as if it were written now.
const maxAhead = 24 * time.Hour

// Read is what reading the log brought.
type Read struct {
	Entries int            // of smtpd and postscreen, new since the last run
	Events  int            // those of them that tell of abuse
	Bans    []ban.Ban      // new ones that are still in force
	Expired []ban.Ban      // earlier ones whose time is over
	Gaps    []*journal.Gap // not told of before
}

// Pass is one run. The caller holds the store's lock.
type Pass struct {
	Store  *store.Store
	Policy ban.Policy
	Now    time.Time
}

// Read brings what is new in the input into the state: each batch of entries
// in one transaction together with its position. If nothing is new it writes
// nothing. On an error of the input, what was read before it is kept.
func (p Pass) Read(in journal.Input) (Read, error) {
	var (
		total  Read
		events []ban.Event
		batch  int
		begin  = time.Now()
	)
	commit := func() error {
		positions, err := in.Positions()
		if err != nil {
			return err
		}
		bans, expired, err := p.commit(events, positions)
		if err != nil {
			return err
		}
		total.Bans = append(total.Bans, bans...)
		total.Expired = append(total.Expired, expired...)
		events, batch, begin = events[:0], 0, time.Now()
		return nil
	}
	for e, err := range in.Entries() {
		var gap *journal.Gap
		if errors.As(err, &gap) {
			total.Gaps = append(total.Gaps, gap)
			continue
		}
		if err != nil {
			err = errors.Join(err, commit())
			return total, err
		}
		total.Entries++
		batch++
		if event, ok := postfix.Parse(e); ok {
			if event.Time.After(p.Now.Add(maxAhead)) {
				event.Time = p.Now
			}
			total.Events++
			events = append(events, event)
		}
		if batch == batchEntries || batch%1000 == 0 && time.Since(begin) > batchTime {
			if err := commit(); err != nil {
				return total, err
			}
		}
	}
	if err := commit(); err != nil {
		return total, err
	}
	var err error
	total.Gaps, err = p.onlyNews(total.Gaps)
	return total, err
}

// commit judges the events and stores the outcome and the positions in one
// transaction. It returns the new bans in force and the earlier ones that are
// over; a ban that is both new and over is only for the history.
func (p Pass) commit(events []ban.Event, positions journal.Positions) (bans, expired []ban.Ban, err error) {
	if len(events) == 0 && len(positions) == 0 {
		return nil, nil, nil
	}
	err = p.Store.Update(func(tx *store.Tx) error {
		l, err := openLedger(p.Policy, tx)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := l.add(e); err != nil {
				return err
			}
		}
		if bans, err = l.write(p.Now); err != nil {
			return err
		}
		if err := putPositions(tx, positions); err != nil {
			return err
		}
		if expired, err = endExpired(tx, p.Now); err != nil {
			return err
		}
		expired = slices.DeleteFunc(expired, func(b ban.Ban) bool { return l.isNew(b.Prefix) })
		expired = append(expired, l.expired...)
		return tx.PutLastCommit(p.Now)
	})
	return bans, expired, err
}

// Positions returns how far each boot was read, as the readers want it.
func Positions(s *store.Store) (journal.Positions, error) {
	positions := journal.Positions{}
	err := s.View(func(tx *store.Tx) error {
		values, err := tx.Positions()
		if err != nil {
			return err
		}
		for boot, value := range values {
			var p journal.Position
			if err := p.UnmarshalBinary(value); err != nil {
				return fmt.Errorf("boot %v: %w", journal.Boot(boot), err)
			}
			positions[boot] = p
		}
		return nil
	})
	return positions, err
}
