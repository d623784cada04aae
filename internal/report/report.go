// Package report tells people and programs what smtpban knows: which clients
// attacked, and who is banned.
package report

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// State says how a client stands.
type State string

// The states of a client.
const (
	Blocked   State = "blocked"   // by a route of ours, or by another's that leads nowhere
	Open      State = "open"      // free to come, whether banned or not
	Protected State = "protected" // must never be blocked, whatever it does
	Held      State = "held"      // its ban is held back because of an outage
)

// Client is one that attacked.
type Client struct {
	Prefix   netip.Prefix
	Failures int
	First    time.Time
	Last     time.Time
	State    State
}

// Ban is a ban with what is done about it.
type Ban struct {
	ban.Ban
	Targets []netip.Prefix // to be blocked for it; none if it is protected or held back
	Route   bool           // all of them are, by our routes
	Other   bool           // all of them are, but not all by our routes
}

// Ineffective is a ban that does not keep its client out.
type Ineffective struct {
	Prefix netip.Prefix
	Since  time.Time // when it got its route
	Last   time.Time // newest failure more than five minutes later
}

// Blocker says who keeps a prefix out.
type Blocker int

// The blockers.
const (
	Nobody  Blocker = iota
	Us              // a route of ours
	Another         // a route of somebody else's that leads nowhere either
)

// Report is the state of things at a moment.
type Report struct {
	Since   time.Time // clients that attacked after it are named; zero for all
	Until   time.Time
	Clients []Client // those with most failures first
	Bans    []Ban    // in force at Until, in order of the prefix

	Surplus int // prefixes that have no route because there are too many

	// Ineffective are the bans whose clients failed again after Since although
	// they were blocked: their packets come, or our answers go, another way.
	Ineffective []Ineffective

	Seen    []Seen      // since the hour of Since, in the order of ban.Classes
	Gaps    []store.Gap // noticed after Since, in that order
	Unknown []store.Shape
}

// Seen says how often a class was seen.
type Seen struct {
	Class ban.Class
	store.Count
}

// Bans returns the bans in force at now. Whether the kernel blocks them is for
// Enforce to say.
func Bans(tx *store.Tx, never ban.NeverBan, now time.Time) ([]Ban, error) {
	var bans []Ban
	for b, err := range tx.Bans() {
		if err != nil {
			return nil, err
		}
		if !b.Active(now) {
			continue
		}
		targets, err := tx.Targets(b, never)
		if err != nil {
			return nil, err
		}
		bans = append(bans, Ban{Ban: b, Targets: targets})
	}
	return bans, nil
}

// New returns the report on the time from since to now. It takes no client for
// blocked before Enforce is called.
func New(tx *store.Tx, never ban.NeverBan, since, now time.Time) (Report, error) {
	bans, err := Bans(tx, never, now)
	if err != nil {
		return Report{}, err
	}
	r := Report{Since: since, Until: now, Bans: bans}
	if r.Ineffective, err = ineffective(tx, bans, since); err != nil {
		return Report{}, err
	}
	held := map[netip.Prefix]bool{}
	for _, b := range bans {
		held[b.Prefix] = b.Held
	}
	for c, err := range tx.Clients() {
		if err != nil {
			return Report{}, err
		}
		if c.Failures == 0 || !c.Last.After(since) && !now.Before(c.Until) && !held[c.Prefix] {
			continue
		}
		state := Open
		if protected(c, never) {
			state = Protected
		}
		r.Clients = append(r.Clients, Client{c.Prefix, c.Failures, c.First, c.Last, state})
	}
	slices.SortStableFunc(r.Clients, func(a, b Client) int { return cmp.Compare(b.Failures, a.Failures) })
	if r.Seen, err = seenSince(tx, since); err != nil {
		return Report{}, err
	}
	if r.Gaps, err = gapsSince(tx, since); err != nil {
		return Report{}, err
	}
	r.Unknown, err = Unknown(tx)
	return r, err
}

// ineffective returns those of the bans whose clients failed after since although
// the whole prefix was blocked.
func ineffective(tx *store.Tx, bans []Ban, since time.Time) ([]Ineffective, error) {
	var all []Ineffective
	for _, b := range bans {
		x, err := tx.Enforced(b.Prefix)
		if err != nil {
			return nil, err
		}
		if x.Late.After(since) && slices.Equal(b.Targets, []netip.Prefix{b.Prefix}) {
			all = append(all, Ineffective{b.Prefix, x.Since, x.Late})
		}
	}
	return all, nil
}

func gapsSince(tx *store.Tx, since time.Time) (gaps []store.Gap, err error) {
	for g, err := range tx.Gaps() {
		if err != nil {
			return nil, err
		}
		if g.Noticed.After(since) {
			gaps = append(gaps, g)
		}
	}
	return gaps, nil
}

// seenSince adds up the hours from that of since on.
func seenSince(tx *store.Tx, since time.Time) ([]Seen, error) {
	sum := map[ban.Class]store.Count{}
	for h, err := range tx.Hours() {
		if err != nil {
			return nil, err
		}
		if h.Start.Before(since.Truncate(time.Hour)) {
			continue
		}
		for class, n := range h.Classes {
			sum[class] = store.Count{Events: sum[class].Events + n.Events, Counted: sum[class].Counted + n.Counted}
		}
	}
	order := ban.Classes()
	for _, class := range slices.Sorted(maps.Keys(sum)) {
		if !slices.Contains(order, class) { // of a later version
			order = append(order, class)
		}
	}
	var seen []Seen
	for _, class := range order {
		if n, ok := sum[class]; ok {
			seen = append(seen, Seen{class, n})
		}
	}
	return seen, nil
}

// Unknown returns the shapes of lines that no rule knows, the most frequent
// first.
func Unknown(tx *store.Tx) ([]store.Shape, error) {
	var shapes []store.Shape
	for s, err := range tx.Shapes() {
		if err != nil {
			return nil, err
		}
		shapes = append(shapes, s)
	}
	SortShapes(shapes)
	return shapes, nil
}

// SortShapes puts the most frequent ones first.
func SortShapes(shapes []store.Shape) {
	slices.SortFunc(shapes, func(a, b store.Shape) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Text, b.Text))
	})
}

// protected reports whether nothing of the client could be blocked.
func protected(c ban.Client, never ban.NeverBan) bool {
	if len(c.Hits) == 0 {
		_, all := never.Protects(c.Prefix)
		return all
	}
	return len(never.Targets(c.Prefix, ban.Offenders(c.Hits))) == 0
}

// Targets returns the prefixes that should be blocked for the bans.
func Targets(bans []Ban) []netip.Prefix {
	var targets []netip.Prefix
	for _, b := range bans {
		targets = append(targets, b.Targets...)
	}
	return targets
}

// Surplus returns how many of the prefixes to block are beyond the limits.
func Surplus(bans []Ban, limits ban.Limits) int {
	choice := ban.NewChoice(limits)
	for _, target := range Targets(bans) {
		choice.Add(ban.Wanted{Prefix: target})
	}
	return choice.Surplus()
}

// Enforce records who blocks the targets.
func Enforce(bans []Ban, blockers map[netip.Prefix]Blocker) {
	for i := range bans {
		b := &bans[i]
		ours, open := 0, 0
		for _, target := range b.Targets {
			switch blockers[target] {
			case Us:
				ours++
			case Nobody:
				open++
			}
		}
		b.Route = len(b.Targets) > 0 && ours == len(b.Targets)
		b.Other = !b.Route && len(b.Targets) > 0 && open == 0
	}
}

// Enforce records who blocks the targets, for bans and clients. A ban whose
// route is gone is open, not ineffective.
func (r *Report) Enforce(blockers map[netip.Prefix]Blocker) {
	Enforce(r.Bans, blockers)
	bans := map[netip.Prefix]Ban{}
	lengths := map[int]bool{}
	for _, b := range r.Bans {
		bans[b.Prefix] = b
		lengths[b.Prefix.Bits()] = true
	}
	r.Ineffective = slices.DeleteFunc(r.Ineffective, func(x Ineffective) bool { return !bans[x.Prefix].Route })
	for i := range r.Clients {
		c := &r.Clients[i]
		if b, ok := bans[c.Prefix]; ok {
			c.State = state(b)
		}
		for bits := range lengths { // of wider bans, by hand or under an earlier policy
			wider, err := c.Prefix.Addr().Prefix(bits)
			if b, ok := bans[wider]; ok && err == nil && bits < c.Prefix.Bits() && state(b) == Blocked {
				c.State = Blocked
			}
		}
	}
}

func state(b Ban) State {
	switch {
	case b.Held:
		return Held
	case b.Route, b.Other:
		return Blocked
	case len(b.Targets) == 0:
		return Protected
	}
	return Open
}
