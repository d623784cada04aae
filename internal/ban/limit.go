package ban

import (
	"cmp"
	"container/heap"
	"net/netip"
	"slices"
	"time"
)

// Limits bounds how many prefixes of each family are blocked. 0 is no limit.
type Limits struct {
	IPv4, IPv6 int
}

// Wanted is a prefix that should be blocked, and what speaks for it.
type Wanted struct {
	Prefix   netip.Prefix
	Manual   bool // the admin's own ban gives way last
	Failures int
	Start    time.Time
}

// compareWanted orders by what speaks for a prefix; the last difference only
// makes sure that every run chooses the same.
func compareWanted(a, b Wanted) int {
	if a.Manual != b.Manual {
		if b.Manual {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.Failures, b.Failures), a.Start.Compare(b.Start), ComparePrefix(a.Prefix, b.Prefix))
}

// Choice gathers the prefixes to block within the limits, in memory that these
// bound. Where there are too many, those of bans by hand, then of most failures,
// then of the latest start are chosen.
type Choice struct {
	limits     Limits
	ipv4, ipv6 weakestFirst
	surplus    Limits
}

// NewChoice returns an empty one.
func NewChoice(limits Limits) *Choice { return &Choice{limits: limits} }

// Add puts a prefix to the choice.
func (c *Choice) Add(w Wanted) {
	if w.Prefix.Addr().Is4() {
		c.ipv4.add(w, c.limits.IPv4, &c.surplus.IPv4)
	} else {
		c.ipv6.add(w, c.limits.IPv6, &c.surplus.IPv6)
	}
}

// Prefixes returns those chosen, each family in the order in which they were
// added or, if some gave way, in that of the prefix.
func (c *Choice) Prefixes() []netip.Prefix {
	prefixes := make([]netip.Prefix, 0, len(c.ipv4)+len(c.ipv6))
	for _, family := range []weakestFirst{c.ipv4, c.ipv6} {
		for _, w := range family {
			prefixes = append(prefixes, w.Prefix)
		}
	}
	if c.Surplus() > 0 {
		slices.SortFunc(prefixes, ComparePrefix)
	}
	return prefixes
}

// Surplus returns how many prefixes gave way.
func (c *Choice) Surplus() int { return c.surplus.IPv4 + c.surplus.IPv6 }

// weakestFirst is a list that becomes a heap once the first has to give way.
type weakestFirst []Wanted

func (f *weakestFirst) add(w Wanted, limit int, surplus *int) {
	if limit == 0 || len(*f) < limit {
		*f = append(*f, w)
		return
	}
	if *surplus == 0 {
		heap.Init(f)
	}
	*surplus++
	if compareWanted((*f)[0], w) < 0 {
		(*f)[0] = w
		heap.Fix(f, 0)
	}
}

// The methods of heap.Interface.

func (f weakestFirst) Len() int           { return len(f) }
func (f weakestFirst) Less(i, j int) bool { return compareWanted(f[i], f[j]) < 0 }
func (f weakestFirst) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *weakestFirst) Push(any)          { panic("the heap never grows") }
func (f *weakestFirst) Pop() any          { panic("the heap never shrinks") }
