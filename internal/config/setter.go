package config

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"smtpban/internal/ban"
)

// A setter checks a value and stores it. Its error says which values it takes.
type setter func(value) error

// integer takes whole numbers from low to high.
func integer(target *int, low, high int64) setter {
	return func(v value) error {
		n, ok := v.data.(int64)
		if !ok || n < low || n > high {
			return v.errorf("must be a whole number from %d to %d, not %s", low, high, v.text)
		}
		*target = int(n)
		return nil
	}
}

// number takes numbers from low to high, with or without a fraction.
func number(target *float64, low, high float64) setter {
	return func(v value) error {
		n, ok := v.data.(float64)
		if whole, isWhole := v.data.(int64); isWhole {
			n, ok = float64(whole), true
		}
		if !ok || !(n >= low && n <= high) { // so written, it refuses nan as well
			return v.errorf("must be a number from %g to %g, not %s", low, high, v.text)
		}
		*target = n
		return nil
	}
}

// span takes time spans from low to high. Only if high is ban.Infinity it takes
// "infinity".
func span(target *time.Duration, low, high time.Duration) setter {
	want := fmt.Sprintf(`must be a time span from %s to %s in quotes, such as "1d" or "1h 30min"`, FormatSpan(low), FormatSpan(high))
	return func(v value) error {
		text, ok := v.data.(string)
		if !ok {
			return v.errorf("%s, not %s", want, v.text)
		}
		d, err := ParseSpan(text)
		if err != nil {
			return v.errorf("%s: %v", want, err)
		}
		if d < low || d > high {
			return v.errorf("%s, not %s", want, v.text)
		}
		*target = d
		return nil
	}
}

// weight takes the points of one class.
func weight(weights map[ban.Class]int, name string) setter {
	return func(v value) error {
		class, err := ban.ParseClass(name)
		if err != nil {
			return v.keyErrorf("%v", err)
		}
		var points int
		if err := integer(&points, 0, 1000)(v); err != nil {
			return err
		}
		weights[class] = points
		return nil
	}
}

// prefixes takes an array of addresses and prefixes, and adds them to target.
func prefixes(target *[]netip.Prefix) setter {
	return list(target, `must be an array of addresses and prefixes in quotes, such as ["192.0.2.1", "2001:db8::/32"]`, ParsePrefix)
}

// hostNames takes an array of ends of host names, and adds them to target.
func hostNames(target *[]string) setter {
	return list(target, `must be an array of ends of host names in quotes, such as [".example.org", "mail.example.com"]`, parseHostName)
}

// list takes an array of texts, and adds what parse makes of each to target.
func list[T any](target *[]T, want string, parse func(string) (T, error)) setter {
	return func(v value) error {
		if _, ok := v.data.([]any); !ok {
			return v.errorf("%s, not %s", want, v.text)
		}
		for _, element := range v.elements {
			text, ok := element.data.(string)
			if !ok {
				return element.errorf("%s, not of %s", want, element.text)
			}
			parsed, err := parse(text)
			if err != nil {
				return element.errorf("%v", err)
			}
			*target = append(*target, parsed)
		}
		return nil
	}
}

// ParsePrefix reads an address, which stands for itself alone, or a prefix whose address has no bits beyond it.
// IPv4 written as IPv6 (RFC 4291, section 2.5.5.2) becomes IPv4.
func ParsePrefix(s string) (netip.Prefix, error) {
	var prefix netip.Prefix
	if addr, err := netip.ParseAddr(s); err == nil {
		if addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q: an address without zone is wanted, such as %q", s, addr.WithZone(""))
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	} else if prefix, err = netip.ParsePrefix(s); err != nil {
		return netip.Prefix{}, fmt.Errorf(`%q is no address and no prefix, such as "192.0.2.1" or "2001:db8::/32"`, s)
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q has bits set beyond its prefix length; did you mean %q?", s, prefix.Masked())
	}
	const mapped = 96 // bits before the IPv4 address
	if prefix.Addr().Is4In6() && prefix.Bits() >= mapped {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-mapped)
	}
	return prefix, nil
}

// parseHostName reads a host name, or with a dot before it what it ends in.
func parseHostName(s string) (string, error) {
	name := strings.ToLower(s)
	labels := strings.Split(strings.TrimPrefix(name, "."), ".")
	bad := func(label string) bool { return label == "" || strings.Trim(label, hostBytes) != "" }
	_, notAddress := ParsePrefix(s)
	switch {
	case notAddress == nil:
		return "", fmt.Errorf("%q is an address; list it in ignoreip", s)
	case len(name) >= ban.MaxName:
		return "", fmt.Errorf("%q is too long: so many bytes of a name are not kept, only %d", s, ban.MaxName-1)
	case strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII }):
		return "", fmt.Errorf("%q must be written as in the DNS, with xn--", s)
	case slices.ContainsFunc(labels, bad):
		return "", fmt.Errorf(`%q is no host name or end of one, such as "mail.example.com" or ".example.org"`, s)
	}
	return name, nil
}

// hostBytes may stand between the dots of a name that Postfix logs.
const hostBytes = "abcdefghijklmnopqrstuvwxyz0123456789-_"

// directory takes an absolute path or "".
func directory(target *string) setter {
	return text(target, `must be an absolute path in quotes, or "" for the local journal`, func(s string) bool {
		return s == "" || filepath.IsAbs(s)
	})
}

// absolutePath takes the path of a file.
func absolutePath(target *string) setter {
	return text(target, "must be an absolute path in quotes", filepath.IsAbs)
}

// textfile takes the path of a file that node_exporter reads, or "": it looks at no
// other names.
func textfile(target *string) setter {
	return text(target, `must be an absolute path that ends in .prom, in quotes, or "" for none`, func(s string) bool {
		return s == "" || filepath.IsAbs(s) && filepath.Ext(s) == ".prom"
	})
}

// user takes a user name or uid, or "". Whether the user exists is not asked:
// the journal may be another machine's.
func user(target *string) setter {
	return text(target, `must be a user name or uid in quotes, or "" for Postfix's mail_owner`, func(s string) bool {
		if strings.Trim(s, "0123456789") == "" && s != "" {
			_, err := strconv.ParseUint(s, 10, 32)
			return err == nil
		}
		return !strings.ContainsFunc(s, func(r rune) bool {
			return r == ':' || r == '/' || unicode.IsSpace(r) || unicode.IsControl(r)
		})
	})
}

func text(target *string, want string, allowed func(string) bool) setter {
	return func(v value) error {
		s, ok := v.data.(string)
		if !ok || !allowed(s) || strings.ContainsRune(s, 0) {
			return v.errorf("%s, not %s", want, v.text)
		}
		*target = s
		return nil
	}
}

// table takes the number of a route table, but not the kernel's own, local.
func table(target *int) setter {
	const local = 255
	return func(v value) error {
		var n int
		if err := integer(&n, 1, math.MaxInt32)(v); err != nil {
			return err
		}
		if n == local {
			return v.errorf("must not be %d, the kernel's table local; 254 is main", n)
		}
		*target = n
		return nil
	}
}

// ports takes an array of TCP ports, which replaces an earlier one.
func ports(target *[]uint16) setter {
	const (
		most = 100
		want = "must be an array of at most 100 ports, such as [25, 587], or [] for none"
	)
	return func(v value) error {
		if _, ok := v.data.([]any); !ok {
			return v.errorf("%s, not %s", want, v.text)
		}
		if len(v.elements) > most {
			return v.errorf("%s, not %d", want, len(v.elements))
		}
		all := make([]uint16, len(v.elements))
		for i, element := range v.elements {
			var port int
			if err := integer(&port, 1, math.MaxUint16)(element); err != nil {
				return err
			}
			all[i] = uint16(port)
		}
		*target = all
		return nil
	}
}

// protocol takes a route protocol that is not the mark of the kernel, the admin
// or a routing daemon: we delete routes by it.
func protocol(target *int) setter {
	return func(v value) error {
		var n int
		if err := integer(&n, 5, 255)(v); err != nil {
			return err
		}
		owners := protocolOwners()
		if owners[n] == "" {
			*target = n
			return nil
		}
		var taken []string
		for _, number := range slices.Sorted(maps.Keys(owners)) {
			taken = append(taken, fmt.Sprintf("%d %s", number, owners[number]))
		}
		return v.errorf("must be a number that nobody else uses, not %d; taken: %s", n, strings.Join(taken, ", "))
	}
}

// protocolOwners names those who mark routes with a protocol from 5 on: as in
// linux/rtnetlink.h; 190, 191 and 193 to 198 as in FRR's zebra; 66 is the Google
// guest agent.
func protocolOwners() map[int]string {
	return map[int]string{
		8: "gated", 9: "ra", 10: "mrt", 11: "zebra", 12: "bird", 13: "dnrouted", 14: "xorp", 15: "ntk",
		16: "dhcp", 17: "mrouted", 18: "keepalived", 42: "babel", 66: "google", 99: "openr",
		186: "bgp", 187: "isis", 188: "ospf", 189: "rip", 190: "ripng", 191: "nhrp", 192: "eigrp",
		193: "ldp", 194: "sharp", 195: "pbr", 196: "zstatic", 197: "openfabric", 198: "srte",
	}
}
