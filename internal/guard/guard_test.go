package guard

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/ban"
)

var compare = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

func addrs(s ...string) (out []netip.Addr) {
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func prefixes(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func TestSetHoldsAllSourcesWithTheirReason(t *testing.T) {
	got := Sources{
		Addresses: prefixes("192.0.2.10/24"),
		Gateways:  addrs("192.0.2.1"),
		Resolvers: addrs("2001:db8::53"),
		Postfix: Postfix{
			MyNetworks: prefixes("198.51.100.0/24"), ProxyInterfaces: addrs("203.0.113.1"), RelayHost: addrs("203.0.113.2"),
		},
		IgnoreIP: prefixes("203.0.113.128/25"),
		Ignores: []ban.Ignore{
			{Prefix: netip.MustParsePrefix("198.18.1.0/24"), Until: time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("CET", 3600)), Reason: "customer"},
			{Prefix: netip.MustParsePrefix("198.18.2.0/24"), Until: ban.Forever},
		},
		SSHPeers: addrs("198.18.0.1"),
	}.Protected()
	var want []ban.Protected
	for _, m := range [][2]string{
		{"192.0.2.10/32", "own address"},
		{"192.0.2.1/32", "gateway"},
		{"2001:db8::53/128", "name server"},
		{"198.51.100.0/24", "in Postfix's mynetworks"},
		{"203.0.113.1/32", "in Postfix's proxy_interfaces"},
		{"203.0.113.2/32", "Postfix's relayhost"},
		{"203.0.113.128/25", "in ignoreip"},
		{"198.18.1.0/24", "ignored by smtpban ignore until 2026-03-01 11:00:00 UTC: customer"},
		{"198.18.2.0/24", "ignored by smtpban ignore for ever"},
		{"198.18.0.1/32", "peer of an SSH session"},
	} {
		want = append(want, ban.Protected{Prefix: netip.MustParsePrefix(m[0]), Reason: m[1]})
	}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Error(diff)
	}
}

func TestOwnNetworkIsTrustedOnlyWherePostfixDoes(t *testing.T) {
	for _, tc := range []struct {
		output string
		want   bool
	}{
		{"mynetworks_style = host\n", false},
		{"mynetworks_style = subnet\n", true},
		{"mynetworks_style = class\n", true},
		{"mynetworks = 127.0.0.0/8\nmynetworks_style = subnet\n", false},
	} {
		var p Postfix
		p.read(tc.output, "")
		set := ban.NewNeverBan(Sources{Addresses: prefixes("192.0.2.10/24"), Postfix: p}.Protected(), nil)
		if _, got := set.Overlapping(netip.MustParsePrefix("192.0.2.77/32")); got != tc.want {
			t.Errorf("%q: neighbour protected: %v, want %v", tc.output, got, tc.want)
		}
	}
}

func TestResolvers(t *testing.T) {
	got, err := Resolvers(strings.NewReader("# comment\nsearch example.test\nnameserver 192.0.2.53\n" +
		"nameserver\tfe80::1%eth0\nnameserver 192.0.2.53\nnameserver\nnameserver bogus\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(addrs("192.0.2.53", "fe80::1"), got, compare); diff != "" {
		t.Error(diff)
	}
}

func TestPostconfIsReadAsFarAsItCanBe(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file := write("networks", "# the office\n203.0.113.0/26 , 203.0.113.64\n")
	table := write("networks.cidr", "# branches\n203.0.113.128/26 OK\n!203.0.113.192/26 OK\n")
	var got Postfix
	got.read("mynetworks = 127.0.0.0/8, [::1]/128 192.0.2.7/24 "+file+" cidr:"+table+" hash:/etc/postfix/n !192.0.2.9 /no/such/file\n"+
		"mail_owner = postfix\nmynetworks_style = host\nproxy_interfaces = 198.51.100.1, mx.example.test\nrelayhost = [2001:db8::25]:587\n", "")
	want := Postfix{
		MailOwner:       "postfix",
		MyNetworks:      prefixes("127.0.0.0/8", "::1/128", "192.0.2.0/24", "203.0.113.0/26", "203.0.113.64/32", "203.0.113.128/26"),
		ProxyInterfaces: addrs("198.51.100.1"),
		RelayHost:       addrs("2001:db8::25"),
		Unread: []string{
			"mynetworks: cidr:" + table + ": !203.0.113.192/26 OK", "mynetworks: hash:/etc/postfix/n", "mynetworks: !192.0.2.9",
			"mynetworks: /no/such/file", "proxy_interfaces: mx.example.test",
		},
	}
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Error(diff)
	}
}

func TestFileThatNamesItselfEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "networks")
	if err := os.WriteFile(path, []byte("192.0.2.0/24 "+path+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got Postfix
	got.read("mynetworks = "+path+"\n", "")
	if len(got.MyNetworks) == 0 || len(got.Unread) != 1 {
		t.Errorf("got %+v, want the network and the file as unread", got)
	}
}

func TestHostsOfRelayhost(t *testing.T) {
	for word, want := range map[string]string{
		"192.0.2.25":            "192.0.2.25",
		"[192.0.2.25]":          "192.0.2.25",
		"[192.0.2.25]:587":      "192.0.2.25",
		"192.0.2.25:587":        "192.0.2.25",
		"[IPv6:2001:db8::25]":   "2001:db8::25",
		"[relay.example.test]":  "",
		"relay.example.test:25": "",
	} {
		a, ok := parseHost(word)
		if got := a.String(); ok != (want != "") || ok && got != want {
			t.Errorf("parseHost(%q) = %s, %v; want %q", word, got, ok, want)
		}
	}
}
