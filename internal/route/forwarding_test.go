package route

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestForwardingIsWhatSysctlTells(t *testing.T) {
	table := privateTable(t)
	ip(t, "link add eth0 type veth peer name eth1")
	for _, name := range []string{"all", "default", "eth0", "eth1"} {
		sysctl(t, "net.ipv4.conf."+name+".rp_filter", "0")
	}
	for _, step := range []struct {
		setting, value string
		want           Forwarding
	}{
		{"net.ipv4.conf.lo.forwarding", "1", Forwarding{}},
		{"net.ipv4.conf.eth0.forwarding", "1", Forwarding{IPv4: true, Unfiltered: true}},
		{"net.ipv4.conf.eth0.rp_filter", "2", Forwarding{IPv4: true}},
		{"net.ipv4.conf.eth1.forwarding", "1", Forwarding{IPv4: true, Unfiltered: true}},
		{"net.ipv4.conf.all.rp_filter", "1", Forwarding{IPv4: true}},
		{"net.ipv6.conf.all.forwarding", "1", Forwarding{IPv4: true, IPv6: true}},
		{"net.ipv4.conf.eth0.forwarding", "0", Forwarding{IPv4: true, IPv6: true}},
		{"net.ipv4.conf.eth1.forwarding", "0", Forwarding{IPv6: true}},
	} {
		sysctl(t, step.setting, step.value)
		got, err := table.Forwarding()
		if err != nil {
			t.Fatal(err)
		}
		if got != step.want {
			t.Errorf("after %s=%s: %+v, want %+v", step.setting, step.value, got, step.want)
		}
	}
}

func TestShortInterfaceSettingsAreRefused(t *testing.T) {
	if _, _, err := parseNetconf([]byte{2, 0}); err == nil || !strings.Contains(err.Error(), "too short") {
		t.Errorf("error %v, want that they are too short", err)
	}
}

func TestListenersAreFoundInBothFamiliesAndAtTheirPortsOnly(t *testing.T) {
	privateNetwork(t)
	for address, port := range map[string]uint16{"127.0.0.1": 25, "::1": 587, "::": 465} {
		listen(t, address, port)
	}
	listen(t, "127.0.0.1", 993)
	visitFrom(t, "127.0.0.7", listen(t, "127.0.0.1", 2525)) // no listener's state

	got, err := Listeners([]uint16{25, 465, 587, 2525})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, netip.AddrPort.Compare)
	var names []string
	for _, a := range got {
		names = append(names, a.String())
	}
	if diff := cmp.Diff([]string{"127.0.0.1:25", "127.0.0.1:2525", "[::]:465", "[::1]:587"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if none, err := Listeners(nil); none != nil || err != nil {
		t.Errorf("at no port: %v, error %v", none, err)
	}
}

func TestTryEndingHarmsNobody(t *testing.T) {
	privateWorld(t)
	v := visitFrom(t, "203.0.113.9", listen(t, "127.0.0.1", 25))
	if err := TryEnding(); err != nil {
		t.Errorf("error %v where connections can be ended", err)
	}
	if !v.alive(t) {
		t.Error("a connection was ended")
	}
}

func TestHoldersAreTheRoutesOfOthersThatStandInTheWay(t *testing.T) {
	table := privateTable(t)
	ipEach(t, []string{
		"route add 203.0.113.1 dev lo proto static",
		"route add blackhole 203.0.113.2 proto bird",
		"route add 203.0.113.3 dev lo metric 7", // not where ours would be
		"route add 203.0.113.4 dev lo",          // nobody asks
		"-6 route add unreachable 2001:db8:1::/64 metric 1",
	})
	mustApply(t, table, additions(parsePrefixes("203.0.113.5/32")))
	got, err := table.Holders(parsePrefixes("203.0.113.1/32", "203.0.113.2/32", "203.0.113.3/32", "203.0.113.5/32", "2001:db8:1::/64"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"203.0.113.1/32":  "unicast proto static",
		"203.0.113.2/32":  "blackhole proto bird",
		"2001:db8:1::/64": "unreachable proto boot",
	}
	names := map[string]string{}
	for prefix, holder := range got {
		names[prefix.String()] = holder
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
