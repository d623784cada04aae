package pass

import (
	"cmp"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// Ban puts a ban of the admin's own on its prefix. One that is in force there
// already is never shortened. It returns the ban as it then stands.
func (p Pass) Ban(b ban.Ban) (ban.Ban, error) {
	err := p.Store.Update(func(tx *store.Tx) (err error) {
		b, err = p.sentence(tx, b)
		return err
	})
	return b, err
}

// Offenders returns who is known to have attacked from the prefix.
func (p Pass) Offenders(prefix netip.Prefix) (offenders []ban.Offender, err error) {
	err = p.Store.View(func(tx *store.Tx) error {
		for c, err := range tx.Clients() {
			if err != nil {
				return err
			}
			if c.Prefix.Overlaps(prefix) {
				offenders = append(offenders, ban.Offenders(c.Hits)...)
			}
		}
		for b, err := range tx.Bans() {
			if err != nil {
				return err
			}
			if !b.Prefix.Overlaps(prefix) {
				continue
			}
			evidence, err := tx.Evidence(b.Prefix)
			if err != nil {
				return err
			}
			offenders = append(offenders, evidence.Offenders()...)
		}
		return nil
	})
	return offenders, err
}

func (p Pass) sentence(tx *store.Tx, b ban.Ban) (ban.Ban, error) {
	c, err := tx.Client(b.Prefix)
	if err != nil {
		return b, err
	}
	if !p.Policy.TallyOver(c, p.Now) {
		b.Failures = c.Failures
	}
	if b, err = p.prolong(tx, b); err != nil {
		return b, err
	}
	if err := errors.Join(tx.PutBan(b), p.stamp(tx)); err != nil {
		return b, err
	}
	if b.Prefix != p.Policy.Client(b.Prefix.Addr()) {
		return b, nil // wider or narrower than what is counted as one client
	}
	c.Sentence(b)
	return b, tx.PutClient(c, p.Policy.Due(c))
}

// prolong returns what becomes of b where a ban stands on its prefix already.
func (p Pass) prolong(tx *store.Tx, b ban.Ban) (ban.Ban, error) {
	old, ok, err := tx.Ban(b.Prefix)
	if err != nil {
		return b, err
	}
	isNew := store.Totals{Bans: map[string]int{b.Origin: 1}}
	if !ok {
		return b, tx.AddTotals(isNew)
	}
	horizon, err := p.Horizon(tx)
	if err != nil {
		return b, err
	}
	if old.Held || !old.Active(horizon) {
		return b, errors.Join(endTimely(tx, old), tx.AddTotals(isNew))
	}
	if b.Until.After(old.Until) {
		old.Until = b.Until
	}
	old.Origin, old.Reason = b.Origin, cmp.Or(b.Reason, old.Reason)
	return old, nil
}

// Unban ends every ban in force that shares an address with one of the prefixes
// and forgives the clients in them: their tallies are cleared, and nothing that
// they did up to now counts any more. It returns the bans it ended.
func (p Pass) Unban(prefixes ...netip.Prefix) (ended []ban.Ban, err error) {
	err = p.Store.Update(func(tx *store.Tx) (err error) {
		ended, err = p.unban(tx, prefixes, func(ban.Ban) bool { return true })
		return err
	})
	return ended, err
}

// unban is Unban of those bans that may be ended.
func (p Pass) unban(tx *store.Tx, prefixes []netip.Prefix, may func(ban.Ban) bool) (ended []ban.Ban, err error) {
	if ended, err = p.endOverlapping(tx, prefixes, may); err != nil {
		return nil, err
	}
	var amnesties []amnesty
	for _, prefix := range prefixes {
		amnesties = append(amnesties, amnesty{prefix, p.Now, p.Now})
	}
	return ended, errors.Join(p.forgive(tx, amnesties), p.stamp(tx))
}

// An amnesty forgives the clients in a prefix: nothing counts any more that they did
// up to a time, and no ban lengthens their next one that ended after since.
type amnesty struct {
	prefix    netip.Prefix
	since, to time.Time
}

// forgive grants the amnesties. Who falls under several gets the best of each.
func (p Pass) forgive(tx *store.Tx, amnesties []amnesty) error {
	if err := p.pardonNetworks(tx, amnesties); err != nil {
		return err
	}
	clients, err := p.clientsIn(tx, amnesties)
	if err != nil {
		return err
	}
	for _, c := range clients {
		for _, a := range amnesties {
			if a.prefix.Overlaps(c.Prefix) {
				c.Forgive(a.since, a.to)
			}
		}
		if err := tx.PutClient(c, p.Policy.Due(c)); err != nil {
			return err
		}
	}
	return nil
}

// Admit ends the bans on clients from whose addresses somebody is logged in, and
// forgives them, as Unban does: who got in must not be shut out once he leaves. A
// wider ban is the admin's own and stands; it spares the address meanwhile. Admit
// writes only where something is held against a client.
func (p Pass) Admit(peers []netip.Addr) (ended []ban.Ban, err error) {
	var accused []netip.Prefix
	err = p.Store.View(func(tx *store.Tx) error {
		for _, a := range peers {
			guilty, err := p.accused(tx, a)
			if err != nil {
				return err
			}
			if guilty {
				accused = append(accused, netip.PrefixFrom(a, a.BitLen()))
			}
		}
		return nil
	})
	if err != nil || len(accused) == 0 {
		return nil, err
	}
	err = p.Store.Update(func(tx *store.Tx) error {
		ended, err = p.unban(tx, accused, p.upToClient(accused))
		return err
	})
	return ended, err
}

// accused reports whether the address is banned, with its client at most, or its
// client has a tally.
func (p Pass) accused(tx *store.Tx, a netip.Addr) (bool, error) {
	client := p.Policy.Client(a)
	c, err := tx.Client(client)
	if err != nil || c.Failures > 0 {
		return c.Failures > 0, err
	}
	horizon, err := p.Horizon(tx)
	if err != nil {
		return false, err
	}
	for bits := client.Bits(); bits <= a.BitLen(); bits++ {
		prefix, _ := a.Prefix(bits) // of an address without a zone every length will do
		if _, ok, err := tx.InForce(prefix, horizon); err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

func (p Pass) endOverlapping(tx *store.Tx, prefixes []netip.Prefix, may func(ban.Ban) bool) (ended []ban.Ban, err error) {
	for b, err := range p.bans(tx, netip.Prefix{}) {
		if err != nil {
			return nil, err
		}
		if !b.over && slices.ContainsFunc(prefixes, b.Prefix.Overlaps) && may(b.Ban) {
			ended = append(ended, b.Ban)
		}
	}
	for _, b := range ended {
		if err := tx.EndBan(b, p.Now, store.Unbanned); err != nil {
			return nil, err
		}
	}
	return ended, nil
}

// pardonNetworks remembers the prefixes that hold many clients, for those not
// known yet.
func (p Pass) pardonNetworks(tx *store.Tx, amnesties []amnesty) error {
	for _, a := range amnesties {
		if p.Policy.Client(a.prefix.Addr()).Bits() <= a.prefix.Bits() {
			continue
		}
		if err := tx.PutPardon(store.Pardon{Prefix: a.prefix, Until: a.to}); err != nil {
			return err
		}
	}
	return nil
}

// clientsIn returns the clients to forgive: those known in the prefixes and, so
// that its pardon is remembered, each one that a prefix itself stands for.
func (p Pass) clientsIn(tx *store.Tx, amnesties []amnesty) (clients []ban.Client, err error) {
	unknown := map[netip.Prefix]bool{}
	for _, a := range amnesties {
		if own := p.Policy.Client(a.prefix.Addr()); own.Bits() <= a.prefix.Bits() {
			unknown[own] = true
		}
	}
	for c, err := range tx.Clients() {
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(amnesties, func(a amnesty) bool { return a.prefix.Overlaps(c.Prefix) }) {
			clients = append(clients, c)
			delete(unknown, c.Prefix)
		}
	}
	for _, prefix := range slices.SortedFunc(maps.Keys(unknown), ban.ComparePrefix) {
		clients = append(clients, ban.Client{Prefix: prefix})
	}
	return clients, nil
}
