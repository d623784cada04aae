package route

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"smtpban/internal/ban"
)

var (
	// ErrForeign means that somebody else's route stands where ours should.
	// It was left alone.
	ErrForeign = errors.New("there is a route that is not ours")

	// ErrTooShort means that the prefix covers too much to be blocked.
	ErrTooShort = errors.New("prefix is too short to be blocked")

	// ErrNoIPv6 means that the kernel has no IPv6: no client can come that way.
	ErrNoIPv6 = errors.New("the kernel has no IPv6")
)

// Apply adds and deletes blackhole routes as ban.Enforcer says, 200 at a time.
// Nothing is ever replaced.
//
// An error may be ErrForeign, ErrTooShort, ErrNoIPv6 or, without CAP_NET_ADMIN,
// os.ErrPermission.
func (t *Table) Apply(changes []ban.Change) []error {
	errs := make([]error, len(changes))
	var taken []int
	for first := 0; first < len(changes); first += batchSize {
		end := min(first+batchSize, len(changes))
		for _, i := range t.apply(changes[first:end], errs[first:end]) {
			taken = append(taken, first+i)
		}
	}
	t.explainTaken(changes, taken, errs)
	for _, err := range errs {
		if err != nil {
			return errs
		}
	}
	return nil
}

// apply makes one batch of changes, sets errs, and returns the indexes of those
// that found another route in their place.
func (t *Table) apply(changes []ban.Change, errs []error) (taken []int) {
	requests := make([]request, 0, len(changes))
	asked := make([]int, 0, len(changes)) // index of each request's change
	for i, c := range changes {
		if errs[i] = check(c); errs[i] == nil {
			requests = append(requests, t.request(c))
			asked = append(asked, i)
		}
	}
	for i, err := range t.socket.exchange(requests) {
		i = asked[i]
		if !changes[i].Delete && errors.Is(err, unix.EEXIST) {
			taken = append(taken, i)
			continue
		}
		errs[i] = explain(changes[i], err)
	}
	return taken
}

// check refuses what must never reach the kernel: whatever else goes wrong, a /8
// or the default route never becomes a blackhole.
func check(c ban.Change) error {
	p := c.Prefix
	if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
		return fmt.Errorf("%v is not a prefix of a network", p)
	}
	shortest := ban.MinIPv6Bits
	if p.Addr().Is4() {
		shortest = ban.MinIPv4Bits
	}
	if !c.Delete && p.Bits() < shortest {
		return fmt.Errorf("adding blackhole %v: %w: the limit is /%d", p, ErrTooShort, shortest)
	}
	return nil
}

// request builds the message for a change. A delete names all that an add does,
// so that it finds nobody else's route: the kernel takes a field left out for
// "any". Two it does not look at even so: the metric of an IPv4 delete if it is
// 0, and the type of an IPv6 one. The protocol it compares always.
func (t *Table) request(c ban.Change) request {
	r := request{
		kind:  unix.RTM_NEWROUTE,
		flags: unix.NLM_F_CREATE | unix.NLM_F_EXCL,
	}
	if c.Delete {
		r = request{kind: unix.RTM_DELROUTE}
	}
	r.body = appendHeader(nil, unix.RtMsg{
		Family:   family(c.Prefix),
		Dst_len:  uint8(c.Prefix.Bits()),
		Protocol: t.protocol,
		Scope:    unix.RT_SCOPE_UNIVERSE,
		Type:     unix.RTN_BLACKHOLE,
	})
	r.body = appendAttr(r.body, unix.RTA_DST, c.Prefix.Addr().AsSlice())
	r.body = appendUint32(r.body, unix.RTA_TABLE, t.table)
	r.body = appendUint32(r.body, unix.RTA_PRIORITY, metric(c.Prefix))
	return r
}

// explain says what the kernel's answer to a change means.
func explain(c ban.Change, err error) error {
	if err == nil || c.Delete && errors.Is(err, unix.ESRCH) { // it is gone: all we want
		return nil
	}
	doing := "adding"
	if c.Delete {
		doing = "deleting"
	}
	switch {
	case c.Prefix.Addr().Is6() && noIPv6(err):
		if c.Delete {
			return nil
		}
		return fmt.Errorf("adding blackhole %v: %w", c.Prefix, ErrNoIPv6)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s blackhole %v: %w (this needs CAP_NET_ADMIN)", doing, c.Prefix, err)
	}
	return fmt.Errorf("%s blackhole %v: %w", doing, c.Prefix, err)
}

// explainTaken looks at the routes that stand where the changes with these
// indexes should have put ours, and sets errs for those that are foreign.
func (t *Table) explainTaken(changes []ban.Change, taken []int, errs []error) {
	if len(taken) == 0 {
		return
	}
	holders := make(map[netip.Prefix]route, len(taken))
	for _, i := range taken {
		holders[changes[i].Prefix] = route{}
	}
	found, err := t.routes(unix.RtMsg{}, t.table, func(r route) bool {
		_, ok := holders[r.prefix]
		return ok && t.collides(r)
	})
	for _, r := range found {
		holders[r.prefix] = r
	}
	for _, i := range taken {
		p := changes[i].Prefix
		switch r := holders[p]; {
		case err != nil:
			errs[i] = fmt.Errorf("adding blackhole %v: looking at the route that is there: %w", p, err)
		case !r.prefix.IsValid(): // it went in between: the next run adds ours
			errs[i] = explain(changes[i], syscall.Errno(unix.EEXIST))
		case !t.owns(r):
			errs[i] = fmt.Errorf("adding blackhole %v: %w: %v", p, ErrForeign, r)
		}
	}
}

// appendHeader appends the rtmsg that begins every request about routes.
func appendHeader(b []byte, header unix.RtMsg) []byte {
	return append(b, (&nl.RtMsg{RtMsg: header}).Serialize()...)
}

// appendAttr appends an attribute. The lengths of values here are multiples of 4,
// so that none needs padding.
func appendAttr(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return append(b, value...)
}

func appendUint32(b []byte, kind uint16, value uint32) []byte {
	return appendAttr(b, kind, binary.NativeEndian.AppendUint32(nil, value))
}
