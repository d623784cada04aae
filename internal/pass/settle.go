package pass

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// Settled is what drawing the routes after the state changed.
type Settled struct {
	Expired []ban.Ban      // bans whose time was over
	More    int            // of these, beyond the first ten thousand
	Added   []netip.Prefix // that got a route
	Blocked []netip.Prefix // that have one, as far as the enforcer tells
	Deleted int            // routes
	Surplus int            // prefixes that get no route because there are too many
	Failed  []Failure      // routes that could not be changed
	Spared  []netip.Prefix // bans that don't block all of it, since somebody in it is protected; the first thousand, in order
}

// Failure is a route that could not be added or deleted.
type Failure struct {
	ban.Change
	Err error
}

// Missing counts the prefixes that are to have a route and have none.
func (s Settled) Missing() (n int) {
	for _, f := range s.Failed {
		if !f.Delete {
			n++
		}
	}
	return n
}

// Settle makes the enforcer block just what the state wants, and ends the bans
// whose time is over, see Horizon. A nil enforcer leaves the routes alone. With
// keep it only adds: at boot the clock may be wrong and nothing must be lost.
//
// Routes are settled also when the state can't be written: an expired ban must
// not outlive a full disk.
func (p Pass) Settle(never ban.NeverBan, enforcer ban.Enforcer, keep bool) (Settled, error) {
	var settled Settled
	want, err := p.wanted(never)
	if err != nil {
		return settled, err
	}
	settled.Surplus, settled.Spared = want.Surplus(), want.spared
	if want.over && !keep {
		settled.Expired, settled.More, err = p.end()
	}
	if enforcer == nil {
		return settled, err
	}
	err = errors.Join(err, settled.enforce(enforcer, want.Prefixes(), keep))
	if keep {
		return settled, err
	}
	return settled, errors.Join(err, p.noteEnforced(settled.Added))
}

// Clear makes the enforcer block nothing at all, whatever the state wants.
func Clear(enforcer ban.Enforcer) (Settled, error) {
	var cleared Settled
	err := cleared.enforce(enforcer, nil, false)
	return cleared, err
}

// noteEnforced remembers since when bans have their routes. One of which only
// single offenders are blocked is left out: the others may go on.
func (p Pass) noteEnforced(added []netip.Prefix) error {
	for some := range slices.Chunk(added, chunk) {
		if err := p.Store.Update(func(tx *store.Tx) error { return p.putEnforced(tx, some) }); err != nil {
			return err
		}
	}
	return nil
}

func (p Pass) putEnforced(tx *store.Tx, added []netip.Prefix) error {
	noted := false
	for _, prefix := range added {
		if _, ok, err := tx.Ban(prefix); err != nil {
			return err
		} else if !ok {
			continue
		}
		if err := tx.PutEnforced(prefix, store.Enforced{Since: p.Now}); err != nil {
			return err
		}
		noted = true
	}
	if !noted {
		return nil
	}
	return p.stamp(tx)
}

// chunk is how many bans are changed in one transaction where nothing asks for
// all of them together: it holds what it changes in memory.
const chunk = 500

// end moves the bans whose time is over to the history.
func (p Pass) end() (expired []ban.Ban, more int, err error) {
	var from netip.Prefix
	for {
		var some []ban.Ban
		err := p.Store.Update(func(tx *store.Tx) (err error) {
			if some, err = p.endExpired(tx, from); err != nil {
				return err
			}
			return p.stamp(tx)
		})
		if err != nil {
			return expired, more, err
		}
		more += keepSome(&expired, some)
		if len(some) < chunk {
			return expired, more, nil
		}
		from = last(some)
	}
}

// last returns the prefix of the bans that is the last in order.
func last(bans []ban.Ban) netip.Prefix {
	return slices.MaxFunc(bans, func(a, b ban.Ban) int { return ban.ComparePrefix(a.Prefix, b.Prefix) }).Prefix
}

func (s *Settled) enforce(enforcer ban.Enforcer, want []netip.Prefix, keep bool) error {
	have, err := enforcer.List()
	if err != nil {
		return fmt.Errorf("listing routes: %w", err)
	}
	changes := ban.Reconcile(want, have)
	if keep {
		changes = slices.DeleteFunc(changes, func(c ban.Change) bool { return c.Delete })
	}
	s.Blocked = want
	if len(changes) == 0 {
		return nil
	}
	errs := enforcer.Apply(changes)
	free := map[netip.Prefix]bool{}
	for i, c := range changes {
		switch {
		case errs != nil && errs[i] != nil:
			s.Failed = append(s.Failed, Failure{c, errs[i]})
			free[c.Prefix] = !c.Delete
		case c.Delete:
			s.Deleted++
		default:
			s.Added = append(s.Added, c.Prefix)
		}
	}
	if len(free) > 0 {
		s.Blocked = slices.DeleteFunc(slices.Clone(want), func(p netip.Prefix) bool { return free[p] })
	}
	return nil
}

// wish is what the state wants.
type wish struct {
	*ban.Choice                // of the prefixes to block
	over        bool           // the time of some ban is
	spared      []netip.Prefix // see Settled
}

// maxSpared bounds the spared bans that are named.
const maxSpared = 1000

func (p Pass) wanted(never ban.NeverBan) (want wish, err error) {
	want.Choice = ban.NewChoice(p.Limits)
	err = p.Store.View(func(tx *store.Tx) error {
		var last netip.Prefix // of several bans on one prefix the first is our own
		for b, err := range p.bans(tx, netip.Prefix{}) {
			if err != nil {
				return err
			}
			if b.over {
				want.over = true
				continue
			}
			targets, err := tx.Targets(b.Ban, never)
			if err != nil {
				return err
			}
			if !b.Held && !slices.Equal(targets, []netip.Prefix{b.Prefix}) && len(want.spared) < maxSpared {
				want.spared = append(want.spared, b.Prefix)
			}
			for _, target := range targets {
				if target == last {
					continue
				}
				last = target
				want.Add(ban.Wanted{Prefix: target, Manual: b.Origin == ban.OriginManual, Failures: b.Failures, Start: b.Start})
			}
		}
		return nil
	})
	return want, err
}

// judged is a ban with whether its time is over.
type judged struct {
	ban.Ban
	over bool
}

// bans yields every ban, in order of its prefix and from one on. Those whose time is not over by
// Horizon are in force, but for those held back.
func (p Pass) bans(tx *store.Tx, from netip.Prefix) iter.Seq2[judged, error] {
	return func(yield func(judged, error) bool) {
		horizon, err := p.Horizon(tx)
		if err != nil {
			yield(judged{}, err)
			return
		}
		for b, err := range tx.BansFrom(from) {
			if !yield(judged{b, !b.Active(horizon)}, err) {
				return
			}
		}
	}
}

// endExpired ends the first of the bans from a prefix on whose time is over, up
// to a chunk of them.
func (p Pass) endExpired(tx *store.Tx, from netip.Prefix) ([]ban.Ban, error) {
	var expired []ban.Ban
	for b, err := range p.bans(tx, from) {
		if err != nil {
			return nil, err
		}
		if b.over {
			expired = append(expired, b.Ban)
		}
		if len(expired) == chunk {
			break
		}
	}
	// The history is keyed by time, and bbolt likes its keys in order.
	slices.SortStableFunc(expired, func(a, b ban.Ban) int {
		return cmp.Or(a.Until.Compare(b.Until), ban.ComparePrefix(a.Prefix, b.Prefix))
	})
	for _, b := range expired {
		if err := endTimely(tx, b); err != nil {
			return nil, err
		}
	}
	if len(expired) == chunk { // so that the history does not grow with their number
		return expired, tx.PruneHistory(time.Time{})
	}
	return expired, nil
}

// endTimely moves a ban whose time is over to the history.
func endTimely(tx *store.Tx, b ban.Ban) error {
	how := store.Expired
	if b.Held {
		how = store.Lapsed
	}
	return tx.EndBan(b, b.Until, how)
}
