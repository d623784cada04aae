package integration

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// networkConf lets systemd-networkd manage the link. The addresses stay ours to
// add: version 252 can't under newer kernels, and begins anew for ever.
const networkConf = `[Match]
Name=eth0
[Network]
LinkLocalAddressing=no
IPv6AcceptRA=no
`

// serverLink is what networkd takes away as well, being foreign to it.
const serverLink = `
addr add 192.0.2.10/24 dev eth0
addr add 2001:db8::10/64 dev eth0
route replace default via 192.0.2.1
route replace ::/0 via 2001:db8::1
`

// routesTaken has everybody take the routes away who can: an admin, lo going down,
// and systemd-networkd where it manages the link. After each the unit's next run
// puts them back, unless nothing was taken: that is what the drop-in for networkd
// is for.
func (s *story) routesTaken(t *testing.T) {
	banned := []netip.Addr{netip.MustParseAddr("198.51.100.91"), netip.MustParseAddr("2001:db8:bad:900::1")}
	s.run(t, "smtpban", "ban", banned[0].String(), clientOf(banned[1]))
	s.write(t, "etc/systemd/network/10-eth0.network", networkConf)
	s.run(t, "systemctl", "start", "systemd-networkd")
	s.configured(t)
	s.runUnit(t)
	want := sorted(routes(t, s.system))
	for _, a := range banned {
		if !slices.Contains(want, prefixOf(clientOf(a))) {
			t.Fatalf("%v has no route: %v", a, want)
		}
	}
	ipv4 := slices.DeleteFunc(slices.Clone(want), func(prefix string) bool { return strings.Contains(prefix, ":") })

	for _, c := range []struct {
		who  string
		take func()
		left []string
	}{
		{"an admin", func() {
			s.run(t, "ip", "-4", "route", "flush", "proto", "smtpban")
			s.run(t, "ip", "-6", "route", "flush", "proto", "smtpban")
		}, nil},
		{"lo, which IPv6 blackholes are on", func() {
			s.run(t, "ip", "link", "set", "lo", "down")
			s.run(t, "ip", "link", "set", "lo", "up")
		}, ipv4},
		{"networkd", func() { s.reconfigure(t) }, nil},
		{"networkd with the drop-in", func() {
			s.run(t, "install", "-D", "-m", "644", "-t", "/etc/systemd/networkd.conf.d", "/usr/share/doc/smtpban/networkd.conf.d/10-smtpban.conf")
			s.run(t, "systemctl", "restart", "systemd-networkd")
			s.reconfigure(t)
		}, want},
	} {
		same(t, "routes before "+c.who+" takes them", want, sorted(routes(t, s.system)))
		c.take()
		same(t, "routes that "+c.who+" leaves", c.left, sorted(routes(t, s.system)))
		s.runUnit(t)
		same(t, "routes after the run that follows on "+c.who, want, sorted(routes(t, s.system)))
	}
	s.net.checkDoors(t, banned, []netip.Addr{friend, friend6})
	s.run(t, "smtpban", "unban", banned[0].String(), clientOf(banned[1]))
	s.run(t, "rm", "/etc/systemd/networkd.conf.d/10-smtpban.conf")
}

// reconfigure has networkd set up the link from the beginning.
func (s *story) reconfigure(t *testing.T) {
	t.Helper()
	s.run(t, "networkctl", "reconfigure", "eth0")
	const patience = 20 * time.Second
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if !strings.Contains(s.run(t, "ip", "address", "show", "dev", "eth0"), server4.String()) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("networkd has not begun to reconfigure the link after %v:\n%s", patience, s.run(t, "networkctl", "status", "eth0"))
		}
	}
	s.configured(t)
	if err := ipBatch(s.net.server, serverLink); err != nil {
		t.Fatal(err)
	}
}

// configured waits until networkd is done with the link.
func (s *story) configured(t *testing.T) {
	t.Helper()
	const patience = 20 * time.Second
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		status := s.run(t, "networkctl", "list", "--no-legend", "eth0")
		if slices.Contains(strings.Fields(status), "configured") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("networkd has not configured the link after %v: %s", patience, status)
		}
	}
}

// runUnit is one run of the block unit.
func (s *story) runUnit(t *testing.T) {
	t.Helper()
	s.run(t, "systemctl", "start", "smtpban-block.service")
}

func sorted(all []string) []string {
	slices.Sort(all)
	return all
}
