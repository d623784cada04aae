// Package report tells people and programs what smtpban knows: which clients
// attacked, and who is banned.
package report

import (
	"cmp"
	"iter"
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

// Report is the state of things at a moment, and what led to it.
type Report struct {
	Host    string    // of this system, for whoever gets reports of several
	Since   time.Time // clients that attacked after it are named; zero for all
	Until   time.Time
	Clients []Client // those with most failures first
	Bans    []Ban    // of our own in force at Until, in order of the prefix; of too many those with most failures

	MoreClients, MoreBans int // beyond the first thousand of each

	Imported map[string]int // bans in force of each set that was imported, by its name

	Surplus int // prefixes that have no route because there are too many

	// Ineffective are the bans whose clients failed again after Since although
	// they were blocked: their packets come, or our answers go, another way.
	Ineffective []Ineffective

	Attackers int // clients that failed after Since
	Changes   Changes
	Near      Near
	Networks  []Network // from which several clients failed after Since, those with most failures first
	Users     Users
	Hours     []Hour // since that of Since, but no more than thirteen weeks

	Seen    []Seen      // since the hour of Since, in the order of ban.Classes
	Gaps    []store.Gap // noticed after Since, in that order
	Unknown []store.Shape

	held map[netip.Prefix]bool // clients whose bans are held back

	protected int // bans in force without effect, since nobody in them may be blocked

	targets  ban.Limits // how many prefixes all bans are to block
	covering []Ban      // those not in Bans that cover one of Clients or Ineffective
}

// maxNamed is how many clients and bans a report names. Nobody reads more, and
// its memory must not depend on how many attack.
const maxNamed = 1000

// Seen says how often a class was seen.
type Seen struct {
	Class ban.Class
	store.Count
}

// Bans returns the bans in force at now. Whether the kernel blocks them is for
// Enforce to say.
func Bans(tx *store.Tx, never ban.NeverBan, now time.Time) ([]Ban, error) {
	var all []Ban
	for b, err := range bans(tx, never, now) {
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// OwnBans returns Bans without those that were imported, of which there may be very
// many.
func OwnBans(tx *store.Tx, never ban.NeverBan, now time.Time) ([]Ban, error) {
	var own []Ban
	for b, err := range bans(tx, never, now) {
		if err != nil {
			return nil, err
		}
		if b.Source() == "" {
			own = append(own, b)
		}
	}
	return own, nil
}

// bans yields what Bans returns.
func bans(tx *store.Tx, never ban.NeverBan, now time.Time) iter.Seq2[Ban, error] {
	return func(yield func(Ban, error) bool) {
		for b, err := range tx.Bans() {
			if err == nil && !b.Active(now) {
				continue
			}
			var targets []netip.Prefix
			if err == nil {
				targets, err = tx.Targets(b, never)
			}
			if !yield(Ban{Ban: b, Targets: targets}, err) || err != nil {
				return
			}
		}
	}
}

// New returns the report on the time from since to now. It takes no client for
// blocked before Enforce is called.
func New(tx *store.Tx, policy ban.Policy, never ban.NeverBan, since, now time.Time) (Report, error) {
	r := Report{Since: since, Until: now, held: map[netip.Prefix]bool{}, Imported: map[string]int{}}
	course, changes := newCourse(since, now), newChanges(since)
	lengths := map[int]bool{} // of the bans
	for _, step := range []func() error{
		func() error { return course.readHours(tx) },
		func() error { return r.nameBans(tx, never, lengths, course, changes) },
		func() error { return nameEnded(tx, now, course, changes) },
		func() error { return r.nameClients(tx, policy, never) },
		func() error { return r.cover(tx, never, lengths) },
		func() (err error) { r.Seen, err = seenSince(tx, since); return err },
		func() (err error) { r.Users, err = usersSince(tx, since); return err },
		func() (err error) { r.Gaps, err = gapsSince(tx, since); return err },
		func() (err error) { r.Unknown, err = Unknown(tx); return err },
	} {
		if err := step(); err != nil {
			return Report{}, err
		}
	}
	r.Changes, r.Hours = changes.take(), course.take()
	return r, nil
}

// nameBans finds the bans, and the first of those whose clients failed after Since
// although the whole prefix was blocked.
func (r *Report) nameBans(tx *store.Tx, never ban.NeverBan, lengths map[int]bool, course *course, changes *changes) error {
	named := top[Ban]{less: func(a, b Ban) int { return cmp.Compare(b.Failures, a.Failures) }}
	var last netip.Prefix
	for b, err := range bans(tx, never, r.Until) {
		if err != nil {
			return err
		}
		if source := b.Source(); source != "" {
			r.Imported[source]++
		} else {
			named.add(b)
			if !b.Held && len(b.Targets) == 0 {
				r.protected++
			}
			course.ban(b.Ban, time.Time{})
			if err := changes.begin(tx, never, b); err != nil {
				return err
			}
		}
		lengths[b.Prefix.Bits()] = true
		if b.Held {
			r.held[b.Prefix] = true
		}
		for _, target := range b.Targets {
			switch {
			case target == last: // there are several bans on the prefix
			case target.Addr().Is4():
				r.targets.IPv4++
			default:
				r.targets.IPv6++
			}
			last = target
		}
		if b.Source() != "" {
			continue // when it got its route is not noted
		}
		x, err := tx.Enforced(b.Prefix)
		if err != nil {
			return err
		}
		if x.Late.After(r.Since) && slices.Equal(b.Targets, []netip.Prefix{b.Prefix}) && len(r.Ineffective) < maxNamed {
			r.Ineffective = append(r.Ineffective, Ineffective{b.Prefix, x.Since, x.Late})
		}
	}
	r.Bans, r.MoreBans = named.take()
	slices.SortFunc(r.Bans, func(a, b Ban) int { return ban.ComparePrefix(a.Prefix, b.Prefix) })
	return nil
}

// nameClients finds the clients, and in what networks they are.
func (r *Report) nameClients(tx *store.Tx, policy ban.Policy, never ban.NeverBan) error {
	named := top[Client]{less: func(a, b Client) int { return cmp.Compare(b.Failures, a.Failures) }}
	near, networks := newNearest(policy, r.Since), newNetworks()
	for c, err := range tx.Clients() {
		if err != nil {
			return err
		}
		failed := c.Failures > 0 && c.Last.After(r.Since)
		if c.Failures == 0 || !failed && !r.Until.Before(c.Until) && !r.held[c.Prefix] {
			continue
		}
		state := Open
		if protected(c, never) {
			state = Protected
		}
		named.add(Client{c.Prefix, c.Failures, c.First, c.Last, state})
		if !failed {
			continue
		}
		r.Attackers++
		networks.add(c)
		if state == Open {
			near.add(c)
		}
	}
	r.Clients, r.MoreClients = named.take()
	r.Networks = networks.take()
	r.Near = near.take()
	return nil
}

// cover finds the bans that are not named, and cover somebody who is. lengths are
// those of the bans' prefixes.
func (r *Report) cover(tx *store.Tx, never ban.NeverBan, lengths map[int]bool) error {
	known := map[netip.Prefix]bool{}
	for _, b := range r.Bans {
		known[b.Prefix] = true
	}
	var named []netip.Prefix
	for _, c := range r.Clients {
		named = append(named, c.Prefix)
	}
	for _, x := range r.Ineffective {
		named = append(named, x.Prefix)
	}
	for _, p := range named {
		for bits := range lengths {
			wider, err := p.Addr().Prefix(bits)
			if err != nil || bits > p.Bits() || known[wider] {
				continue
			}
			known[wider] = true
			b, ok, err := tx.InForce(wider, r.Until)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			targets, err := tx.Targets(b, never)
			if err != nil {
				return err
			}
			r.covering = append(r.covering, Ban{Ban: b, Targets: targets})
		}
	}
	return nil
}

// top keeps the first maxNamed of many, of equals those that came first.
type top[T any] struct {
	less  func(a, b T) int
	kept  []T
	count int
}

func (t *top[T]) add(x T) {
	t.kept = append(t.kept, x)
	t.count++
	if len(t.kept) >= 4*maxNamed {
		t.trim()
	}
}

func (t *top[T]) trim() {
	slices.SortStableFunc(t.kept, t.less)
	t.kept = t.kept[:min(len(t.kept), maxNamed)]
}

// take returns what is kept, in order, and how many more there were.
func (t *top[T]) take() (kept []T, more int) {
	t.trim()
	return t.kept, t.count - len(t.kept)
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

// Targets returns the prefixes of which Enforce is to know who blocks them.
func (r *Report) Targets() []netip.Prefix {
	return append(Targets(r.Bans), Targets(r.covering)...)
}

// Limit sets how many of the prefixes to block are beyond the limits.
func (r *Report) Limit(limits ban.Limits) {
	r.Surplus = 0
	if limits.IPv4 > 0 {
		r.Surplus += max(r.targets.IPv4-limits.IPv4, 0)
	}
	if limits.IPv6 > 0 {
		r.Surplus += max(r.targets.IPv6-limits.IPv6, 0)
	}
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
	Enforce(r.covering, blockers)
	bans := map[netip.Prefix]Ban{}
	lengths := map[int]bool{}
	for _, b := range slices.Concat(r.Bans, r.covering) {
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
