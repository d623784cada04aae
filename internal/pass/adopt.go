package pass

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// Adopt makes bans of the routes that have none, because the state that had
// them was lost: for bantime from now, since nobody knows better. What the log
// tells of such a client when it is read again takes the place of the adopted
// ban. A route within a banned network is that of one of its offenders.
//
// asOf is a time up to which the lost state is known to have been there, zero if
// that is not known: it vouches for the clock as a commit does. Adopt returns how
// many it adopted.
func (p Pass) Adopt(tx *store.Tx, routes []netip.Prefix, asOf time.Time) (adopted int, err error) {
	commit, err := tx.LastCommit()
	if err != nil {
		return 0, err
	}
	if asOf.After(commit) {
		if err := tx.PutLastCommit(asOf); err != nil {
			return 0, err
		}
	}
	start, err := p.latest(tx)
	if err != nil {
		return 0, err
	}
	for from, more := (netip.Prefix{}), true; more; { // those that are over cover nothing
		expired, err := p.endExpired(tx, from)
		if err != nil {
			return 0, err
		}
		if more = len(expired) == chunk; more {
			from = last(expired)
		}
	}
	covered, err := coverage(tx)
	if err != nil {
		return 0, err
	}
	for _, r := range slices.SortedFunc(slices.Values(routes), ban.ComparePrefix) {
		if covered(r) {
			continue
		}
		b := ban.Ban{Prefix: r, Start: start, Until: ban.End(start, p.Policy.BanTime), Count: 1, Origin: ban.OriginAdopted}
		held, ok, err := tx.Ban(r)
		if err == nil && ok {
			err = tx.EndBan(held, start, store.Lapsed)
		}
		if err := errors.Join(err, tx.PutBan(b)); err != nil {
			return 0, err
		}
		adopted++
	}
	total := store.Totals{}
	if adopted > 0 {
		total.Bans = map[string]int{ban.OriginAdopted: adopted}
	}
	return adopted, errors.Join(tx.AddTotals(total), p.stamp(tx))
}

// coverage returns a test whether a prefix lies within a banned one.
func coverage(tx *store.Tx) (func(netip.Prefix) bool, error) {
	banned := map[netip.Prefix]bool{}
	for b, err := range tx.Bans() {
		if err != nil {
			return nil, err
		}
		banned[b.Prefix] = !b.Held // which has no route
	}
	return func(r netip.Prefix) bool {
		for bits := r.Bits(); bits >= 0; bits-- {
			if banned[netip.PrefixFrom(r.Addr(), bits).Masked()] {
				return true
			}
		}
		return false
	}, nil
}
