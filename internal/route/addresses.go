package route

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"smtpban/internal/ban"
)

// Addresses returns the machine's own addresses, on every interface, up or not,
// each with the length of its network, sorted.
func (t *Table) Addresses() ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		body := nl.NewIfAddrmsg(int(family)).Serialize()
		found, err := dump(t.socket, request{kind: unix.RTM_GETADDR, body: body}, family, parseAddress)
		if err != nil {
			return nil, fmt.Errorf("listing own addresses: %w", err)
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, ban.ComparePrefix)
	return slices.Compact(all), nil
}

// Gateways returns the next hops of every default route, multipath included, in
// every table, sorted. A default route on the link has none. Next hops that are
// kept as objects are seen as long as the kernel also prints them the old way
// (net.ipv4.nexthop_compat_mode=1, the default).
func (t *Table) Gateways() ([]netip.Addr, error) {
	isDefault := func(r route) bool { return r.prefix.Bits() == 0 }
	routes, err := t.routes(unix.RtMsg{Type: unix.RTN_UNICAST}, 0, isDefault)
	if err != nil {
		return nil, fmt.Errorf("listing default routes: %w", err)
	}
	var all []netip.Addr
	for _, r := range routes {
		all = append(all, r.gateways...)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all), nil
}

// parseAddress reads an ifaddrmsg and its attributes.
func parseAddress(data []byte) (netip.Prefix, bool, error) {
	if len(data) < unix.SizeofIfAddrmsg {
		return netip.Prefix{}, false, fmt.Errorf("address of %d bytes is too short", len(data))
	}
	attrs, err := nl.ParseRouteAttr(data[unix.SizeofIfAddrmsg:])
	if err != nil {
		return netip.Prefix{}, false, fmt.Errorf("reading an address's attributes: %w", err)
	}
	var addr netip.Addr
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.IFA_LOCAL: // on a point-to-point link IFA_ADDRESS is the peer's
			addr, _ = netip.AddrFromSlice(a.Value)
		case unix.IFA_ADDRESS:
			if !addr.IsValid() {
				addr, _ = netip.AddrFromSlice(a.Value)
			}
		}
	}
	const prefixLength = 1 // offset of ifa_prefixlen
	prefix := netip.PrefixFrom(addr, int(data[prefixLength]))
	if !prefix.IsValid() {
		return netip.Prefix{}, false, errors.New("own address without an address")
	}
	return prefix, true, nil
}

// gateways returns the next hops among a route's attributes, or among those of
// one hop of a multipath route.
func gateways(attrs []syscall.NetlinkRouteAttr) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, a := range attrs {
		value := a.Value
		switch a.Attr.Type {
		case unix.RTA_MULTIPATH:
			hops, err := multipath(value)
			if err != nil {
				return nil, err
			}
			all = append(all, hops...)
			continue
		case unix.RTA_VIA: // IPv4 through an IPv6 neighbour: a family, then the address
			value = value[min(2, len(value)):]
		case unix.RTA_GATEWAY:
		default:
			continue
		}
		if addr, ok := netip.AddrFromSlice(value); ok {
			all = append(all, addr)
		}
	}
	return all, nil
}

// multipath returns the next hops in an RTA_MULTIPATH: a row of rtnexthop, each
// with attributes of its own.
func multipath(b []byte) ([]netip.Addr, error) {
	var all []netip.Addr
	for len(b) >= unix.SizeofRtNexthop {
		size := int(nl.DeserializeRtNexthop(b).RtNexthop.Len)
		if size < unix.SizeofRtNexthop || size > len(b) {
			return nil, fmt.Errorf("next hop of %d bytes among %d", size, len(b))
		}
		attrs, err := nl.ParseRouteAttr(b[unix.SizeofRtNexthop:size])
		if err != nil {
			return nil, fmt.Errorf("reading a next hop's attributes: %w", err)
		}
		hops, err := gateways(attrs)
		if err != nil {
			return nil, err
		}
		all = append(all, hops...)
		b = b[min(len(b), (size+unix.RTNH_ALIGNTO-1)&^(unix.RTNH_ALIGNTO-1)):]
	}
	return all, nil
}
