package ban

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func wanted(prefix string, failures int, start int64, manual bool) Wanted {
	return Wanted{netip.MustParsePrefix(prefix), manual, failures, time.Unix(start, 0)}
}

func choose(limits Limits, all []Wanted) (chosen []string, surplus int) {
	c := NewChoice(limits)
	for _, w := range all {
		c.Add(w)
	}
	for _, p := range c.Prefixes() {
		chosen = append(chosen, p.String())
	}
	return chosen, c.Surplus()
}

func TestTheLeastActiveThenTheOldestGiveWayAndTheAdminsLast(t *testing.T) {
	all := []Wanted{
		wanted("192.0.2.1/32", 0, 1, true),
		wanted("192.0.2.2/32", 9, 2, false),
		wanted("192.0.2.3/32", 5, 4, false),
		wanted("192.0.2.4/32", 5, 3, false),
		wanted("192.0.2.5/32", 7, 1, false),
		wanted("2001:db8:1::/64", 50, 1, false),
		wanted("2001:db8:2::/64", 60, 1, false),
	}
	four := []string{"192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32", "192.0.2.4/32", "192.0.2.5/32"}
	six := []string{"2001:db8:1::/64", "2001:db8:2::/64"}
	for _, test := range []struct {
		limits  Limits
		want    []string
		surplus int
	}{
		{Limits{}, slices.Concat(four, six), 0},
		{Limits{IPv4: 5, IPv6: 2}, slices.Concat(four, six), 0},
		{Limits{IPv4: 4}, slices.Concat(four[:3], four[4:], six), 1},
		{Limits{IPv4: 3}, slices.Concat(four[:2], four[4:], six), 2},
		{Limits{IPv4: 2, IPv6: 1}, slices.Concat(four[:2], six[1:]), 4},
		{Limits{IPv4: 1}, slices.Concat(four[:1], six), 4},
	} {
		for _, order := range [][]Wanted{all, reversed(all)} {
			got, surplus := choose(test.limits, order)
			if slices.Sort(got); surplus != test.surplus || !slices.Equal(got, test.want) {
				t.Errorf("%+v: %v and a surplus of %d, want %v and %d", test.limits, got, surplus, test.want, test.surplus)
			}
		}
	}
}

func reversed(all []Wanted) []Wanted {
	all = slices.Clone(all)
	slices.Reverse(all)
	return all
}

func TestChoiceIsThatOfSortingEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []Wanted
		for i := range rapid.IntRange(0, 40).Draw(t, "n") {
			all = append(all, wanted(fmt.Sprintf("192.0.2.%d/32", i), rapid.IntRange(0, 3).Draw(t, "failures"),
				rapid.Int64Range(0, 3).Draw(t, "start"), rapid.Bool().Draw(t, "manual")))
		}
		limit := rapid.IntRange(1, 40).Draw(t, "limit")
		best := slices.Clone(all)
		slices.SortFunc(best, func(a, b Wanted) int { return compareWanted(b, a) })
		best = best[:min(limit, len(best))]
		slices.SortFunc(best, func(a, b Wanted) int { return ComparePrefix(a.Prefix, b.Prefix) })
		var want []string
		for _, w := range best {
			want = append(want, w.Prefix.String())
		}
		got, surplus := choose(Limits{IPv4: limit}, rapid.Permutation(all).Draw(t, "order"))
		if len(all) <= limit { // as they were added
			return
		}
		if diff := cmp.Diff(want, got); diff != "" || surplus != len(all)-limit {
			t.Errorf("surplus %d of %d (-sorted +chosen):\n%s", surplus, len(all), diff)
		}
	})
}
