package pass

import (
	"net/netip"
	"slices"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// Adopt makes bans of the routes that have none, because the state that had
// them was lost: for bantime from now, since nobody knows better. A route
// within a banned network is that of one of its offenders. It returns how many
// it adopted.
func (p Pass) Adopt(tx *store.Tx, routes []netip.Prefix) (adopted int, err error) {
	banned := map[netip.Prefix]bool{}
	for b, err := range tx.Bans() {
		if err != nil {
			return 0, err
		}
		banned[b.Prefix] = true
	}
	covered := func(r netip.Prefix) bool {
		for bits := r.Bits(); bits >= 0; bits-- {
			if banned[netip.PrefixFrom(r.Addr(), bits).Masked()] {
				return true
			}
		}
		return false
	}
	for _, r := range slices.SortedFunc(slices.Values(routes), ban.ComparePrefix) {
		if covered(r) {
			continue
		}
		b := ban.Ban{Prefix: r, Start: p.Now, Until: ban.End(p.Now, p.Policy.BanTime), Count: 1, Origin: ban.OriginAdopted}
		if _, err := p.sentence(tx, b); err != nil {
			return 0, err
		}
		adopted++
	}
	return adopted, nil
}
