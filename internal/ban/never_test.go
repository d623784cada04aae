package ban

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func prefixes(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func TestTargetsSpareTheProtected(t *testing.T) {
	never := NewNeverBan([]Protected{
		{netip.MustParsePrefix("203.0.113.9/32"), "own address"},
		{netip.MustParsePrefix("2001:db8:1:2::25/128"), "gateway"},
	}, nil)
	addrs := func(s ...string) (out []Offender) {
		for _, a := range s {
			out = append(out, Offender{Address: netip.MustParseAddr(a)})
		}
		return out
	}
	for _, tc := range []struct {
		name      string
		ban       string
		offenders []Offender
		want      []netip.Prefix
	}{
		{"nobody protected", "203.0.113.10/32", nil, prefixes("203.0.113.10/32")},
		{"protected entirely", "203.0.113.9/32", addrs("203.0.113.9"), nil},
		{"narrowed to the offenders", "2001:db8:1:2::/64", addrs("2001:db8:1:2::b", "2001:db8:1:2::a", "2001:db8:1:2::25", "2001:db8:1:2::b"),
			prefixes("2001:db8:1:2::a/128", "2001:db8:1:2::b/128")},
		{"narrowed to nothing", "203.0.113.0/24", nil, nil},
		{"loopback", "127.0.0.1/32", addrs("127.0.0.1"), nil},
		{"link-local", "fe80::/64", addrs("fe80::1"), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := never.Targets(netip.MustParsePrefix(tc.ban), tc.offenders)
			if diff := cmp.Diff(tc.want, got, compare); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestVerifiedNameProtectsWhoBearsIt(t *testing.T) {
	never := NewNeverBan(nil, []string{".example.org", "mail.example.com"})
	a, b, c := netip.MustParseAddr("2001:db8::a"), netip.MustParseAddr("2001:db8::b"), netip.MustParseAddr("2001:db8:1::c")
	for _, tc := range []struct {
		name      string
		ban       string
		offenders []Offender
		want      []netip.Prefix
	}{
		{"nobody known", "2001:db8::/64", nil, prefixes("2001:db8::/64")},
		{"no name", "2001:db8::/64", []Offender{{a, ""}}, prefixes("2001:db8::/64")},
		{"the end of the name", "2001:db8::a/128", []Offender{{a, "mx.example.org"}}, nil},
		{"in other letters", "2001:db8::a/128", []Offender{{a, "MX.Example.ORG"}}, nil},
		{"the whole name", "2001:db8::a/128", []Offender{{a, "mail.example.com"}}, nil},
		{"below a whole name", "2001:db8::a/128", []Offender{{a, "a.mail.example.com"}}, nil},
		{"a dot wants something before it", "2001:db8::a/128", []Offender{{a, "example.org"}}, prefixes("2001:db8::a/128")},
		{"not at a dot", "2001:db8::a/128", []Offender{{a, "evilmail.example.com"}}, prefixes("2001:db8::a/128")},
		{"not at the end", "2001:db8::a/128", []Offender{{a, "mx.example.org.evil.test"}}, prefixes("2001:db8::a/128")},
		{"one of several names", "2001:db8::a/128", []Offender{{a, ""}, {a, "mx.example.org"}}, nil},
		{"narrowed to the others", "2001:db8::/64", []Offender{{b, "b.evil.test"}, {a, ""}, {a, "mx.example.org"}, {b, ""}}, prefixes("2001:db8::b/128")},
		{"elsewhere", "2001:db8::/64", []Offender{{c, "mx.example.org"}}, prefixes("2001:db8::/64")},
	} {
		if diff := cmp.Diff(tc.want, never.Targets(netip.MustParsePrefix(tc.ban), tc.offenders), compare); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", tc.name, diff)
		}
	}
	got, _ := never.Spares(netip.MustParsePrefix("2001:db8::/64"), []Offender{{b, ""}, {a, "mx.example.org"}})
	if want := (Protected{netip.MustParsePrefix("2001:db8::a/128"), ".example.org in ignorename"}); got != want {
		t.Errorf("Spares = %v, want %v", got, want)
	}
}

func TestWithoutTheProtectedIsAllTheRest(t *testing.T) {
	never := NewNeverBan([]Protected{
		{netip.MustParsePrefix("198.51.100.9/32"), "in ignoreip"},
		{netip.MustParsePrefix("198.51.100.128/25"), "in ignoreip"},
		{netip.MustParsePrefix("2001:db8::1/128"), "peer of an SSH session"},
	}, []string{".example.org"})
	offenders := []Offender{{netip.MustParseAddr("198.51.101.0"), "mx.example.org"}, {netip.MustParseAddr("198.51.102.0"), ""}}
	for prefix, want := range map[string][]netip.Prefix{
		"203.0.113.0/24":    prefixes("203.0.113.0/24"),
		"198.51.100.9/32":   nil,
		"198.51.100.192/26": nil,
		"198.51.100.0/24": prefixes("198.51.100.0/29", "198.51.100.8/32", "198.51.100.10/31", "198.51.100.12/30",
			"198.51.100.16/28", "198.51.100.32/27", "198.51.100.64/26"),
		"198.51.101.0/30": prefixes("198.51.101.1/32", "198.51.101.2/31"), // by its name
		"198.51.102.0/24": prefixes("198.51.102.0/24"),
		"2001:db8::/126":  prefixes("2001:db8::/128", "2001:db8::2/127"),
	} {
		if diff := cmp.Diff(want, never.Without(netip.MustParsePrefix(prefix), offenders), compare); diff != "" {
			t.Errorf("%s (-want +got):\n%s", prefix, diff)
		}
	}
	if n := len(never.Without(netip.MustParsePrefix("2001:db8::/32"), nil)); n != 96 {
		t.Errorf("a /32 without one address is %d prefixes, want 96", n)
	}
}

func TestEvidenceKeepsOneNameOfEachOtherAddress(t *testing.T) {
	a, b := netip.MustParseAddr("2001:db8::a"), netip.MustParseAddr("2001:db8::b")
	e := Evidence{Hits: []Hit{{Event: Event{Address: a}}}}
	for _, o := range []Offender{{a, ""}, {b, ""}, {b, "one.test"}, {b, ""}, {b, "two.test"}, {a, "mx.example.org"}} {
		e.Add(o)
	}
	want := []Offender{{b, "two.test"}, {a, "mx.example.org"}}
	if diff := cmp.Diff(want, e.Others, compare); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i := range 2 * maxOthers {
		e.Add(Offender{netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), ""})
	}
	if len(e.Others) != maxOthers {
		t.Errorf("%d others are kept, want %d", len(e.Others), maxOthers)
	}
}

func TestReconcileAddsTheMissingAndDeletesTheUnwanted(t *testing.T) {
	want := prefixes("198.51.100.1/32", "198.51.100.2/32", "2001:db8::/64", "198.51.100.1/32")
	have := prefixes("198.51.100.2/32", "203.0.113.1/32")
	got := Reconcile(want, have)
	expected := []Change{
		{Prefix: netip.MustParsePrefix("198.51.100.1/32")},
		{Prefix: netip.MustParsePrefix("2001:db8::/64")},
		{Prefix: netip.MustParsePrefix("203.0.113.1/32"), Delete: true},
	}
	if diff := cmp.Diff(expected, got, compare); diff != "" {
		t.Error(diff)
	}
	if again := Reconcile(have, have); len(again) != 0 {
		t.Errorf("reconciling what is in step wants %v", again)
	}
}

func TestWidePrefixesAreRefused(t *testing.T) {
	for prefix, want := range map[string]string{
		"198.51.100.7/32":  "",
		"198.51.0.0/16":    "",
		"2001:db8::/32":    "",
		"198.0.0.0/8":      "198.0.0.0/8 is too wide: the shortest prefix that may be banned is /16",
		"2001::/16":        "2001::/16 is too wide: the shortest prefix that may be banned is /32",
		"0.0.0.0/0":        "0.0.0.0/0 is too wide: the shortest prefix that may be banned is /16",
		"198.51.100.7/24":  "198.51.100.7/24 has host bits set; did you mean 198.51.100.0/24?",
		"2001:db8:1::1/64": "2001:db8:1::1/64 has host bits set; did you mean 2001:db8:1::/64?",
	} {
		got := ""
		if err := CheckPrefix(netip.MustParsePrefix(prefix)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("CheckPrefix(%s) = %q, want %q", prefix, got, want)
		}
	}
}

// A translator shows all of the IPv4 internet below one /96; there a whole /64 is
// everybody.
func TestClientsBehindATranslatorAreSingleAddresses(t *testing.T) {
	p := DefaultPolicy()
	for address, want := range map[string]string{
		"64:ff9b::203.0.113.9": "64:ff9b::cb00:7109/128",
		"64:ff9b:1::1":         "64:ff9b:1::/64",
		"203.0.113.9":          "203.0.113.9/32",
		"2001:db8::1":          "2001:db8::/64",
	} {
		if got := p.Client(netip.MustParseAddr(address)).String(); got != want {
			t.Errorf("client of %s: %s, want %s", address, got, want)
		}
	}
	p.IPv4Prefix = 24
	if got, want := p.Client(netip.MustParseAddr("64:ff9b::203.0.113.9")).String(), "64:ff9b::cb00:7100/120"; got != want {
		t.Errorf("with /24: %s, want %s", got, want)
	}
}
