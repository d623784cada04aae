// Package guard gathers who must never be banned: the machine itself, what it
// needs to reach the world, Postfix's own networks, and whom the admin names.
package guard

import (
	"io"
	"net/netip"
	"slices"
	"strings"

	"smtpban/internal/ban"
)

// Sources are the places that name addresses never to be banned.
type Sources struct {
	Addresses []netip.Prefix // of this machine, each with the length of its network
	Gateways  []netip.Addr   // next hops of its default routes
	Resolvers []netip.Addr
	Postfix   Postfix
	IgnoreIP  []netip.Prefix // the admin's, in the configuration
	Ignores   []ban.Ignore   // the admin's, by smtpban ignore
	SSHPeers  []netip.Addr   // of users who are logged in
}

// Protected returns all who must never be blocked, with the reason.
func (s Sources) Protected() []ban.Protected {
	var set []ban.Protected
	add := func(reason string, prefixes ...netip.Prefix) {
		for _, p := range prefixes {
			set = append(set, ban.Protected{Prefix: p, Reason: reason})
		}
	}
	for _, p := range s.Addresses {
		add("own address", netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
		if s.Postfix.OwnNetworks {
			add("in Postfix's mynetworks", p.Masked())
		}
	}
	add("gateway", singles(s.Gateways)...)
	add("name server", singles(s.Resolvers)...)
	add("in Postfix's mynetworks", s.Postfix.MyNetworks...)
	add("in Postfix's proxy_interfaces", singles(s.Postfix.ProxyInterfaces)...)
	add("Postfix's relayhost", singles(s.Postfix.RelayHost)...)
	add("in ignoreip", s.IgnoreIP...)
	set = append(set, Ignored(s.Ignores)...)
	add("peer of an SSH session", singles(s.SSHPeers)...)
	return set
}

// Ignored returns who is protected by smtpban ignore. The reason has the admin's words,
// which may be anything.
func Ignored(ignores []ban.Ignore) []ban.Protected {
	set := make([]ban.Protected, 0, len(ignores))
	for _, i := range ignores {
		reason := "ignored by smtpban ignore for ever"
		if i.Until.Before(ban.Forever) {
			reason = "ignored by smtpban ignore until " + i.Until.UTC().Format("2006-01-02 15:04:05 MST")
		}
		if i.Reason != "" {
			reason += ": " + i.Reason
		}
		set = append(set, ban.Protected{Prefix: i.Prefix, Reason: reason})
	}
	return set
}

func singles(addrs []netip.Addr) []netip.Prefix {
	prefixes := make([]netip.Prefix, 0, len(addrs))
	for _, a := range addrs {
		prefixes = append(prefixes, netip.PrefixFrom(a, a.BitLen()))
	}
	return prefixes
}

// Resolvers returns the name servers of a resolv.conf(5).
func Resolvers(r io.Reader) ([]netip.Addr, error) {
	text, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return nil, err
	}
	var resolvers []netip.Addr
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(fields[1]); err == nil {
			if a = a.Unmap().WithZone(""); !slices.Contains(resolvers, a) {
				resolvers = append(resolvers, a)
			}
		}
	}
	return resolvers, nil
}
