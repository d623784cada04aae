package route

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// route is what smtpban needs to know of a route in the kernel.
type route struct {
	prefix   netip.Prefix // of length 0 for a default route
	kind     uint8        // RTN_…
	protocol uint8
	tos      uint8
	table    uint32
	metric   uint32
	gateways []netip.Addr // next hops; none for a route on the link
}

// String describes the route as ip-route(8) would, without its prefix.
func (r route) String() string {
	var kind string
	switch r.kind {
	case unix.RTN_UNICAST:
		kind = "unicast"
	case unix.RTN_BLACKHOLE:
		kind = "blackhole"
	case unix.RTN_UNREACHABLE:
		kind = "unreachable"
	case unix.RTN_PROHIBIT:
		kind = "prohibit"
	case unix.RTN_THROW:
		kind = "throw"
	default:
		kind = fmt.Sprintf("type %d", r.kind)
	}
	for _, g := range r.gateways {
		kind += " via " + g.String()
	}
	return kind + " proto " + netlink.RouteProtocol(r.protocol).String()
}

// parseRoute reads an rtmsg and its attributes.
func parseRoute(data []byte) (route, error) {
	if len(data) < unix.SizeofRtMsg {
		return route{}, fmt.Errorf("route of %d bytes is too short", len(data))
	}
	header := nl.DeserializeRtMsg(data)
	r := route{
		kind:     header.Type,
		protocol: header.Protocol,
		tos:      header.Tos,
		table:    uint32(header.Table),
	}
	destination := netip.IPv4Unspecified()
	if header.Family == unix.AF_INET6 {
		destination = netip.IPv6Unspecified()
	}
	hops := false
	for kind, value := range attributes(data[unix.SizeofRtMsg:]) {
		switch kind {
		case malformed:
			return route{}, fmt.Errorf("reading a route's attributes: %d bytes are none", len(value))
		case unix.RTA_DST:
			destination, _ = netip.AddrFromSlice(value)
		case unix.RTA_TABLE: // the header has room for 8 bits only
			r.table = number(value)
		case unix.RTA_PRIORITY:
			r.metric = number(value)
		case unix.RTA_GATEWAY, unix.RTA_VIA, unix.RTA_MULTIPATH:
			hops = true
		}
	}
	r.prefix = netip.PrefixFrom(destination, int(header.Dst_len))
	if !r.prefix.IsValid() {
		return route{}, fmt.Errorf("route to an invalid prefix of %d bits", header.Dst_len)
	}
	if !hops {
		return r, nil
	}
	attrs, err := nl.ParseRouteAttr(data[unix.SizeofRtMsg:])
	if err != nil {
		return route{}, fmt.Errorf("reading a route's attributes: %w", err)
	}
	r.gateways, err = gateways(attrs)
	return r, err
}

// malformed is the kind of what is no attribute.
const malformed = 0xffff

// attributes yields the kinds and values of attributes, in their place: there may
// be a million routes, and no list of theirs is needed.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			size, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
			if size < unix.SizeofRtAttr || size > len(b) {
				yield(malformed, b)
				return
			}
			if !yield(kind, b[unix.SizeofRtAttr:size]) {
				return
			}
			b = b[min(len(b), (size+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1)):]
		}
	}
}

// number reads a number of 32 bits, 0 if it is none.
func number(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(value)
}
