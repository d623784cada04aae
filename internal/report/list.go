package report

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"smtpban/internal/ban"
)

// Published is a prefix that other programs may block as well.
type Published struct {
	Prefix netip.Prefix
	Ban    ban.Ban // for which it is blocked
}

// Publication returns what is to be blocked for the bans, in order, each prefix once.
func Publication(bans []Ban) []Published {
	var all []Published
	for _, b := range bans {
		for _, target := range b.Targets {
			all = append(all, Published{target, b.Ban})
		}
	}
	slices.SortStableFunc(all, func(a, b Published) int { return ban.ComparePrefix(a.Prefix, b.Prefix) })
	return slices.CompactFunc(all, func(a, b Published) bool { return a.Prefix == b.Prefix })
}

// WritePlain writes an address or prefix a line.
func WritePlain(w io.Writer, all []Published) error {
	return eachLine(w, all, func(p netip.Prefix) string {
		if p.IsSingleIP() {
			return p.Addr().String()
		}
		return p.String()
	})
}

// WriteCIDR writes a cidr_table(5) whose result is what postscreen_access_list
// and smtpd's access lists take.
func WriteCIDR(w io.Writer, all []Published) error {
	return eachLine(w, all, func(p netip.Prefix) string { return p.String() + " reject" })
}

// WriteRBLDNSD writes a dataset of rbldnsd(8) of the type combined: one set of
// each family, with the usual answer.
func WriteRBLDNSD(w io.Writer, all []Published) error {
	ipv4, ipv6 := families(all)
	for _, set := range []struct {
		name    string
		members []Published
	}{{"ip4trie:ipv4", ipv4}, {"ip6trie:ipv6", ipv6}} {
		if _, err := fmt.Fprintf(w, "$DATASET %s @\n:127.0.0.2:$ is banned by smtpban\n", set.name); err != nil {
			return err
		}
		if err := eachLine(w, set.members, netip.Prefix.String); err != nil {
			return err
		}
	}
	return nil
}

// WriteNFT writes commands of nft(8) that fill two sets of the table inet smtpban,
// in place of what was in them, as one transaction.
func WriteNFT(w io.Writer, all []Published) error {
	ipv4, ipv6 := families(all)
	if _, err := io.WriteString(w, "add table inet smtpban\n"); err != nil {
		return err
	}
	for _, set := range []struct {
		name, kind string
		members    []Published
	}{{"banned4", "ipv4_addr", ipv4}, {"banned6", "ipv6_addr", ipv6}} {
		fmt.Fprintf(w, "add set inet smtpban %s { type %s; flags interval; auto-merge; }\nflush set inet smtpban %s\n", set.name, set.kind, set.name)
		if len(set.members) == 0 {
			continue
		}
		fmt.Fprintf(w, "add element inet smtpban %s {\n", set.name)
		if err := eachLine(w, set.members, func(p netip.Prefix) string { return "  " + p.String() + "," }); err != nil {
			return err
		}
		if _, err := io.WriteString(w, "}\n"); err != nil {
			return err
		}
	}
	return nil
}

type jsonPublished struct {
	Prefix netip.Prefix `json:"prefix"`
	Class  *string      `json:"class"` // null for one not decided from the log
	Start  string       `json:"start"`
	Until  *string      `json:"until"` // null for ever
	Origin string       `json:"origin"`
}

// WritePublishedJSON writes a JSON array.
func WritePublishedJSON(w io.Writer, all []Published) error {
	out := make([]jsonPublished, 0, len(all))
	for _, p := range all {
		b := Ban{Ban: p.Ban}.toJSON()
		out = append(out, jsonPublished{p.Prefix, b.Class, b.Start, b.Until, b.Origin})
	}
	return WriteJSON(w, out)
}

func eachLine(w io.Writer, all []Published, text func(netip.Prefix) string) error {
	out := bufio.NewWriter(w)
	for _, p := range all {
		out.WriteString(text(p.Prefix))
		out.WriteByte('\n')
	}
	return out.Flush()
}

// families divides prefixes that are in order.
func families(all []Published) (ipv4, ipv6 []Published) {
	n, _ := slices.BinarySearchFunc(all, 0, func(p Published, _ int) int {
		if p.Prefix.Addr().Is4() {
			return -1
		}
		return 1
	})
	return all[:n], all[n:]
}
