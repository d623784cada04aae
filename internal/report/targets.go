package report

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// Network is one from which several clients failed.
type Network struct {
	Prefix   netip.Prefix // a /24 or /48, or longer
	Clients  int
	Failures int // of all of them
}

// The length of the networks in which clients are seen as neighbours: what a
// hoster hands out.
const (
	network4 = 24
	network6 = 48
)

// networks adds up clients that come in order of their prefix, so that all of a
// network come one after another.
type networks struct {
	top[Network]
	current Network
}

func newNetworks() *networks {
	return &networks{top: top[Network]{less: func(a, b Network) int { return cmp.Compare(b.Failures, a.Failures) }}}
}

func (n *networks) add(c ban.Client) {
	bits := network6
	if c.Prefix.Addr().Is4() {
		bits = network4
	}
	wider := netip.PrefixFrom(c.Prefix.Addr(), min(bits, c.Prefix.Bits())).Masked()
	if wider != n.current.Prefix {
		n.close()
		n.current = Network{Prefix: wider}
	}
	n.current.Clients++
	n.current.Failures += c.Failures
}

func (n *networks) close() {
	if n.current.Clients > 1 {
		n.top.add(n.current)
	}
}

func (n *networks) take() []Network {
	n.close()
	n.current = Network{}
	kept, _ := n.top.take()
	return kept
}

// Near are the clients that came close to a ban after the last report.
type Near struct {
	Clients  []NearMiss // those with most points first
	More     int        // beyond the first thousand
	MaxRetry int        // points that bring a ban
}

// Count is how many there are.
func (n Near) Count() int { return len(n.Clients) + n.More }

// NearMiss is a client that came close to a ban.
type NearMiss struct {
	Prefix netip.Prefix
	Points int       // within findtime, at most
	At     time.Time // the newest of the failures that brought them
}

// nearest finds near misses.
type nearest struct {
	top[NearMiss]
	policy ban.Policy
	since  time.Time
}

func newNearest(policy ban.Policy, since time.Time) *nearest {
	first := func(a, b NearMiss) int { return cmp.Or(cmp.Compare(b.Points, a.Points), b.At.Compare(a.At)) }
	return &nearest{top: top[NearMiss]{less: first}, policy: policy, since: since}
}

// add takes the client for one that came close if a single failure is missing, or
// a fifth of what brings a ban.
func (n *nearest) add(c ban.Client) {
	points, at := n.policy.Peak(c, n.since)
	if points > 0 && n.policy.MaxRetry-points <= max(1, n.policy.MaxRetry/5) {
		n.top.add(NearMiss{c.Prefix, points, at})
	}
}

func (n *nearest) take() Near {
	clients, more := n.top.take()
	return Near{clients, more, n.policy.MaxRetry}
}

// Users are the user names for which passwords were tried.
type Users struct {
	Named  []User // those tried most first
	Others int    // attempts for all others
}

// User is how often a user name was tried, at least.
type User struct {
	Name     string
	Attempts int
}

// usersSince adds up the user names from the hour of since on.
func usersSince(tx *store.Tx, since time.Time) (Users, error) {
	sum := map[string]int{}
	var all Users
	for u, err := range tx.Users(since) {
		if err != nil {
			return Users{}, err
		}
		sum[u.Name] += u.Attempts - u.Others
		all.Others += u.Others
	}
	for name, n := range sum {
		if n > 0 {
			all.Named = append(all.Named, User{name, n})
		}
	}
	slices.SortFunc(all.Named, func(a, b User) int {
		return cmp.Or(cmp.Compare(b.Attempts, a.Attempts), cmp.Compare(a.Name, b.Name))
	})
	for _, u := range all.Named[min(maxNamed, len(all.Named)):] {
		all.Others += u.Attempts
	}
	all.Named = all.Named[:min(maxNamed, len(all.Named))]
	return all, nil
}
