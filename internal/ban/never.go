package ban

import (
	"cmp"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// The shortest prefixes that may be banned. A shorter one is a slip of the pen
// that would cut off a good part of the internet.
const (
	MinIPv4Bits = 16
	MinIPv6Bits = 32
)

// CheckPrefix reports why a prefix can't be banned, whoever it belongs to.
func CheckPrefix(p netip.Prefix) error {
	shortest := MinIPv6Bits
	if p.Addr().Is4() {
		shortest = MinIPv4Bits
	}
	switch {
	case !p.IsValid():
		return fmt.Errorf("%s is not a prefix", p)
	case p != p.Masked():
		return fmt.Errorf("%s has host bits set; did you mean %s?", p, p.Masked())
	case p.Bits() < shortest:
		return fmt.Errorf("%s is too wide: the shortest prefix that may be banned is /%d", p, shortest)
	}
	return nil
}

// Protected is a prefix that must never be blocked, and why.
type Protected struct {
	Prefix netip.Prefix
	Reason string
}

// unbannable are the addresses that no remote client can have.
var unbannable = []Protected{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// NeverBan is the set of all who must never be blocked. The zero value has only
// the addresses that no remote client can have.
type NeverBan struct {
	// prefixes are in order and share no address, so that only two of them,
	// neighbours, can be the first to overlap another prefix. Every ban is
	// looked up at every run.
	prefixes []Protected

	names []string // ends of verified names, in lower case
}

// NewNeverBan makes the set of prefixes and of ends of host names, as in
// Policy.IgnoreName. Of several members with the same prefix the first gives the
// reason, and one within another is as good as not there.
func NewNeverBan(members []Protected, names []string) NeverBan {
	sorted := slices.Clone(members)
	slices.SortStableFunc(sorted, func(a, b Protected) int { return ComparePrefix(a.Prefix, b.Prefix) })
	disjoint := sorted[:0]
	for _, m := range sorted {
		if len(disjoint) == 0 || !disjoint[len(disjoint)-1].Prefix.Overlaps(m.Prefix) {
			disjoint = append(disjoint, m)
		}
	}
	return NeverBan{prefixes: disjoint, names: names}
}

// With returns the set with more members and names.
func (n NeverBan) With(members []Protected, names []string) NeverBan {
	return NewNeverBan(slices.Concat(n.prefixes, members), slices.Concat(n.names, names))
}

// Overlapping returns a member that shares an address with p: the one that holds
// all of p, or else the first within it.
func (n NeverBan) Overlapping(p netip.Prefix) (Protected, bool) {
	for _, m := range unbannable {
		if m.Prefix.Overlaps(p) {
			return m, true
		}
	}
	next, _ := slices.BinarySearchFunc(n.prefixes, p, func(m Protected, p netip.Prefix) int { return ComparePrefix(m.Prefix, p) })
	for _, m := range n.prefixes[max(next-1, 0):min(next+1, len(n.prefixes))] {
		if m.Prefix.Overlaps(p) {
			return m, true
		}
	}
	return Protected{}, false
}

// Protects returns a member that holds all of p.
func (n NeverBan) Protects(p netip.Prefix) (Protected, bool) {
	if m, overlaps := n.Overlapping(p); overlaps && m.Prefix.Bits() <= p.Bits() {
		return m, true
	}
	return Protected{}, false
}

// named returns the end of the name that protects who bears it. It begins at a
// dot, or is the whole name.
func (n NeverBan) named(name string) (suffix string, ok bool) {
	name = strings.ToLower(name)
	for _, suffix := range n.names {
		if rest, ok := strings.CutSuffix(name, suffix); ok && (rest == "" || suffix[0] == '.' || rest[len(rest)-1] == '.') {
			return suffix, true
		}
	}
	return "", false
}

// AsksForOffenders reports whether it depends on who attacked what is to be
// blocked for a ban of the prefix.
func (n NeverBan) AsksForOffenders(prefix netip.Prefix) bool {
	_, overlaps := n.Overlapping(prefix)
	return overlaps || len(n.names) > 0
}

// Spares returns who in the prefix must not be blocked: a member, or an offender
// by its name.
func (n NeverBan) Spares(prefix netip.Prefix, offenders []Offender) (Protected, bool) {
	if m, overlaps := n.Overlapping(prefix); overlaps {
		return m, true
	}
	for _, o := range offenders {
		if suffix, ok := n.named(o.Name); ok && prefix.Contains(o.Address) {
			return Protected{single(o.Address), fmt.Sprintf("%s in ignorename", suffix)}, true
		}
	}
	return Protected{}, false
}

// Targets returns the prefixes to block for a ban: its own, or, where that
// holds protected addresses too, only those of the offenders that are not
// protected themselves. With none left the ban stands without a route.
func (n NeverBan) Targets(prefix netip.Prefix, offenders []Offender) []netip.Prefix {
	if _, spares := n.Spares(prefix, offenders); !spares {
		return []netip.Prefix{prefix}
	}
	byAddress := map[netip.Prefix][]Offender{}
	for _, o := range offenders {
		byAddress[single(o.Address)] = append(byAddress[single(o.Address)], o)
	}
	var targets []netip.Prefix
	for address, names := range byAddress {
		if _, spared := n.Spares(address, names); !spared && prefix.Overlaps(address) {
			targets = append(targets, address)
		}
	}
	slices.SortFunc(targets, ComparePrefix)
	return targets
}

// Without returns what is left of the prefix without the protected, in as few
// prefixes as will do.
func (n NeverBan) Without(prefix netip.Prefix, offenders []Offender) []netip.Prefix {
	if _, spares := n.Spares(prefix, offenders); !spares {
		return []netip.Prefix{prefix}
	}
	if _, all := n.Protects(prefix); all || prefix.IsSingleIP() {
		return nil
	}
	bits := prefix.Bits()
	upper := prefix.Addr().AsSlice()
	upper[bits/8] |= 0x80 >> (bits % 8)
	middle, _ := netip.AddrFromSlice(upper)
	return append(n.Without(netip.PrefixFrom(prefix.Addr(), bits+1), offenders),
		n.Without(netip.PrefixFrom(middle, bits+1), offenders)...)
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// ComparePrefix orders prefixes by family, address and length.
func ComparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// Reconcile returns the changes that lead from what is blocked to what should
// be, additions first, both in order of the prefix.
func Reconcile(want, have []netip.Prefix) (changes []Change) {
	want, have = inOrder(want), inOrder(have)
	for p := range missing(want, have) {
		changes = append(changes, Change{Prefix: p})
	}
	for p := range missing(have, want) {
		changes = append(changes, Change{Prefix: p, Delete: true})
	}
	return changes
}

// inOrder returns the prefixes in order. There may be many, and mostly they are
// in order already.
func inOrder(prefixes []netip.Prefix) []netip.Prefix {
	if slices.IsSortedFunc(prefixes, ComparePrefix) {
		return prefixes
	}
	return slices.SortedFunc(slices.Values(prefixes), ComparePrefix)
}

// missing yields each of the prefixes that is not among the others. Both are in
// order.
func missing(prefixes, others []netip.Prefix) iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		var last netip.Prefix
		for _, p := range prefixes {
			for len(others) > 0 && ComparePrefix(others[0], p) < 0 {
				others = others[1:]
			}
			if p != last && (len(others) == 0 || others[0] != p) && !yield(p) {
				return
			}
			last = p
		}
	}
}
