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
// over a huge journal that is cut short has not worked in vain; and after so many
// clients, since each may change several pages of the state, which are held in
// memory until the commit.
const (
	batchEntries = 50_000
	batchTime    = 2 * time.Second
	batchClients = 250
)

// maxTold is how many bans a run can tell of one by one. Beyond them it counts:
// memory must not depend on how many attack.
const maxTold = 10_000

// maxAhead is how far ahead of now an entry's time may lie, or of the last commit
// where the clock is behind it. One further ahead was written under a clock gone
// wrong, and counts as if it were written then.
const maxAhead = 24 * time.Hour

// Read is what reading the log brought.
type Read struct {
	Entries int            // of smtpd, postscreen and cleanup, new since the last run
	First   time.Time      // when the first of them was written
	Events  int            // failures that count, some of several entries, some of one together
	Bans    []ban.Ban      // new ones that are still in force
	Held    []ban.Ban      // those held back from now on, new or not
	Cause   Cause          // of that, if it is new, otherwise zero
	Expired []ban.Ban      // earlier ones whose time is over, of clients that failed again
	Gaps    []*journal.Gap // not known before

	MoreBans, MoreExpired int // beyond the first ten thousand of each
}

// Changed reports whether a ban has begun, ended, or is held back from now on.
func (r Read) Changed() bool { return len(r.Bans)+len(r.Held)+len(r.Expired) > 0 }

// Pass is one run. The caller holds the store's lock.
type Pass struct {
	Store  *store.Store
	Policy ban.Policy
	Limits ban.Limits // of the routes
	Now    time.Time

	Hold    bool // bans back that an outage of the authentication explains
	Believe bool // Now, however far from the last commit it is; see CheckClock
}

// Read brings what is new in the input into the state: each batch of entries
// and gaps in one transaction together with its position. If nothing is new it
// writes nothing. On an error of the input, what was read before it is kept.
func (p Pass) Read(in journal.Input) (Read, error) {
	r := reading{Pass: p, in: in, batch: newBatch()}
	for e, err := range in.Entries() {
		if gap, ok := asGap(err); ok {
			r.gap(gap)
			continue
		}
		if err == nil {
			err = r.entry(e)
		}
		if err != nil {
			err = errors.Join(err, r.commit(), r.commitDamage())
			return r.total, err
		}
		if r.batch.full() {
			if err := r.commit(); err != nil {
				return r.total, err
			}
		}
	}
	err := errors.Join(r.commit(), r.commitDamage())
	return r.total, err
}

// asGap returns the gap of which an input tells. Mostly there is no error, and
// nothing is allocated then.
func asGap(err error) (gap *journal.Gap, ok bool) {
	if err == nil {
		return nil, false
	}
	ok = errors.As(err, &gap)
	return gap, ok
}

// reading is a Read on its way.
type reading struct {
	Pass
	in       journal.Input
	sessions *postfix.Sessions // nil until there is an entry
	latest   time.Time         // see Pass.latest; known then, too
	batch    *batch
	damage   []*journal.Gap // undated ones
	total    Read
}

func (r *reading) gap(g *journal.Gap) {
	if g.Undated() {
		r.damage = append(r.damage, g)
		return
	}
	r.batch.gaps = append(r.batch.gaps, g)
}

func (r *reading) entry(e journal.Entry) (err error) {
	if r.sessions == nil {
		if r.sessions, r.latest, err = r.Pass.begin(e.Time); err != nil {
			return err
		}
	}
	if e.Time.After(r.latest.Add(maxAhead)) {
		e.Time = r.latest
	}
	if r.total.Entries == 0 {
		r.total.First = e.Time
	}
	r.total.Entries++
	r.batch.entries++
	line := postfix.Parse(e)
	if line.Unknown {
		r.batch.shapes.Add(e)
	}
	found := r.sessions.Add(e, line)
	if found.Times == 0 && found.Fault.IsZero() {
		return nil
	}
	if r.Policy.Weight(found.Event.Class, found.Event.Service) > 0 {
		r.total.Events += found.Times
		r.batch.clients[r.Policy.Client(found.Event.Address)] = true
	}
	r.batch.findings = append(r.batch.findings, found)
	return nil
}

// commit judges the findings of the batch and stores the outcome, the sessions
// still open, the gaps and the positions in one transaction. A ban that is both new and
// over is only for the history.
func (r *reading) commit() error {
	positions, err := r.in.Positions()
	if err != nil {
		return err
	}
	b := r.batch
	r.batch = newBatch()
	if b.entries == 0 && len(b.gaps) == 0 && len(positions) == 0 {
		return nil
	}
	var (
		l                   *ledger
		bans, held, expired []ban.Ban
	)
	err = r.Store.Update(func(tx *store.Tx) error {
		if l, err = r.openLedger(tx); err != nil {
			return err
		}
		for _, f := range b.findings {
			if err := l.record(f); err != nil {
				return err
			}
		}
		horizon, err := r.Horizon(tx)
		if err != nil {
			return err
		}
		if bans, held, err = l.write(horizon); err != nil {
			return err
		}
		expired = l.expired
		return errors.Join(putPositions(tx, positions), r.putRest(tx, b), r.putTotal(tx, len(bans)), r.stamp(tx))
	})
	if err != nil {
		return err
	}
	r.total.MoreBans += keepSome(&r.total.Bans, bans)
	r.total.hold(held, l.watch)
	r.total.MoreExpired += keepSome(&r.total.Expired, expired)
	r.total.Gaps = append(r.total.Gaps, b.gaps...)
	return nil
}

// hold adds the bans that a batch held back. Those of an earlier batch are not
// told as bans then.
func (r *Read) hold(held []ban.Ban, w *watch) {
	if len(held) == 0 {
		return
	}
	r.Held = append(r.Held, held...)
	switch {
	case w.isNew:
		r.Cause = cause(w.Outage, time.Time{})
	case w.cause != (Cause{}):
		r.Cause = w.cause
	}
	back := map[netip.Prefix]bool{}
	for _, b := range held {
		back[b.Prefix] = true
	}
	r.Bans = slices.DeleteFunc(r.Bans, func(b ban.Ban) bool { return back[b.Prefix] })
}

// keepSome appends bans up to maxTold of them, and returns how many there are
// beyond.
func keepSome(kept *[]ban.Ban, bans []ban.Ban) (more int) {
	room := min(maxTold-len(*kept), len(bans))
	*kept = append(*kept, bans[:room]...)
	return len(bans) - room
}

// putTotal stores what this run has read so far. bans are those that come to its total.
func (r *reading) putTotal(tx *store.Tx, bans int) error {
	if r.total.Entries == 0 {
		return nil
	}
	return tx.PutLastRead(store.LastRead{
		At: r.Now, Entries: r.total.Entries, Events: r.total.Events, Bans: len(r.total.Bans) + r.total.MoreBans + bans,
	})
}

// putRest stores what concerns no client that is known.
func (r *reading) putRest(tx *store.Tx, b *batch) error {
	if err := r.putGaps(tx, b.gaps); err != nil {
		return err
	}
	for _, text := range slices.Sorted(maps.Keys(b.shapes)) {
		if err := tx.AddShape(b.shapes[text]); err != nil {
			return err
		}
	}
	if r.sessions == nil {
		return nil
	}
	for _, change := range r.sessions.Changes() {
		if err := tx.PutSession(store.Session(change)); err != nil {
			return err
		}
	}
	return nil
}

// begin returns the SMTP sessions that were open when the last run ended, and
// the latest time that is known of. first is when the first entry was written.
func (p Pass) begin(first time.Time) (sessions *postfix.Sessions, latest time.Time, err error) {
	sessions = postfix.NewSessions()
	err = p.Store.View(func(tx *store.Tx) error {
		for s, err := range tx.Sessions() {
			if err != nil {
				return err
			}
			if err := sessions.Restore(postfix.Change(s)); err != nil {
				return err
			}
		}
		latest, err = p.latest(tx)
		return err
	})
	if first.After(latest) {
		first = latest
	}
	sessions.Forget(first)
	return sessions, latest, err
}

// Positions returns how far each boot was read, as the readers want it.
func Positions(s *store.Store) (positions journal.Positions, err error) {
	err = s.View(func(tx *store.Tx) error {
		positions, err = positionsIn(tx)
		return err
	})
	return positions, err
}

func positionsIn(tx *store.Tx) (journal.Positions, error) {
	values, err := tx.Positions()
	if err != nil {
		return nil, err
	}
	positions := journal.Positions{}
	for boot, value := range values {
		var p journal.Position
		if err := p.UnmarshalBinary(value); err != nil {
			return nil, fmt.Errorf("boot %v: %w", journal.Boot(boot), err)
		}
		positions[boot] = p
	}
	return positions, nil
}
