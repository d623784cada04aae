package report

import (
	"net/netip"
	"slices"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// Explanation says how a client or a banned network stands, and why.
type Explanation struct {
	Prefix    netip.Prefix
	Client    ban.Client // what is known of it; of a network that is not counted as one client only the prefix
	Counted   bool       // as one client
	Ban       *Ban       // in force on just this prefix; nil if there is none
	Wider     *Ban       // of those on wider prefixes that are to block all of this one the narrowest, with the target that is to; nil if there is none
	Protected *ban.Protected
	Pardon    time.Time // nothing up to then counts; zero if it was never pardoned

	// Events caused the ban or, without one, count towards it; newest first.
	Events []Event
	Points int // of all of them
	Void   Void

	Count   int           // of its next ban
	Length  time.Duration // of that
	Earlier []store.Ended // oldest first
}

// Event is a hit with the line of the log that told of it.
type Event struct {
	ban.Hit
	Line string // "" if it is not there any more
}

// Void says why none of a client's failures counts any more, although no ban is in
// force on it; "" where some do, or there are none. It is an interface that other
// programs rely on.
type Void string

const (
	Pardoned Void = "pardoned"
	UsedUp   Void = "used-up"  // by a ban that is over
	TooOld   Void = "too-old"  // longer ago than findtime
	Forgiven Void = "forgiven" // after an outage of the authentication
)

// maxExplained bounds what is explained of a network.
const maxExplained = 100

// Explain explains the clients and bans that share an address with the prefix, or
// the prefix itself if there is none. more is how many of a large network it leaves
// out.
func Explain(tx *store.Tx, policy ban.Policy, never ban.NeverBan, prefix netip.Prefix, now time.Time) (all []Explanation, more int, err error) {
	bans, err := Bans(tx, never, now)
	if err != nil {
		return nil, 0, err
	}
	subjects, err := subjects(tx, policy, bans, prefix)
	if err != nil {
		return nil, 0, err
	}
	more = max(0, len(subjects)-maxExplained)
	for _, p := range subjects[:len(subjects)-more] {
		x, err := explain(tx, policy, never, p, now)
		if err != nil {
			return nil, 0, err
		}
		x.Wider = wider(bans, p)
		all = append(all, x)
	}
	for e, err := range tx.History() {
		if err != nil {
			return nil, 0, err
		}
		if i := slices.IndexFunc(all, func(x Explanation) bool { return x.Prefix == e.Prefix }); i >= 0 {
			all[i].Earlier = append(all[i].Earlier, e)
		}
	}
	return all, more, nil
}

// subjects returns the prefixes to explain, in order.
func subjects(tx *store.Tx, policy ban.Policy, bans []Ban, asked netip.Prefix) (all []netip.Prefix, err error) {
	for _, b := range bans {
		if b.Prefix.Overlaps(asked) {
			all = append(all, b.Prefix)
		}
	}
	for c, err := range tx.Clients() {
		if err != nil {
			return nil, err
		}
		if c.Prefix.Overlaps(asked) {
			all = append(all, c.Prefix)
		}
	}
	if client := policy.Client(asked.Addr()); client.Bits() <= asked.Bits() { // known or not
		asked = client
		all = append(all, client)
	}
	if len(all) == 0 {
		all = append(all, asked)
	}
	slices.SortFunc(all, ban.ComparePrefix)
	return slices.Compact(all), nil
}

// wider returns the narrowest of the bans on wider prefixes that are to block all of
// this one, with the target that is to; nil if there is none.
func wider(bans []Ban, prefix netip.Prefix) (narrowest *Ban) {
	for _, b := range bans {
		if b.Prefix.Bits() >= prefix.Bits() || !b.Prefix.Overlaps(prefix) || narrowest != nil && b.Prefix.Bits() <= narrowest.Prefix.Bits() {
			continue
		}
		for _, target := range b.Targets {
			if target.Bits() <= prefix.Bits() && target.Overlaps(prefix) {
				narrowest = &Ban{Ban: b.Ban, Targets: []netip.Prefix{target}}
			}
		}
	}
	return narrowest
}

func explain(tx *store.Tx, policy ban.Policy, never ban.NeverBan, prefix netip.Prefix, now time.Time) (x Explanation, err error) {
	x = Explanation{Prefix: prefix, Counted: policy.Client(prefix.Addr()) == prefix}
	if x.Client, err = tx.Client(prefix); err != nil {
		return x, err
	}
	hits, _ := policy.Tally(x.Client, now)
	offenders := ban.Offenders(x.Client.Hits)
	b, ok, err := tx.InForce(prefix, now)
	if err != nil {
		return x, err
	}
	if ok {
		evidence, err := tx.Evidence(prefix)
		if err != nil {
			return x, err
		}
		targets, err := tx.Targets(b, never)
		if err != nil {
			return x, err
		}
		x.Ban = &Ban{Ban: b, Targets: targets}
		hits, offenders = evidence.Hits, append(offenders, evidence.Offenders()...)
	}
	for _, h := range hits {
		x.Events = append(x.Events, Event{Hit: h})
		x.Points += h.Weight
	}
	if m, spares := never.Spares(prefix, offenders); spares {
		x.Protected = &m
	}
	if x.Pardon, err = pardon(tx, x.Client); err != nil {
		return x, err
	}
	if !ok && len(hits) == 0 && x.Client.Failures > 0 {
		x.Void, err = void(tx, policy, x.Client, x.Pardon, now)
	}
	x.Count, x.Length = policy.Next(x.Client, now)
	return x, err
}

// void returns why the client has no hit that counts.
func void(tx *store.Tx, policy ban.Policy, c ban.Client, pardon, now time.Time) (Void, error) {
	switch {
	case !c.LastHit.After(pardon):
		return Pardoned, nil
	case len(c.Hits) == 0 && !c.LastHit.After(c.Until):
		return UsedUp, nil
	case now.Sub(c.LastHit) > policy.FindTime:
		return TooOld, nil
	}
	login, err := tx.Login(c.Prefix)
	if err != nil || login.IsZero() {
		return "", err
	}
	return Forgiven, nil // the end of an outage takes hits back from those alone that used to log in
}

// pardon returns up to when the client was pardoned, by itself or with a network.
func pardon(tx *store.Tx, c ban.Client) (time.Time, error) {
	until := c.Pardon
	pardons, err := tx.Pardons()
	for _, p := range pardons {
		if p.Prefix.Overlaps(c.Prefix) && p.Prefix.Bits() <= c.Prefix.Bits() && p.Until.After(until) {
			until = p.Until
		}
	}
	return until, err
}

// State says how it stands with what the kernel blocks; see Enforce.
func (x Explanation) State() State {
	if x.BlockedByWider() {
		return Blocked
	}
	return x.ownState()
}

// BlockedByWider reports whether nothing but the Wider ban blocks it.
func (x Explanation) BlockedByWider() bool {
	return x.Wider != nil && state(*x.Wider) == Blocked && x.ownState() != Blocked
}

func (x Explanation) ownState() State {
	switch {
	case x.Ban == nil && x.Protected != nil && x.Protected.Prefix.Bits() <= x.Prefix.Bits():
		return Protected
	case x.Ban == nil:
		return Open
	}
	return state(*x.Ban)
}
