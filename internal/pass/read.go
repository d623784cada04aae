// Package pass does the work of one run: it reads what is new in the log into
// the state, and draws the routes after the state.
package pass

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
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
// nothing. On an error, what was read before it is kept.
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
		bans, err := p.commit(events, positions)
		total.Bans = append(total.Bans, bans...)
		events, batch, begin = events[:0], 0, time.Now()
		return err
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
// transaction. It returns the new bans.
func (p Pass) commit(events []ban.Event, positions journal.Positions) (bans []ban.Ban, err error) {
	if len(events) == 0 && len(positions) == 0 {
		return nil, nil
	}
	err = p.Store.Update(func(tx *store.Tx) error {
		l := ledger{policy: p.Policy, tx: tx, clients: map[netip.Prefix]*ban.Client{}, bans: map[netip.Prefix]*sentence{}}
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
		if _, err := endExpired(tx, p.Now); err != nil {
			return err
		}
		return tx.PutLastCommit(p.Now)
	})
	return bans, err
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

// ledger holds the clients and bans that a batch touches.
type ledger struct {
	policy  ban.Policy
	tx      *store.Tx
	clients map[netip.Prefix]*ban.Client
	bans    map[netip.Prefix]*sentence
}

// sentence is a ban that may change before it is written.
type sentence struct {
	ban.Ban
	evidence []ban.Hit // of a new ban
	isNew    bool
	changed  bool
}

func (l *ledger) add(e ban.Event) error {
	prefix := l.policy.Client(e.Address)
	c, ok := l.clients[prefix]
	if !ok {
		known, err := l.tx.Client(prefix)
		if err != nil {
			return err
		}
		c = &known
		l.clients[prefix] = c
	}
	verdict, b, hits := l.policy.Add(c, e)
	switch verdict {
	case ban.Within:
		s, err := l.current(prefix)
		if err != nil {
			return err
		}
		if s != nil {
			// Not c.Failures: a late event may find the client at another tally.
			s.Failures++
			s.changed = true
		}
	case ban.Banned:
		if err := l.retire(prefix); err != nil {
			return err
		}
		l.bans[prefix] = &sentence{Ban: b, evidence: hits, isNew: true, changed: true}
	}
	return nil
}

// current returns the latest ban on the prefix, nil if there is none.
func (l *ledger) current(prefix netip.Prefix) (*sentence, error) {
	if s, ok := l.bans[prefix]; ok {
		return s, nil
	}
	b, ok, err := l.tx.Ban(prefix)
	if err != nil || !ok {
		return nil, err
	}
	s := &sentence{Ban: b}
	l.bans[prefix] = s
	return s, nil
}

// retire moves the latest ban on the prefix, which is over, to the history.
func (l *ledger) retire(prefix netip.Prefix) error {
	s, err := l.current(prefix)
	if err != nil || s == nil {
		return err
	}
	return l.tx.EndBan(s.Ban, s.Until, store.Expired)
}

// write stores what changed, in order of the keys, because bbolt is slow with
// many keys in random order, and returns the new bans that are in force.
func (l *ledger) write(now time.Time) (bans []ban.Ban, err error) {
	for _, prefix := range slices.SortedFunc(maps.Keys(l.clients), ban.ComparePrefix) {
		c := l.clients[prefix]
		if err := l.tx.PutClient(*c, l.policy.Due(*c)); err != nil {
			return nil, err
		}
	}
	for _, prefix := range slices.SortedFunc(maps.Keys(l.bans), ban.ComparePrefix) {
		s := l.bans[prefix]
		if !s.changed {
			continue
		}
		if err := l.tx.PutBan(s.Ban); err != nil {
			return nil, err
		}
		if !s.isNew {
			continue
		}
		if err := l.tx.PutEvidence(prefix, s.evidence); err != nil {
			return nil, err
		}
		if s.Active(now) {
			bans = append(bans, s.Ban)
		}
	}
	return bans, nil
}
