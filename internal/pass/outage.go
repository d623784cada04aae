package pass

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// Cause is the outage because of which bans were held back.
type Cause struct {
	Since   time.Time // the last success of anybody before it
	Until   time.Time // the first one after it, zero if there is none yet
	Clients int       // that used to log in and failed
	Fault   bool      // Postfix says that its authentication server is at fault
}

// watch is what a ledger knows of who can log in.
type watch struct {
	ban.Outage
	changed bool
	logins  map[netip.Prefix]login
	isNew   bool  // that bans are held back
	cause   Cause // the latest outage in which that was new, and which is over
}

// login is the last one of a client, zero if it never logged in.
type login struct {
	at    time.Time
	isNew bool
}

func openWatch(tx *store.Tx) (*watch, error) {
	outage, err := tx.Outage()
	return &watch{Outage: outage, logins: map[netip.Prefix]login{}}, err
}

// write stores what changed, in order of the keys.
func (w *watch) write(tx *store.Tx) error {
	for _, prefix := range slices.SortedFunc(maps.Keys(w.logins), ban.ComparePrefix) {
		if !w.logins[prefix].isNew {
			continue
		}
		if err := tx.PutLogin(store.Login{Prefix: prefix, At: w.logins[prefix].at}); err != nil {
			return err
		}
	}
	if !w.changed {
		return nil
	}
	return tx.PutOutage(w.Outage)
}

// victims returns them in order of the prefix.
func (w *watch) victims() []netip.Prefix {
	return slices.SortedFunc(maps.Keys(w.Victims), ban.ComparePrefix)
}

func cause(o ban.Outage, until time.Time) Cause {
	return Cause{Since: o.Since, Until: until, Clients: len(o.Victims), Fault: !o.Fault.IsZero()}
}

// lastLogin returns the last login of a client.
func (l *ledger) lastLogin(prefix netip.Prefix) (login, error) {
	if last, ok := l.watch.logins[prefix]; ok {
		return last, nil
	}
	at, err := l.tx.Login(prefix)
	l.watch.logins[prefix] = login{at: at}
	return login{at: at}, err
}

// succeed ends whatever outage there was. Its victims had no way to do better.
func (l *ledger) succeed(e ban.Event) error {
	if l.watch == nil {
		return nil
	}
	prefix := l.policy.Client(e.Address)
	last, err := l.lastLogin(prefix)
	if err != nil {
		return err
	}
	if e.Time.After(last.at) {
		l.watch.logins[prefix] = login{e.Time, true}
	}
	if l.watch.isNew {
		l.watch.cause, l.watch.isNew = cause(l.watch.Outage, e.Time), false
	}
	if l.watch.Holds() {
		for _, victim := range l.watch.victims() {
			c, err := l.client(victim)
			if err != nil {
				return err
			}
			l.watch.Excuse(c)
		}
	}
	l.watch.Outage, l.watch.changed = ban.Outage{Since: e.Time}, true
	return nil
}

// fail notes that a client could not log in. It says something about the server
// only if the client used to.
func (l *ledger) fail(prefix netip.Prefix, e ban.Event) error {
	if l.watch == nil || !e.Class.DenotesNoLogin() {
		return nil
	}
	last, err := l.lastLogin(prefix)
	if err != nil || last.at.IsZero() {
		return err
	}
	l.watch.Fail(prefix, e.Time)
	return l.recognise(e.Time)
}

// fault notes that the server itself is to blame.
func (l *ledger) fault(t time.Time) error {
	if l.watch == nil || t.IsZero() {
		return nil
	}
	l.watch.Fault = t
	return l.recognise(t)
}

// recognise looks whether there is an outage now, at t. If so, the bans that it
// brought before anybody could know are held back as well.
func (l *ledger) recognise(t time.Time) error {
	l.watch.changed = true
	if !l.watch.Recognise(t, l.policy.FindTime) {
		return nil
	}
	for _, prefix := range l.watch.victims() {
		if err := l.holdEarlier(prefix, t); err != nil {
			return err
		}
	}
	return nil
}

// holdEarlier holds back the ban of a victim that the outage explains, unless
// something else has become of it. Whether that is so is the client's to say:
// where the clock was set back, a run may have ended the ban already.
func (l *ledger) holdEarlier(prefix netip.Prefix, t time.Time) error {
	v := l.watch.Victims[prefix]
	if v.Until.IsZero() {
		return nil
	}
	l.watch.Victims[prefix] = ban.Victim{Last: v.Last}
	c, err := l.client(prefix)
	if err != nil || !v.Serves(c, t) {
		return err
	}
	s, err := l.current(prefix)
	switch {
	case err != nil:
		return err
	case s == nil:
		l.hold(c, ban.Ban{Start: v.Start})
	case s.Origin == ban.OriginJournal:
		s.Ban = l.hold(c, s.Ban)
		s.changed, s.newlyHeld = true, true
	}
	return nil
}

// explained reports whether an outage may be all that the ban is for: its client
// used to log in, and only failed to since the last success of anybody.
func (l *ledger) explained(prefix netip.Prefix, hits []ban.Hit) (bool, error) {
	if l.watch == nil || !l.watch.Explains(hits, l.policy.MaxRetry) {
		return false, nil
	}
	last, err := l.lastLogin(prefix)
	return !last.at.IsZero(), err
}

// sentence puts the ban of a client into effect, or holds it back. One that is
// held already is renewed.
func (l *ledger) sentence(c *ban.Client, b ban.Ban, hits []ban.Hit) error {
	explained, err := l.explained(b.Prefix, hits)
	if err != nil {
		return err
	}
	s := &sentence{Ban: b, evidence: ban.Evidence{Hits: hits}, isNew: true, changed: true}
	if explained && l.watch.Holds() {
		s.Ban, s.newlyHeld = l.hold(c, b), true
		old, err := l.current(b.Prefix)
		if err != nil {
			return err
		}
		if old != nil && old.Held && old.Active(b.Start) {
			s.Start, s.isNew, s.newlyHeld = old.Start, old.isNew, old.newlyHeld
			l.bans[b.Prefix] = s
			return nil
		}
	} else if l.watch != nil {
		l.suspect(b, explained)
	}
	if err := l.retire(b.Prefix); err != nil {
		return err
	}
	l.bans[b.Prefix] = s
	l.made[b.Origin]++
	return nil
}

// hold holds a ban back.
func (l *ledger) hold(c *ban.Client, b ban.Ban) ban.Ban {
	if !l.watch.Held {
		l.watch.Held, l.watch.isNew, l.watch.changed = true, true, true
	}
	return l.policy.Hold(c, b)
}

// suspect remembers the ban of a victim, in case an outage that explains it is
// recognised later.
func (l *ledger) suspect(b ban.Ban, explained bool) {
	v, ok := l.watch.Victims[b.Prefix]
	if !ok {
		return
	}
	v.Start, v.Until = time.Time{}, time.Time{}
	if explained {
		v.Start, v.Until = b.Start, b.Until
	}
	l.watch.Victims[b.Prefix], l.watch.changed = v, true
}

// heldBack reports whether the client failed while its ban is held back.
func (l *ledger) heldBack(prefix netip.Prefix, t time.Time) (bool, error) {
	if l.watch == nil || !l.watch.Holds() {
		return false, nil
	}
	if _, ok := l.watch.Victims[prefix]; !ok {
		return false, nil
	}
	s, err := l.current(prefix)
	return s != nil && s.Held && s.Active(t), err
}

// Confirm lets the bans that are held back take effect, and those of the same
// outage that are yet to come. It returns them.
func (p Pass) Confirm() (confirmed []ban.Ban, err error) {
	err = p.Store.Update(func(tx *store.Tx) error {
		outage, err := tx.Outage()
		if err != nil {
			return err
		}
		for b, err := range p.bans(tx, netip.Prefix{}) {
			if err != nil {
				return err
			}
			if b.Held && !b.over {
				confirmed = append(confirmed, b.Ban)
			}
		}
		for i := range confirmed {
			if err := p.release(tx, &confirmed[i]); err != nil {
				return err
			}
		}
		if !outage.Holds() {
			if len(confirmed) == 0 {
				return nil
			}
			return p.stamp(tx)
		}
		outage.Confirmed = true
		if err := tx.PutOutage(outage); err != nil {
			return err
		}
		return p.stamp(tx)
	})
	return confirmed, err
}

func (p Pass) release(tx *store.Tx, b *ban.Ban) error {
	c, err := tx.Client(b.Prefix)
	if err != nil {
		return err
	}
	*b = p.Policy.Release(&c, *b)
	if err := tx.PutBan(*b); err != nil {
		return err
	}
	return tx.PutClient(c, p.Policy.Due(c))
}
