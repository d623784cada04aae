package pass

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// An ignored client is spared as one in ignoreip is: what it does counts, and its
// bans stand without a route. Hence the end of an ignore forgives what was done up
// to it, or the client would be banned at that instant for what was not to matter.

// maxIgnores bounds how many ignores there are: every run holds them in memory.
const maxIgnores = 1000

// ErrManyIgnores means that there is no room for more ignores.
var ErrManyIgnores = fmt.Errorf("more than %d prefixes would be ignored", maxIgnores)

// Ignores returns those whose time is not over by Horizon.
func (p Pass) Ignores() (active []ban.Ignore, err error) {
	active, _, err = p.ignores()
	return active, err
}

// ignores divides all ignores by whether their time is over.
func (p Pass) ignores() (active, over []ban.Ignore, err error) {
	err = p.Store.View(func(tx *store.Tx) error {
		horizon, err := p.Horizon(tx)
		if err != nil {
			return err
		}
		all, err := tx.Ignores()
		for _, i := range all {
			if i.Active(horizon) {
				active = append(active, i)
			} else {
				over = append(over, i)
			}
		}
		return err
	})
	return active, over, err
}

// Ignore adds ignores, or changes those that there are on the same prefixes, ends
// the bans on the clients in them and forgives these, as Unban does. Bans on wider
// networks spare them from now on; with wider they end, too. It returns the bans it
// ended, and fails with ErrManyIgnores, changing nothing, if there is no room.
func (p Pass) Ignore(wider bool, ignores ...ban.Ignore) (ended []ban.Ban, err error) {
	err = p.Store.Update(func(tx *store.Tx) error {
		if err := putIgnores(tx, ignores); err != nil {
			return err
		}
		prefixes := prefixesOf(ignores)
		may := p.upToClient(prefixes)
		if wider {
			may = func(ban.Ban) bool { return true }
		}
		ended, err = p.unban(tx, prefixes, may)
		return err
	})
	return ended, err
}

// putIgnores keeps of an earlier ignore when it was added, so that its end forgives
// all of its time, and its reason if there is no new one.
func putIgnores(tx *store.Tx, ignores []ban.Ignore) error {
	all, err := tx.Ignores()
	if err != nil {
		return err
	}
	known := map[netip.Prefix]ban.Ignore{}
	for _, i := range all {
		known[i.Prefix] = i
	}
	for _, i := range ignores {
		if old, ok := known[i.Prefix]; ok {
			i.Added, i.Reason = old.Added, cmp.Or(i.Reason, old.Reason)
		}
		known[i.Prefix] = i
		if err := tx.PutIgnore(i); err != nil {
			return err
		}
	}
	if len(known) > maxIgnores {
		return ErrManyIgnores
	}
	return nil
}

// upToClient tells which bans are to end that share an address with one of the
// prefixes: those within it, and those on no more than a client. A wider one is the
// admin's own, and stands.
func (p Pass) upToClient(prefixes []netip.Prefix) func(ban.Ban) bool {
	return func(b ban.Ban) bool {
		return b.Prefix.Bits() >= p.Policy.Client(b.Prefix.Addr()).Bits() || slices.ContainsFunc(prefixes, func(q netip.Prefix) bool {
			return q.Overlaps(b.Prefix) && q.Bits() <= b.Prefix.Bits()
		})
	}
}

// StopIgnoring ends the ignores of just these prefixes, and forgives what was done
// meanwhile: nobody is banned for it. It returns the ignores and the bans it ended.
func (p Pass) StopIgnoring(prefixes ...netip.Prefix) (stopped []ban.Ignore, ended []ban.Ban, err error) {
	err = p.Store.Update(func(tx *store.Tx) error {
		all, err := tx.Ignores()
		if err != nil {
			return err
		}
		for _, i := range all {
			if slices.Contains(prefixes, i.Prefix) {
				stopped = append(stopped, i)
			}
		}
		ended, err = p.stopIgnoring(tx, stopped)
		return err
	})
	return stopped, ended, err
}

// EndIgnores does what StopIgnoring does to the ignores whose time is over by
// Horizon. What was done after their end counts. It writes only if there are any.
func (p Pass) EndIgnores() (over []ban.Ignore, ended []ban.Ban, err error) {
	if _, over, err = p.ignores(); err != nil || len(over) == 0 {
		return nil, nil, err
	}
	err = p.Store.Update(func(tx *store.Tx) error {
		ended, err = p.stopIgnoring(tx, over)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return over, ended, nil
}

func (p Pass) stopIgnoring(tx *store.Tx, ignores []ban.Ignore) ([]ban.Ban, error) {
	if len(ignores) == 0 {
		return nil, nil
	}
	prefixes := prefixesOf(ignores)
	upToClient := p.upToClient(prefixes)
	ended, err := p.endOverlapping(tx, prefixes, func(b ban.Ban) bool { return b.Source() == "" && upToClient(b) }) // others banned for other deeds
	if err != nil {
		return nil, err
	}
	var amnesties []amnesty
	for _, i := range ignores {
		amnesties = append(amnesties, amnesty{i.Prefix, i.Added, earlier(i.Until, p.Now)})
		if err := tx.DeleteIgnore(i.Prefix); err != nil {
			return nil, err
		}
	}
	return ended, errors.Join(p.forgive(tx, amnesties), p.stamp(tx))
}

// rewindIgnores takes those back to now that were added under a clock that was ahead.
func (p Pass) rewindIgnores(tx *store.Tx) error {
	all, err := tx.Ignores()
	if err != nil {
		return err
	}
	for _, i := range all {
		if rewound := i.Rewind(p.Now); rewound != i {
			if err := tx.PutIgnore(rewound); err != nil {
				return err
			}
		}
	}
	return nil
}

func prefixesOf(ignores []ban.Ignore) []netip.Prefix {
	prefixes := make([]netip.Prefix, 0, len(ignores))
	for _, i := range ignores {
		prefixes = append(prefixes, i.Prefix)
	}
	return prefixes
}
