package pass

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"smtpban/internal/ban"
)

// Differences are what Settle would change.
type Differences struct {
	Wanted  []netip.Prefix // to block
	Surplus int            // prefixes that get no route because there are too many
	Changes []ban.Change   // of the routes
}

// Compare returns what Settle would change in the enforcer's routes. A route
// whose ban ran out within grace is left out: the next run will take it away.
func (p Pass) Compare(never ban.NeverBan, enforcer ban.Enforcer, grace time.Duration) (d Differences, err error) {
	have, err := enforcer.List()
	if err != nil {
		return d, fmt.Errorf("listing routes: %w", err)
	}
	want, err := p.wanted(never)
	if err != nil {
		return d, err
	}
	d.Wanted, d.Surplus = want.Prefixes(), want.Surplus()
	changes := ban.Reconcile(d.Wanted, have)
	for _, c := range changes {
		if !c.Delete {
			d.Changes = append(d.Changes, c)
		}
	}
	if len(changes) == len(d.Changes) {
		return d, nil
	}
	p.Now = p.Now.Add(-grace)
	lately, err := p.wanted(never)
	if err != nil {
		return d, err
	}
	for _, c := range ban.Reconcile(slices.Concat(d.Wanted, lately.Prefixes()), have) {
		if c.Delete {
			d.Changes = append(d.Changes, c)
		}
	}
	return d, nil
}
