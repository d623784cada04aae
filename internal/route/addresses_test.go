package route

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parseAddrs(s ...string) []netip.Addr {
	addrs := make([]netip.Addr, len(s))
	for i := range s {
		addrs[i] = netip.MustParseAddr(s[i])
	}
	return addrs
}

func TestAddressesAreThoseOfEveryInterfaceUpOrDown(t *testing.T) {
	table := privateTable(t)
	ip(t, "link add uplink type veth peer name far") // both down
	ip(t, "addr add 192.0.2.2/24 dev uplink")
	ip(t, "addr add 192.0.2.3/24 dev uplink")
	ip(t, "addr add 198.51.100.1 peer 198.51.100.2/32 dev far")
	ip(t, "addr add 203.0.113.1/32 dev lo")
	ip(t, "addr add 203.0.113.1/24 dev uplink")
	ip(t, "addr add 203.0.113.1/24 dev far") // listed once
	ip(t, "addr add 2001:db8::2/64 dev uplink nodad")

	got, err := table.Addresses()
	if err != nil {
		t.Fatal(err)
	}
	var want []netip.Prefix
	for _, p := range []string{
		"127.0.0.1/8", "192.0.2.2/24", "192.0.2.3/24", "198.51.100.1/32", "203.0.113.1/24", "203.0.113.1/32", "::1/128", "2001:db8::2/64",
	} {
		want = append(want, netip.MustParsePrefix(p))
	}
	if diff := cmp.Diff(want, got, comparePrefixes); diff != "" {
		t.Errorf("Addresses (-want +got):\n%s", diff)
	}
}

func TestGatewaysAreTheNextHopsOfEveryDefaultRoute(t *testing.T) {
	table := privateTable(t)
	ip(t, "link add uplink type veth peer name far")
	ip(t, "link set uplink up")
	ip(t, "link set far up")
	ip(t, "addr add 192.0.2.2/24 dev uplink")
	ip(t, "addr add 2001:db8::2/64 dev uplink nodad")
	for _, r := range []string{
		"default via 192.0.2.1 dev uplink metric 10",
		"default metric 20 nexthop via 192.0.2.11 dev uplink nexthop via 192.0.2.12 dev uplink nexthop via inet6 fe80::12 dev uplink",
		"default via inet6 fe80::4 dev uplink metric 30",
		"default dev uplink metric 40", // on the link: no gateway
		"default via 192.0.2.1 dev uplink metric 50",
		"default via 192.0.2.13 dev uplink table 1000",
		"unreachable default metric 60",
		"198.51.100.0/24 via 192.0.2.99 dev uplink", // no default route
		"default via fe80::1 dev uplink",
		"default metric 20 nexthop via 2001:db8::11 dev uplink nexthop via 2001:db8::12 dev uplink",
	} {
		ip(t, "route add "+r)
	}
	ip(t, "nexthop add id 7 via 192.0.2.14 dev uplink")
	ip(t, "route add default metric 70 nhid 7")

	got, err := table.Gateways()
	if err != nil {
		t.Fatal(err)
	}
	want := parseAddrs("192.0.2.1", "192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14",
		"2001:db8::11", "2001:db8::12", "fe80::1", "fe80::4", "fe80::12")
	if diff := cmp.Diff(want, got, comparePrefixes); diff != "" {
		t.Errorf("Gateways (-want +got):\n%s", diff)
	}
}

func TestMachineWithoutDefaultRouteHasNoGateways(t *testing.T) {
	table := privateTable(t)
	got, err := table.Gateways()
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 0 {
		t.Errorf("Gateways: %v, want none", got)
	}
}
