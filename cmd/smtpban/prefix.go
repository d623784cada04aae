package main

import (
	"fmt"
	"net/netip"
	"strings"

	"smtpban/internal/ban"
)

// everything is all addresses.
var everything = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// parsePrefixes reads the arguments of a command.
func parsePrefixes(args []string) ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, 0, len(args))
	for _, arg := range args {
		prefix, err := parsePrefix(arg)
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, nil
}

// parsePrefix reads an address or prefix of the command line. An address stands
// for itself alone.
func parsePrefix(arg string) (netip.Prefix, error) {
	if strings.Contains(arg, "/") {
		p, err := netip.ParsePrefix(arg)
		if err != nil || p.Addr().Is4In6() && p.Bits() < 96 {
			return netip.Prefix{}, usageError{fmt.Errorf("%q is not a prefix such as 203.0.113.0/24", arg)}
		}
		if p.Addr().Is4In6() { // as in ::ffff:203.0.113.0/120
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if p != p.Masked() {
			return netip.Prefix{}, usageError{fmt.Errorf("%s has host bits set; did you mean %s?", p, p.Masked())}
		}
		return p, nil
	}
	addr, err := netip.ParseAddr(arg)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, usageError{fmt.Errorf("%q is not an IP address or prefix, such as 203.0.113.9 or 2001:db8::/64", arg)}
	}
	addr = addr.Unmap()
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

// parseClients reads the arguments of a command to which an address stands for its
// client: an IPv6 address for its network.
func parseClients(args []string, policy ban.Policy) ([]netip.Prefix, error) {
	prefixes, err := parsePrefixes(args)
	for i := range prefixes {
		if !strings.Contains(args[i], "/") {
			prefixes[i] = policy.Client(prefixes[i].Addr())
		}
	}
	return prefixes, err
}

// join lists the prefixes for people.
func join(prefixes []netip.Prefix) string {
	words := make([]string, 0, len(prefixes))
	for _, p := range prefixes {
		words = append(words, p.String())
	}
	return strings.Join(words, ", ")
}
