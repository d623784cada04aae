// Package route is everything that smtpban asks of the kernel over netlink: its
// blackhole routes, what they meet there, the connections of those it blocks, and
// the machine's own addresses and gateways.
//
// A route is ours if it is a blackhole of our protocol, in our table, at our
// metric. Nothing else is ever listed, replaced or deleted. See rtnetlink(7),
// ip-route(8) and sock_diag(7) for the words.
package route

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"smtpban/internal/ban"
)

// Metrics of our routes. The kernel prefers the lowest. An IPv4 route at metric
// 0, which is what an admin gets who names none, would silently win over one of
// ours at 1. IPv6 turns 0 into 1024, behind the connected routes.
const (
	metric4 = 0
	metric6 = 1
)

// Options says which routes are ours.
type Options struct {
	Protocol uint8  // rtm_protocol of our routes; above RTPROT_STATIC (4)
	Table    uint32 // routing table that holds them; 254 is the main table
}

// Table is our share of a kernel routing table, in the network namespace of the
// thread that opened it. It is not safe for concurrent use.
type Table struct {
	socket   *socket
	protocol uint8
	table    uint32
}

var _ ban.Enforcer = (*Table)(nil)

// Open connects to the kernel, Linux 4.20 or newer. It needs no privilege;
// changing routes does.
//
// It refuses the protocols that the kernel and ip(8) give to other routes:
// 0 would match every protocol in a delete.
func Open(o Options) (*Table, error) {
	if o.Protocol <= unix.RTPROT_STATIC {
		return nil, fmt.Errorf("route protocol %d is not ours to use: choose one above %d", o.Protocol, unix.RTPROT_STATIC)
	}
	if o.Table == unix.RT_TABLE_UNSPEC {
		return nil, errors.New("route table 0 is no table: the main table is 254")
	}
	s, err := openSocket(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	return &Table{socket: s, protocol: o.Protocol, table: o.Table}, nil
}

// Close closes the connection. The routes stay.
func (t *Table) Close() { t.socket.close() }

// List returns the prefixes that our routes block, in no particular order.
// Without IPv6 in the kernel there are no IPv6 routes, which is no error.
func (t *Table) List() ([]netip.Prefix, error) {
	parse := func(data []byte) (netip.Prefix, bool, error) { // there may be many, so nothing else is kept
		r, err := parseRoute(data)
		return r.prefix, err == nil && t.owns(r), err
	}
	prefixes, err := dumpRoutes(t, unix.RtMsg{Protocol: t.protocol, Type: unix.RTN_BLACKHOLE}, t.table, parse)
	if err != nil {
		return nil, fmt.Errorf("listing our routes: %w", err)
	}
	return prefixes, nil
}

// owns reports whether the route is ours.
func (t *Table) owns(r route) bool {
	return r.kind == unix.RTN_BLACKHOLE && r.protocol == t.protocol && t.collides(r)
}

// collides reports whether the route stands where one of ours to its prefix
// stands or would stand: the kernel keeps one route for each prefix, metric and
// (IPv4 only) TOS of a table, whatever the type and the protocol.
func (t *Table) collides(r route) bool {
	return r.table == t.table && r.metric == metric(r.prefix) && r.tos == 0
}

// routes returns the routes of both families that match the filter, in one
// table or in all of them (0), and that keep wants. The kernel filters as well
// (NETLINK_GET_STRICT_CHK), so that a router's million routes cost us nothing,
// but keep decides.
func (t *Table) routes(filter unix.RtMsg, table uint32, keep func(route) bool) ([]route, error) {
	parse := func(data []byte) (route, bool, error) {
		r, err := parseRoute(data)
		return r, err == nil && keep(r), err
	}
	return dumpRoutes(t, filter, table, parse)
}

// dumpRoutes returns what parse makes of the routes of both families that match
// the filter.
func dumpRoutes[T any](t *Table, filter unix.RtMsg, table uint32, parse func([]byte) (T, bool, error)) ([]T, error) {
	all := []T{}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		filter.Family = family
		body := appendHeader(nil, filter)
		if table != 0 {
			body = appendUint32(body, unix.RTA_TABLE, table)
		}
		found, err := dump(t.socket, request{kind: unix.RTM_GETROUTE, body: body}, family, parse)
		if errors.Is(err, unix.ENOENT) { // a table exists from its first route on
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// metric returns the metric of our route to p.
func metric(p netip.Prefix) uint32 {
	if p.Addr().Is4() {
		return metric4
	}
	return metric6
}

// family returns the address family of p.
func family(p netip.Prefix) uint8 {
	if p.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
