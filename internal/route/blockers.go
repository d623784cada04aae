package route

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Blocker says whose route keeps the machine from answering a client.
type Blocker uint8

// The possible blockers.
const (
	Nobody Blocker = iota
	Us
	Other // somebody else's blackhole, unreachable or prohibit route
)

// Blockers returns for each prefix who blocks it, as the kernel's own lookup of
// its first address tells, policy rules included: a route of ours that an
// admin's better one overrules does not block.
//
// The lookup names the route that it found only if that leads somewhere. A
// blackhole makes it fail with EINVAL, an unreachable route with EHOSTUNREACH
// and a prohibit with EACCES, in both families and even with RTM_F_FIB_MATCH, so
// whose it was comes from the list of our routes: Us means that the lookup ended
// in one and that a route of ours covers the prefix.
func (t *Table) Blockers(prefixes []netip.Prefix) ([]Blocker, error) {
	ours, err := t.List()
	if err != nil {
		return nil, err
	}
	own := setOf(ours)
	requests := make([]request, len(prefixes))
	for i, p := range prefixes {
		if !p.IsValid() {
			return nil, fmt.Errorf("looking up prefix %d of %d: it is invalid", i+1, len(prefixes))
		}
		requests[i] = lookup(p)
	}
	blockers := make([]Blocker, len(prefixes))
	for i, err := range t.socket.exchange(requests) {
		_, covered := covering(own, prefixes[i])
		if blockers[i], err = blocker(err, covered); err != nil {
			return nil, fmt.Errorf("looking up %v: %w", prefixes[i], err)
		}
	}
	return blockers, nil
}

// lookup asks how the kernel would reach the first address of p.
func lookup(p netip.Prefix) request {
	addr := p.Masked().Addr()
	body := appendHeader(nil, unix.RtMsg{Family: family(p), Dst_len: uint8(addr.BitLen())})
	return request{kind: unix.RTM_GETROUTE, body: appendAttr(body, unix.RTA_DST, addr.AsSlice())}
}

// blocker judges the answer to a lookup, given whether a route of ours covers
// the prefix.
func blocker(answer error, ours bool) (Blocker, error) {
	switch {
	case errors.Is(answer, unix.EINVAL) && ours:
		return Us, nil
	case errors.Is(answer, unix.EINVAL), errors.Is(answer, unix.EHOSTUNREACH), errors.Is(answer, unix.EACCES):
		return Other, nil
	case answer == nil, errors.Is(answer, unix.ENETUNREACH), noIPv6(answer):
		return Nobody, nil // a way there, none at all, no IPv6
	}
	return Nobody, answer
}

func setOf(prefixes []netip.Prefix) map[netip.Prefix]bool {
	set := make(map[netip.Prefix]bool, len(prefixes))
	for _, p := range prefixes {
		set[p] = true
	}
	return set
}

// covering returns the longest of the prefixes that contains p.
func covering(prefixes map[netip.Prefix]bool, p netip.Prefix) (netip.Prefix, bool) {
	for bits := p.Bits(); bits >= 0; bits-- {
		if wider, err := p.Addr().Prefix(bits); err == nil && prefixes[wider] {
			return wider, true
		}
	}
	return netip.Prefix{}, false
}
