package route

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Forwarding is what the machine does with packets that are not for itself. A
// blackhole keeps none from being passed on: it is the client's address that is
// blocked, not where the packet goes.
type Forwarding struct {
	IPv4, IPv6 bool // some interface passes them on

	// Unfiltered is set if an interface passes on IPv4 packets from a client to
	// whom an answer could not go (rp_filter=0). IPv6 has no such filter.
	Unfiltered bool
}

// Attributes of a netconfmsg and its interfaces that are none: see
// linux/netconf.h.
const (
	netconfHeader     = 4 // a family, padded
	netconfIndex      = 1 // NETCONFA_IFINDEX
	netconfForwarding = 2
	netconfRPFilter   = 3

	allInterfaces = -1
	loopback      = 1 // always: see net/core/dev.c
)

// netconf is how one interface is set.
type netconf struct {
	index      int32
	forwarding bool
	rpFilter   int32
}

// Forwarding asks what sysctl(8) tells as net.ipv4.conf.*.forwarding and
// rp_filter. A sandbox may hide that place, but not netlink's.
func (t *Table) Forwarding() (Forwarding, error) {
	four, err := t.netconf(unix.AF_INET)
	if err != nil {
		return Forwarding{}, err
	}
	six, err := t.netconf(unix.AF_INET6)
	if err != nil {
		return Forwarding{}, err
	}
	var f Forwarding
	strictest := int32(0) // the higher value of all's and the interface's own counts
	for _, c := range four {
		if c.index == allInterfaces {
			strictest = c.rpFilter
		}
	}
	for _, c := range four {
		if c.index > loopback && c.forwarding {
			f.IPv4 = true
			f.Unfiltered = f.Unfiltered || max(c.rpFilter, strictest) == 0
		}
	}
	for _, c := range six {
		f.IPv6 = f.IPv6 || c.index > loopback && c.forwarding
	}
	return f, nil
}

func (t *Table) netconf(family uint8) ([]netconf, error) {
	header := make([]byte, netconfHeader)
	header[0] = family
	all, err := dump(t.socket, request{kind: unix.RTM_GETNETCONF, body: header}, family, parseNetconf)
	if err != nil {
		return nil, fmt.Errorf("asking how packets are forwarded: %w", err)
	}
	return all, nil
}

func parseNetconf(data []byte) (netconf, bool, error) {
	if len(data) < netconfHeader {
		return netconf{}, false, fmt.Errorf("interface settings of %d bytes are too short", len(data))
	}
	attrs, err := nl.ParseRouteAttr(data[netconfHeader:])
	if err != nil {
		return netconf{}, false, fmt.Errorf("reading an interface's settings: %w", err)
	}
	var c netconf
	for _, a := range attrs {
		if len(a.Value) != 4 {
			continue
		}
		value := int32(binary.NativeEndian.Uint32(a.Value))
		switch a.Attr.Type {
		case netconfIndex:
			c.index = value
		case netconfForwarding:
			c.forwarding = value != 0
		case netconfRPFilter:
			c.rpFilter = value
		}
	}
	return c, true, nil
}
