package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/pass"
	"smtpban/internal/route"
	"smtpban/internal/store"
)

// Prefixes that no host can have, for a route that lives a moment: the IPv4 dummy
// address (RFC 7600), and one of a block that is only there to be discarded (RFC
// 6666).
const (
	probe4 = "192.0.0.8/32"
	probe6 = "100::1/128"
)

// grace is how long a route may outlive its ban: the next run takes it away.
const grace = 5 * time.Minute

// routes finds out whether routes can be changed and, since no other run may
// change either meanwhile, whether those there agree with the state. Before the
// first run there is no lock to leave behind.
func (d *doctor) routes() finding {
	d.agreement = skipped("the routes can't be listed")
	if d.table == nil {
		return fault("see protocol and table in [route], smtpban.toml(5)", "%v", d.errTable)
	}
	if !d.store.Missing() {
		unlock, err := d.store.Lock(patience)
		if errors.Is(err, store.ErrLocked) {
			d.agreement = skipped("%v", err)
			return d.agreement
		}
		if err == nil { // otherwise nobody else gets it either
			defer unlock()
		}
	}
	usable, families := d.tryRoutes()
	d.agreement = d.compareRoutes(families)
	return usable
}

// tryRoutes adds and deletes a route of each family. It returns the families that
// the kernel has.
func (d *doctor) tryRoutes() (f finding, families []string) {
	for _, p := range []struct{ family, prefix string }{{"IPv4", probe4}, {"IPv6", probe6}} {
		err := d.tryRoute(netip.MustParsePrefix(p.prefix))
		switch {
		case errors.Is(err, route.ErrNoIPv6):
			continue
		case errors.Is(err, route.ErrForeign):
			f.warn("another program uses an address that no host can have: see ip route show "+p.prefix, "%s was not tried: %v", p.family, err)
		case err != nil:
			f.fail("run this as root; the units need CAP_NET_ADMIN, and no PrivateUsers= or PrivateNetwork=; see ip rule and ip route", "%s: %v", p.family, err)
		}
		families = append(families, p.family)
	}
	return f.or(ok("one was added and deleted (%s)", some(families))), families
}

// tryRoute adds a route, looks whether it blocks, and deletes it again.
func (d *doctor) tryRoute(p netip.Prefix) error {
	ours, err := d.table.List()
	if err != nil || slices.Contains(ours, p) {
		return err // a ban of somebody who tries things out, too
	}
	if err := errors.Join(d.table.Apply([]ban.Change{{Prefix: p}})...); err != nil {
		return err
	}
	blockers, err := d.table.Blockers([]netip.Prefix{p})
	if err == nil && blockers[0] != route.Us {
		err = fmt.Errorf("%s was added, but the kernel looks up its address elsewhere", p)
	}
	return errors.Join(err, errors.Join(d.table.Apply([]ban.Change{{Prefix: p, Delete: true}})...))
}

// compareRoutes finds out whether each ban in force has its route, and no other.
func (d *doctor) compareRoutes(families []string) finding {
	switch {
	case d.errState != nil:
		return skipped("the bans are not known")
	case d.kernel == nil:
		return fault("see to that first: smtpban block fails of it, too", "who must never be blocked is not known: %v", d.errKernel)
	}
	p := pass.Pass{Store: d.store, Policy: d.cfg.Policy, Limits: limits(d.cfg.Route), Now: d.now}
	diff, err := p.Compare(d.kernel.never, d.table, grace)
	if err != nil {
		return fault("see ip route show proto smtpban", "%v", err)
	}
	missing, surplus := split(diff.Changes, slices.Contains(families, "IPv6"))
	var f finding
	if missing, err = d.explainMissing(&f, missing); err == nil {
		err = d.explainOverruled(&f, diff)
	}
	const remedy = "smtpban block puts that right; if it comes back, find out who changes routes: ip monitor route; see NOTES in smtpban(8)"
	if err != nil {
		f.fail(remedy, "%v", err)
	}
	if len(missing) > 0 {
		f.fail(remedy, "%s not blocked: %s", plural(len(missing), "ban"), some(missing))
	}
	if len(surplus) > 0 {
		f.fail(remedy, "%s without a ban: %s", plural(len(surplus), "route"), some(surplus))
	}
	if diff.Surplus > 0 {
		f.warn("raise max_ipv4 or max_ipv6 in [route]", "prefixes that have no route, for lack of room: %d", diff.Surplus)
	}
	return f.or(ok("%s, as the bans want it", plural(len(diff.Wanted), "route")))
}

// split tells missing routes from those that are too many. Without IPv6 in the
// kernel none of its routes is missing.
func split(changes []ban.Change, ipv6 bool) (missing, surplus []netip.Prefix) {
	for _, c := range changes {
		switch {
		case c.Delete:
			surplus = append(surplus, c.Prefix)
		case ipv6 || c.Prefix.Addr().Is4():
			missing = append(missing, c.Prefix)
		}
	}
	return missing, surplus
}

// explainMissing tells of the routes of others that stand where ours should, and
// returns the prefixes where there is none.
func (d *doctor) explainMissing(f *finding, missing []netip.Prefix) ([]netip.Prefix, error) {
	if len(missing) == 0 {
		return nil, nil
	}
	holders, err := d.table.Holders(missing)
	if err != nil {
		return missing, err
	}
	var theirs []string
	for _, p := range missing {
		if holder, taken := holders[p]; taken {
			theirs = append(theirs, p.String()+" ("+holder+")")
		}
	}
	if len(theirs) > 0 {
		f.warn("delete these, if they are not wanted: ip route del PREFIX; or unban the clients", "somebody else's route instead of ours: %s", some(theirs))
	}
	return slices.DeleteFunc(missing, func(p netip.Prefix) bool { _, taken := holders[p]; return taken }), nil
}

// explainOverruled tells of routes of ours that do not decide.
func (d *doctor) explainOverruled(f *finding, diff pass.Differences) error {
	missing := make(map[netip.Prefix]bool, len(diff.Changes))
	for _, c := range diff.Changes {
		missing[c.Prefix] = !c.Delete
	}
	there := slices.DeleteFunc(slices.Clone(diff.Wanted), func(p netip.Prefix) bool { return missing[p] })
	blockers, err := d.table.Blockers(there)
	if err != nil {
		return err
	}
	var overruled []netip.Prefix
	for i, p := range there {
		if blockers[i] == route.Nobody {
			overruled = append(overruled, p)
		}
	}
	if len(overruled) > 0 {
		f.fail("see ip rule, and ip route get ADDRESS", "%s overruled by another route or rule: %s", plural(len(overruled), "route"), some(overruled))
	}
	return nil
}

// listeners finds out whether clients are served in this network namespace. A
// blackhole keeps the machine from answering; it does not keep packets from being
// forwarded to where another one answers.
func (d *doctor) listeners() finding {
	ports := d.cfg.Route.EndConnections
	if len(ports) == 0 {
		ports = config.Defaults().Route.EndConnections
	}
	found, err := route.Listeners(ports)
	if err != nil {
		return skipped("%v", err)
	}
	var served []uint16
	for _, l := range found {
		if !l.Addr().Unmap().IsLoopback() && !slices.Contains(served, l.Port()) {
			served = append(served, l.Port())
		}
	}
	if slices.Sort(served); len(served) > 0 {
		return ok("clients are served at %s", portList(served))
	}
	nobody := "nobody waits here for clients at " + portList(ports)
	if d.table == nil {
		return skipped("%s", nobody)
	}
	forwarding, err := d.table.Forwarding()
	const (
		start  = "start Postfix; if it listens at other ports, name them in end_connections in [route]"
		inside = "if SMTP ends in a container or on a system behind this one, install smtpban there"
	)
	switch {
	case err != nil:
		return fault(start, "%s; %v", nobody, err)
	case forwarding.Unfiltered:
		return fault(start+"; "+inside+", or set net.ipv4.conf.all.rp_filter=1 (sysctl.d(5)) here", "%s, and what banned clients send is forwarded (rp_filter=0)", nobody)
	case forwarding.IPv6:
		return fault(start+"; "+inside, "%s, and what banned clients send by IPv6 is forwarded", nobody)
	case forwarding.IPv4:
		return warning(start+"; "+inside, "%s; packets are forwarded, but not those of banned clients (rp_filter)", nobody)
	}
	return fault(start+"; "+inside, "%s", nobody)
}

func portList(ports []uint16) string {
	if len(ports) == 1 {
		return "port " + some(ports)
	}
	return "the ports " + some(ports)
}

// ending finds out whether the kernel can end connections, which takes no ban.
func (d *doctor) ending() finding {
	const remedy = "a kernel with CONFIG_INET_DIAG_DESTROY and the module tcp_diag can; until then banned clients go on until Postfix hangs up"
	switch err := route.TryEnding(); {
	case len(d.cfg.Route.EndConnections) == 0:
		return skipped("end_connections is empty")
	case errors.Is(err, route.ErrNoDestroy):
		return warning(remedy, "%v", route.ErrNoDestroy)
	case err != nil:
		return warning(remedy, "%v", err)
	case d.kernel != nil && d.kernel.CannotEnd:
		return warning(remedy, "the last time it could not")
	}
	return ok("the kernel can end them")
}
