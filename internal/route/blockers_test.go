package route

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// wantBlockers checks who blocks each of the prefixes.
func wantBlockers(t *testing.T, table *Table, prefixes []netip.Prefix, want ...Blocker) {
	t.Helper()
	got, err := table.Blockers(prefixes)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Blockers(%v) (-want +got):\n%s", prefixes, diff)
	}
}

func TestBlockersTellsOurRoutesFromOthers(t *testing.T) {
	table := privateTable(t)
	mustApply(t, table, additions(parsePrefixes(
		"203.0.113.1/32", "198.51.100.0/24", "2001:db8:1::/64", "2001:db8:2::25/128")))
	ipEach(t, []string{
		"route add blackhole 203.0.113.2 proto bird",
		"route add unreachable 203.0.113.3",
		"route add prohibit 203.0.113.4",
		"route add 203.0.113.5 dev lo",
		"route add throw 203.0.113.6",
		"route add 198.51.100.128 dev lo", // within our /24
		"route add blackhole 2001:db8:3::/64 proto bird metric 1",
		"route add unreachable 2001:db8:4::/64",
		"route add prohibit 2001:db8:5::/64",
		"route add 2001:db8:6::/64 dev lo",
		"route add throw 2001:db8:8::/64",
	})
	for _, c := range []struct {
		prefix string
		want   Blocker
	}{
		{"203.0.113.1/32", Us},
		{"203.0.113.2/32", Other},
		{"203.0.113.3/32", Other},
		{"203.0.113.4/32", Other},
		{"203.0.113.5/32", Nobody},
		{"203.0.113.6/32", Nobody},
		{"203.0.113.7/32", Nobody}, // no route at all
		{"127.0.0.1/32", Nobody},   // the machine itself
		{"198.51.100.0/24", Us},
		{"198.51.100.7/32", Us},
		{"198.51.100.128/32", Nobody},
		{"2001:db8:1::/64", Us},
		{"2001:db8:1::25/128", Us},
		{"2001:db8:2::25/128", Us},
		{"2001:db8:2::/64", Nobody}, // one address of it is not the whole
		{"2001:db8:3::/64", Other},
		{"2001:db8:4::/64", Other},
		{"2001:db8:5::/64", Other},
		{"2001:db8:6::/64", Nobody},
		{"2001:db8:7::/64", Nobody},
		{"2001:db8:8::/64", Nobody},
	} {
		wantBlockers(t, table, parsePrefixes(c.prefix), c.want)
	}
}

func TestAdminsRouteToABannedAddressLeavesItOpen(t *testing.T) {
	table := privateTable(t)
	banned := parsePrefixes("203.0.113.9/32")
	ip(t, "route add 203.0.113.9 dev lo proto static")
	if errs := table.Apply(additions(banned)); len(errs) != 1 {
		t.Errorf("Apply: %v, want one error", errs)
	}
	wantBlockers(t, table, banned, Nobody)
}

func TestPolicyRuleThatOverrulesOurTableLeavesTheClientOpen(t *testing.T) {
	table := privateTable(t)
	banned := parsePrefixes("203.0.113.9/32", "2001:db8:1::/64")
	mustApply(t, table, additions(banned))
	for _, family := range []string{"-4", "-6"} {
		ip(t, family+" route add default dev lo table 1000")
		ip(t, family+" rule add lookup 1000 priority 100")
	}
	wantBlockers(t, table, banned, Nobody, Nobody)
}

func TestBlockersOfManyAnswersEachInItsPlace(t *testing.T) {
	table := privateTable(t)
	ip(t, "route add default dev lo") // so that a lookup has something to say
	ip(t, "-6 route add default dev lo")
	prefixes := numbered(2000)
	var ours []netip.Prefix
	want := make([]Blocker, len(prefixes))
	for i := 0; i < len(prefixes); i += 3 {
		ours = append(ours, prefixes[i])
		want[i] = Us
	}
	mustApply(t, table, additions(ours))
	wantBlockers(t, table, prefixes, want...)
}

func TestLookupWithoutIPv6IsOpenAndOneThatFailsIsAnError(t *testing.T) {
	if got, err := blocker(unix.EOPNOTSUPP, false); got != Nobody || err != nil {
		t.Errorf("without IPv6: %v, %v; want Nobody", got, err)
	}
	if _, err := blocker(unix.ENOBUFS, true); !errors.Is(err, unix.ENOBUFS) {
		t.Errorf("lost answer: %v, want ENOBUFS", err)
	}
}

func TestBlockersRefusesAnInvalidPrefix(t *testing.T) {
	table := privateTable(t)
	if _, err := table.Blockers([]netip.Prefix{{}}); err == nil {
		t.Error("no error")
	}
}
