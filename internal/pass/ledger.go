package pass

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/postfix"
	"smtpban/internal/store"
)

// ledger holds the clients and bans that a batch touches.
type ledger struct {
	policy  ban.Policy
	tx      *store.Tx
	pardons []store.Pardon
	clients map[netip.Prefix]*ban.Client
	bans    map[netip.Prefix]*sentence
	expired []ban.Ban // of earlier batches
	seen    seen
	tried   map[time.Time][]string // user names, by the hour, in the order of the log
	made    map[string]int         // bans, by their origin
	watch   *watch                 // nil if no ban is to be held back

	// latest is as far as a pardon reaches. One that was given under a clock
	// ahead would let everybody do as he likes until then.
	latest time.Time
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// sentence is a ban that may change before it is written.
type sentence struct {
	ban.Ban
	evidence ban.Evidence // of a single address only while the ban is new
	enforced store.Enforced
	changed  bool
	late     bool // enforced changed

	// What is new in this batch: that there is the ban, and that it is held
	// back.
	isNew, newlyHeld bool
}

// latency is how long after a client was blocked failures of it may still be
// logged: an smtpd that it left behind gives up after smtpd_timeout.
const latency = 5 * time.Minute

func (p Pass) openLedger(tx *store.Tx) (*ledger, error) {
	pardons, err := tx.Pardons()
	if err != nil {
		return nil, err
	}
	latest, err := p.latest(tx)
	if err != nil {
		return nil, err
	}
	for i := range pardons {
		pardons[i].Until = earlier(pardons[i].Until, latest)
	}
	l := &ledger{
		policy: p.Policy, tx: tx, pardons: pardons, latest: latest,
		clients: map[netip.Prefix]*ban.Client{}, bans: map[netip.Prefix]*sentence{},
		seen: seen{}, tried: map[time.Time][]string{}, made: map[string]int{},
	}
	if p.Hold {
		l.watch, err = openWatch(tx)
	}
	return l, err
}

// record counts what was found.
func (l *ledger) record(f postfix.Finding) error {
	if err := l.fault(f.Fault); err != nil {
		return err
	}
	if f.Times > 0 && f.Event.Class == ban.Login {
		if err := l.succeed(f.Event); err != nil {
			return err
		}
	}
	for range f.Times {
		counted, err := l.add(f.Event)
		if err != nil {
			return err
		}
		l.seen.add(f.Event, counted)
		if f.Event.User != "" && f.Event.Class != ban.Login {
			hour := f.Event.Time.Truncate(time.Hour)
			l.tried[hour] = append(l.tried[hour], f.Event.User)
		}
	}
	return nil
}

// add counts an event of its client, unless it has no weight or is pardoned.
func (l *ledger) add(e ban.Event) (counted bool, err error) {
	if l.policy.Weight(e.Class, e.Service) == 0 ||
		slices.ContainsFunc(l.pardons, func(p store.Pardon) bool { return p.Covers(e) }) {
		return false, nil
	}
	prefix := l.policy.Client(e.Address)
	c, err := l.client(prefix)
	if err != nil {
		return false, err
	}
	verdict, b, hits := l.policy.Add(c, e)
	if verdict == ban.Ignored {
		return false, nil
	}
	if err := l.fail(prefix, e); err != nil {
		return true, err
	}
	switch verdict {
	case ban.Counted:
		held, err := l.heldBack(prefix, e.Time)
		if err != nil || !held {
			return true, err
		}
		return true, l.within(prefix, e)
	case ban.Within:
		return true, l.within(prefix, e)
	case ban.Banned:
		return true, l.sentence(c, b, hits)
	}
	return true, nil
}

// client returns what is known of a client, to be changed.
func (l *ledger) client(prefix netip.Prefix) (*ban.Client, error) {
	if c, ok := l.clients[prefix]; ok {
		return c, nil
	}
	c, err := l.tx.Client(prefix)
	if err != nil {
		return nil, err
	}
	c.Pardon = earlier(c.Pardon, l.latest)
	l.clients[prefix] = &c
	return &c, nil
}

// within counts a failure during a ban. Where the ban is of a network, its
// further addresses are remembered: if somebody in it is protected, only
// offenders are blocked.
func (l *ledger) within(prefix netip.Prefix, e ban.Event) error {
	s, err := l.current(prefix)
	if err != nil || s == nil {
		return err
	}
	// Not the client's count: a late event may find it at another tally.
	s.Failures++
	s.changed = true
	if !prefix.IsSingleIP() {
		s.evidence.Add(ban.Offender{Address: e.Address, Name: e.Name})
	}
	if since := s.enforced.Since; !s.Held && !since.IsZero() && e.Time.Sub(since) > latency && e.Time.After(s.enforced.Late) {
		s.enforced.Late, s.late = e.Time, true
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
	if s.enforced, err = l.tx.Enforced(prefix); err != nil {
		return nil, err
	}
	if !prefix.IsSingleIP() {
		if s.evidence, err = l.tx.Evidence(prefix); err != nil {
			return nil, err
		}
	}
	l.bans[prefix] = s
	return s, nil
}

// retire moves the latest ban on the prefix, which is over, to the history.
func (l *ledger) retire(prefix netip.Prefix) error {
	s, err := l.current(prefix)
	if err != nil || s == nil {
		return err
	}
	if s.Origin == ban.OriginAdopted { // this one's own takes its place
		return endTimely(l.tx, s.Ban)
	}
	return l.end(s)
}

// end moves a ban that is over to the history. One made in this batch was never
// in force, and nobody is told.
func (l *ledger) end(s *sentence) error {
	if !s.isNew {
		l.expired = append(l.expired, s.Ban)
	}
	return endTimely(l.tx, s.Ban)
}

// write stores what changed, in order of the keys, because bbolt is slow with
// many keys in random order, and returns the new bans that are in force and those
// newly held back.
func (l *ledger) write(horizon time.Time) (bans, held []ban.Ban, err error) {
	if err := l.writeHours(); err != nil {
		return nil, nil, err
	}
	for _, prefix := range slices.SortedFunc(maps.Keys(l.clients), ban.ComparePrefix) {
		c := l.clients[prefix]
		if err := l.tx.PutClient(*c, l.policy.Due(*c)); err != nil {
			return nil, nil, err
		}
	}
	for _, prefix := range slices.SortedFunc(maps.Keys(l.bans), ban.ComparePrefix) {
		s := l.bans[prefix]
		if !s.changed {
			continue
		}
		if err := l.tx.PutBan(s.Ban); err != nil {
			return nil, nil, err
		}
		if len(s.evidence.Hits) > 0 || !prefix.IsSingleIP() {
			if err := l.tx.PutEvidence(prefix, s.evidence); err != nil {
				return nil, nil, err
			}
		}
		if s.late {
			if err := l.tx.PutEnforced(prefix, s.enforced); err != nil {
				return nil, nil, err
			}
		}
		switch {
		case !s.Active(horizon):
			err = l.end(s)
		case s.newlyHeld:
			held = append(held, s.Ban)
		case s.isNew && !s.Held:
			bans = append(bans, s.Ban)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if err := l.tx.AddTotals(store.Totals{Classes: l.seen.total(), Bans: l.made}); err != nil {
		return nil, nil, err
	}
	if l.watch == nil {
		return bans, held, nil
	}
	return bans, held, l.watch.write(l.tx)
}

// writeHours stores what was seen and whose passwords were tried.
func (l *ledger) writeHours() error {
	for _, hour := range slices.SortedFunc(maps.Keys(l.seen), time.Time.Compare) {
		if err := l.tx.AddHour(store.Hour{Start: hour, Classes: l.seen[hour]}); err != nil {
			return err
		}
		if len(l.tried[hour]) == 0 {
			continue
		}
		if err := l.tx.AddUsers(hour, l.tried[hour]); err != nil {
			return err
		}
	}
	return nil
}

// seen counts, hour by hour, what the log told of.
type seen map[time.Time]map[ban.Class]store.Count

func (s seen) add(e ban.Event, counted bool) {
	hour := e.Time.Truncate(time.Hour)
	if s[hour] == nil {
		s[hour] = map[ban.Class]store.Count{}
	}
	n := s[hour][e.Class]
	n.Events++
	if counted {
		n.Counted++
	}
	s[hour][e.Class] = n
}

// total adds the hours up.
func (s seen) total() map[ban.Class]store.Count {
	sum := map[ban.Class]store.Count{}
	for _, classes := range s {
		for class, n := range classes {
			sum[class] = store.Count{Events: sum[class].Events + n.Events, Counted: sum[class].Counted + n.Counted}
		}
	}
	return sum
}
