package route

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"smtpban/internal/ban"
)

// textOf returns what each error says, "" for nil.
func textOf(errs []error) []string {
	texts := make([]string, len(errs))
	for i, err := range errs {
		if err != nil {
			texts[i] = err.Error()
		}
	}
	return texts
}

func TestForeignRoutesAreReportedByNameAndLeftAlone(t *testing.T) {
	table := privateTable(t)
	ip(t, "link add uplink type veth peer name far")
	ip(t, "link set uplink up")
	ip(t, "addr add 192.0.2.2/24 dev uplink")
	ipEach(t, []string{
		"route add 203.0.113.1 via 192.0.2.1 dev uplink proto static",
		"route add blackhole 203.0.113.2 proto bird",
		"route add unreachable 203.0.113.3 proto static",
		"route add 203.0.113.4 dev lo proto static scope link",
		"route add 203.0.113.5 proto static metric 0 nexthop via 192.0.2.3 dev uplink weight 1 nexthop via 192.0.2.4 dev uplink weight 1",
		"route add blackhole 2001:db8:1::/64 proto bird metric 1",
		"route add throw 2001:db8:2::/64 proto 249 metric 1",
	})
	before := ip(t, "route show table all")

	errs := table.Apply(additions(parsePrefixes(
		"203.0.113.1/32", "203.0.113.2/32", "203.0.113.3/32", "203.0.113.4/32", "203.0.113.5/32",
		"2001:db8:1::/64", "2001:db8:2::/64")))
	if diff := cmp.Diff([]string{
		"adding blackhole 203.0.113.1/32: there is a route that is not ours: unicast via 192.0.2.1 proto static",
		"adding blackhole 203.0.113.2/32: there is a route that is not ours: blackhole proto bird",
		"adding blackhole 203.0.113.3/32: there is a route that is not ours: unreachable proto static",
		"adding blackhole 203.0.113.4/32: there is a route that is not ours: unicast proto static",
		"adding blackhole 203.0.113.5/32: there is a route that is not ours: unicast via 192.0.2.3 via 192.0.2.4 proto static",
		"adding blackhole 2001:db8:1::/64: there is a route that is not ours: blackhole proto bird",
		"adding blackhole 2001:db8:2::/64: there is a route that is not ours: throw proto 249",
	}, textOf(errs)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	for _, err := range errs {
		if !errors.Is(err, ErrForeign) {
			t.Errorf("%v: not ErrForeign", err)
		}
	}
	if diff := cmp.Diff(before, ip(t, "route show table all")); diff != "" {
		t.Errorf("routes changed (-before +after):\n%s", diff)
	}
}

func TestOneInAHundredForeignStopsOnlyItself(t *testing.T) {
	table := privateTable(t)
	prefixes := numbered(2000)
	var commands []string
	isForeign := make(map[netip.Prefix]bool)
	for i := 7; i < len(prefixes); i += 101 { // both families, first and middle of a batch
		p := prefixes[i]
		isForeign[p] = true
		commands = append(commands, fmt.Sprintf("route add %v dev lo proto static metric %d", p, metric(p)))
	}
	ipEach(t, commands)

	var ours []netip.Prefix
	for i, err := range table.Apply(additions(prefixes)) {
		p := prefixes[i]
		if got := errors.Is(err, ErrForeign); got != isForeign[p] {
			t.Errorf("%v: ErrForeign is %v, want %v (%v)", p, got, isForeign[p], err)
		}
		if !isForeign[p] {
			ours = append(ours, p)
		}
	}
	if len(ours) != 1980 {
		t.Fatalf("%d routes of ours, want 1980", len(ours))
	}
	listed := make(map[netip.Prefix]bool)
	for _, p := range list(t, table) {
		listed[p] = true
	}
	if len(listed) != len(ours) {
		t.Errorf("%d routes listed, want %d", len(listed), len(ours))
	}
	for _, p := range ours {
		if !listed[p] {
			t.Errorf("%v is not listed", p)
		}
	}
}

func TestDeletingNeverTouchesForeignRoutes(t *testing.T) {
	table := privateTable(t)
	other := openTable(t, Options{Protocol: testProtocol, Table: 1000})
	prefixes := parsePrefixes(
		"203.0.113.1/32", "203.0.113.2/32", "203.0.113.3/32", "203.0.113.4/32",
		"2001:db8:1::/64", "2001:db8:2::/64", "2001:db8:3::/64", "2001:db8:4::/64")
	ipEach(t, []string{
		"route add blackhole 203.0.113.1 proto static",
		"route add 203.0.113.2 dev lo proto static",
		"route add unreachable 203.0.113.3 proto 249",
		"route add blackhole 2001:db8:1::/64 proto static metric 1",
		"route add 2001:db8:2::/64 dev lo proto static metric 1",
		"route add blackhole 2001:db8:3::/64 proto 249", // metric 1024
	})
	mustApply(t, other, additions(prefixes))
	before := ip(t, "route show table all")

	mustApply(t, table, deletions(prefixes))
	if diff := cmp.Diff(before, ip(t, "route show table all")); diff != "" {
		t.Errorf("routes changed (-before +after):\n%s", diff)
	}
}

func TestOurRouteWinsOverAnAdminsOfHigherMetric(t *testing.T) {
	table := privateTable(t)
	ipEach(t, []string{
		"route add 203.0.113.1 dev lo proto static metric 5",
		"route add 2001:db8:1::/64 dev lo proto static", // metric 1024
	})
	prefixes := parsePrefixes("203.0.113.1/32", "2001:db8:1::/64")
	mustApply(t, table, additions(prefixes))
	wantBlockers(t, table, prefixes, Us, Us)
	mustApply(t, table, additions(prefixes)) // finds ours, not the admin's beside it

	mustApply(t, table, deletions(prefixes))
	if got := ip(t, "route show proto static"); len(got) != 1 {
		t.Errorf("the admin's IPv4 route: %q", got)
	}
	if got := ip(t, "-6 route show proto static"); len(got) != 1 {
		t.Errorf("the admin's IPv6 route: %q", got)
	}
}

func TestApplyRefusesWhatMustNeverBeBlocked(t *testing.T) {
	table := privateTable(t)
	refused := []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/0"),
		netip.MustParsePrefix("192.0.0.0/15"),
		netip.MustParsePrefix("::/0"),
		netip.MustParsePrefix("2001:db8::/31"),
		{},
		netip.MustParsePrefix("203.0.113.9/24"),
		netip.MustParsePrefix("2001:db8::1/64"),
		netip.MustParsePrefix("::ffff:203.0.113.9/128"),
	}
	good := parsePrefixes("198.51.0.0/16", "2001:db8::/32")
	errs := table.Apply(additions(append(refused, good...)))
	if diff := cmp.Diff([]string{
		"adding blackhole 0.0.0.0/0: prefix is too short to be blocked: the limit is /16",
		"adding blackhole 192.0.0.0/15: prefix is too short to be blocked: the limit is /16",
		"adding blackhole ::/0: prefix is too short to be blocked: the limit is /32",
		"adding blackhole 2001:db8::/31: prefix is too short to be blocked: the limit is /32",
		"invalid Prefix is not a prefix of a network",
		"203.0.113.9/24 is not a prefix of a network",
		"2001:db8::1/64 is not a prefix of a network",
		"::ffff:203.0.113.9/128 is not a prefix of a network",
		"", "",
	}, textOf(errs)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	for i, err := range errs {
		if got, want := errors.Is(err, ErrTooShort), i < 4; got != want {
			t.Errorf("change %d: ErrTooShort is %v, want %v", i, got, want)
		}
	}
	if diff := diffPrefixes(good, list(t, table)); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
}

func TestWithoutCapabilityApplySaysPermissionAndListWorks(t *testing.T) {
	privateNetwork(t)
	dropNetAdmin(t)
	table := openTable(t, Options{Protocol: testProtocol, Table: mainTable})

	p4, p6 := netip.MustParsePrefix("203.0.113.9/32"), netip.MustParsePrefix("2001:db8:1::/64")
	errs := table.Apply([]ban.Change{{Prefix: p4}, {Prefix: p6, Delete: true}})
	if diff := cmp.Diff([]string{
		"adding blackhole 203.0.113.9/32: operation not permitted (this needs CAP_NET_ADMIN)",
		"deleting blackhole 2001:db8:1::/64: operation not permitted (this needs CAP_NET_ADMIN)",
	}, textOf(errs)); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	for _, err := range errs {
		if !errors.Is(err, os.ErrPermission) {
			t.Errorf("%v: not os.ErrPermission", err)
		}
	}
	if diff := diffPrefixes([]netip.Prefix{}, list(t, table)); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	wantBlockers(t, table, []netip.Prefix{p4, p6}, Nobody, Nobody)
}

// A kernel without IPv6 cannot be had in a namespace, but it treats IPv6 as this
// one treats any family that nothing is registered for.
const noFamily = unix.AF_NFC

func TestWithoutIPv6InTheKernelOnlyAddingFails(t *testing.T) {
	table := privateTable(t)
	answer := table.socket.exchange([]request{{
		kind: unix.RTM_NEWROUTE,
		body: appendHeader(nil, unix.RtMsg{Family: noFamily, Dst_len: 64}),
	}})
	if !errors.Is(answer[0], unix.EOPNOTSUPP) {
		t.Fatalf("a route of a family that is not there: %v, want EOPNOTSUPP", answer[0])
	}
	p := netip.MustParsePrefix("2001:db8:1::/64")
	err := explain(ban.Change{Prefix: p}, unix.EOPNOTSUPP)
	if !errors.Is(err, ErrNoIPv6) || !strings.Contains(err.Error(), p.String()) {
		t.Errorf("adding: %v, want ErrNoIPv6 for %v", err, p)
	}
	if err := explain(ban.Change{Prefix: p, Delete: true}, unix.EOPNOTSUPP); err != nil {
		t.Errorf("deleting: %v, want nil", err)
	}
	if err := explain(ban.Change{Prefix: netip.MustParsePrefix("203.0.113.9/32")}, unix.EOPNOTSUPP); errors.Is(err, ErrNoIPv6) || err == nil {
		t.Errorf("adding IPv4: %v, want another error", err)
	}
}

func TestLostAnswersAreAskedForAgain(t *testing.T) {
	table := privateTable(t)
	prefixes := numbered(1000)
	mustApply(t, table, additions(prefixes))
	ip(t, "route add blackhole 203.0.113.1 proto static")
	foreign := netip.MustParsePrefix("203.0.113.1/32")

	// Room for very few of the 200 answers of a batch.
	if err := table.socket.handle.Socket.SetReceiveBufferSize(1, false); err != nil {
		t.Fatal(err)
	}
	if _, err := table.socket.sendBatch(requestsFor(table, prefixes[:batchSize])); !errors.Is(err, unix.ENOBUFS) {
		t.Fatalf("a batch with 200 answers: %v, want ENOBUFS", err)
	}
	errs := table.Apply(additions(append(prefixes, foreign)))
	if len(errs) != len(prefixes)+1 {
		t.Fatalf("%d errors, want %d", len(errs), len(prefixes)+1)
	}
	for i, err := range errs {
		if got, want := errors.Is(err, ErrForeign), i == len(prefixes); got != want {
			t.Errorf("change %d: %v", i, err)
		}
	}
	mustApply(t, table, deletions(prefixes))
	mustApply(t, table, deletions(prefixes)) // a thousand ESRCH
	if diff := diffPrefixes([]netip.Prefix{}, list(t, table)); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
}

func requestsFor(table *Table, prefixes []netip.Prefix) []request {
	var requests []request
	for _, c := range additions(prefixes) {
		requests = append(requests, table.request(c))
	}
	return requests
}
