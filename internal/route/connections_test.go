package route

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// The clients in a world: whole networks that this machine answers for without
// owning an address in them.
const worldNetworks = "203.0.113.0/24 198.51.100.0/24 198.18.0.0/15 2001:db8:bad::/48"

// privateWorld is a privateNetwork in which connections can come from anywhere
// in worldNetworks.
func privateWorld(t testing.TB) {
	t.Helper()
	privateNetwork(t)
	for n := range strings.FieldsSeq(worldNetworks) {
		ip(t, "route add local "+n+" dev lo")
	}
	sysctl(t, "net.ipv6.ip_nonlocal_bind", "1")
}

// A visit is a TCP connection from a client to a server on loopback.
type visit struct {
	client, server net.Conn
}

// listen serves a port of 127.0.0.1, ::1 or, if address is "::", of both
// families on one socket.
func listen(t testing.TB, address string, port uint16) net.Listener {
	t.Helper()
	network := "tcp"
	if address == "127.0.0.1" {
		network = "tcp4"
	}
	l, err := net.Listen(network, netip.AddrPortFrom(netip.MustParseAddr(address), port).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// visitFrom connects the client to the listener.
func visitFrom(t testing.TB, client string, l net.Listener) visit {
	t.Helper()
	from := netip.MustParseAddr(client)
	server := netip.MustParseAddr("127.0.0.1")
	if from.Is6() {
		server = netip.IPv6Loopback()
	}
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: 5 * time.Second}
	conn, err := d.Dial("tcp", netip.AddrPortFrom(server, port).String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); accepted.Close() })
	return visit{conn, accepted}
}

// alive reports whether bytes still go from the client to the server and back.
func (v visit) alive(t testing.TB) bool {
	t.Helper()
	for _, way := range [][2]net.Conn{{v.client, v.server}, {v.server, v.client}} {
		way[1].SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := way[0].Write([]byte("x")); err != nil {
			return false
		}
		_, err := way[1].Read(make([]byte, 1))
		if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNABORTED) {
			return false
		}
		if err != nil {
			t.Fatalf("neither alive nor ended: %v", err)
		}
	}
	return true
}

// visitors returns a connection of each client to each port, by "CLIENT PORT".
// Port 465 is served by one socket for both families.
func visitors(t testing.TB, clients []string, ports []uint16) map[string]visit {
	t.Helper()
	all := map[string]visit{}
	for _, port := range ports {
		var l4, l6 net.Listener
		if port == dualStackPort {
			l4 = listen(t, "::", port)
			l6 = l4
		} else {
			l4, l6 = listen(t, "127.0.0.1", port), listen(t, "::1", port)
		}
		for _, client := range clients {
			l := l4
			if strings.Contains(client, ":") {
				l = l6
			}
			all[fmt.Sprint(client, " ", port)] = visitFrom(t, client, l)
		}
	}
	return all
}

const dualStackPort = 465

var smtpPorts = []uint16{25, 465, 587}

// connections is Connections that must succeed, a "PREFIX PORT" each, sorted.
func connections(t testing.TB, prefixes []netip.Prefix, ports []uint16) (found []Connection, names []string) {
	t.Helper()
	found, err := Connections(prefixes, ports)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range found {
		names = append(names, fmt.Sprint(c.Prefix, " ", c.Port))
	}
	slices.Sort(names)
	return found, names
}

func TestConnectionsOfTheBannedToTheirPortsAreEndedAndNoOthers(t *testing.T) {
	privateWorld(t)
	clients := []string{"203.0.113.9", "203.0.113.10", "198.51.100.1", "2001:db8:bad:1::7", "2001:db8:bad:1::8", "2001:db8:bad:2::7"}
	visits := visitors(t, clients, []uint16{22, 24, 25, 26, 465, 587, 10025})
	banned := parsePrefixes("203.0.113.9/32", "198.51.100.0/24", "2001:db8:bad:1::/64", "192.0.2.0/24")

	found, names := connections(t, banned, smtpPorts)
	want := []string{
		"198.51.100.0/24 25", "198.51.100.0/24 465", "198.51.100.0/24 587",
		"2001:db8:bad:1::/64 25", "2001:db8:bad:1::/64 25", "2001:db8:bad:1::/64 465", "2001:db8:bad:1::/64 465",
		"2001:db8:bad:1::/64 587", "2001:db8:bad:1::/64 587",
		"203.0.113.9/32 25", "203.0.113.9/32 465", "203.0.113.9/32 587",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("Connections (-want +got):\n%s", diff)
	}
	ended, err := EndConnections(found)
	if err != nil || ended != len(want) {
		t.Errorf("EndConnections: %d, %v; want %d", ended, err, len(want))
	}
	for name, v := range visits {
		client, port, _ := strings.Cut(name, " ")
		addr := netip.MustParseAddr(client)
		cut := slices.Contains([]string{"25", "465", "587"}, port) &&
			slices.ContainsFunc(banned, func(p netip.Prefix) bool { return p.Contains(addr) })
		if alive := v.alive(t); alive == cut {
			t.Errorf("the connection of %s is alive: %v, want %v", name, alive, !cut)
		}
	}

	if _, names := connections(t, banned, smtpPorts); names != nil {
		t.Errorf("Connections afterwards: %v, want none", names)
	}
	if ended, err := EndConnections(found); ended != 0 || err != nil {
		t.Errorf("EndConnections of what has ended: %d, %v; want 0 and no error", ended, err)
	}
}

func TestNobodyIsAskedForNothing(t *testing.T) {
	privateWorld(t)
	visitors(t, []string{"203.0.113.9"}, []uint16{25})
	for _, none := range []struct {
		prefixes []netip.Prefix
		ports    []uint16
	}{{nil, smtpPorts}, {parsePrefixes("203.0.113.9/32"), nil}, {parsePrefixes("203.0.113.8/32"), smtpPorts}} {
		if _, names := connections(t, none.prefixes, none.ports); names != nil {
			t.Errorf("Connections(%v): %v, want none", none, names)
		}
	}
	if ended, err := EndConnections(nil); ended != 0 || err != nil {
		t.Errorf("EndConnections of nothing: %d, %v", ended, err)
	}
}

func TestOnlyConnectionsInServiceAreListed(t *testing.T) {
	privateWorld(t)
	l := listen(t, "127.0.0.1", 25)
	halfClosed := visitFrom(t, "203.0.113.9", l)
	if err := halfClosed.client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := visitFrom(t, "203.0.113.10", l).server.Close(); err != nil { // it waits for the client's end
		t.Fatal(err)
	}
	_, names := connections(t, parsePrefixes("203.0.113.0/24", "127.0.0.0/16"), smtpPorts)
	if diff := cmp.Diff([]string{"203.0.113.0/24 25"}, names); diff != "" {
		t.Errorf("Connections (-want +got):\n%s", diff)
	}
}

// The kernel's filter is a program with jumps, which must fit for any number of ports.
func TestEveryNumberOfPortsIsFilteredByTheKernel(t *testing.T) {
	privateWorld(t)
	visitors(t, []string{"203.0.113.9"}, []uint16{25})
	banned := parsePrefixes("203.0.113.9/32")
	for _, n := range []int{1, 2, 3, 100, 1000} {
		ports := make([]uint16, n)
		for i := range ports {
			ports[i] = uint16(1000 + i)
		}
		if _, names := connections(t, banned, ports); names != nil {
			t.Errorf("to none of %d ports: %v", n, names)
		}
		for _, at := range []int{0, n / 2, n - 1} {
			with := slices.Clone(ports)
			with[at] = 25
			if _, names := connections(t, banned, with); len(names) != 1 {
				t.Errorf("to port %d of %d: %v, want one connection", at+1, n, names)
			}
		}
	}
}

func TestAnswersToEndingConnections(t *testing.T) {
	two := []Connection{
		{Prefix: netip.MustParsePrefix("203.0.113.9/32"), Port: 25},
		{Prefix: netip.MustParsePrefix("2001:db8::/64"), Port: 587},
	}
	for _, test := range []struct {
		answers []error
		ended   int
		is      error
		text    string
	}{
		{answers: []error{nil, nil}, ended: 2},
		{answers: []error{unix.ENOENT, unix.ESTALE}},
		{answers: []error{unix.EOPNOTSUPP, unix.EOPNOTSUPP}, is: ErrNoDestroy,
			text: "ending a connection of 203.0.113.9/32 to port 25: the kernel can't end connections (it has no CONFIG_INET_DIAG_DESTROY)"},
		{answers: []error{nil, unix.EPERM}, ended: 1, is: unix.EPERM,
			text: "ending a connection of 2001:db8::/64 to port 587: operation not permitted (this needs CAP_NET_ADMIN)"},
	} {
		ended, err := countEnded(two, test.answers)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if ended != test.ended || !errors.Is(err, test.is) || text != test.text {
			t.Errorf("%v: %d, %q; want %d, %q", test.answers, ended, text, test.ended, test.text)
		}
	}
	if err := explainDiag(unix.ENOENT); !errors.Is(err, ErrNoDestroy) {
		t.Errorf("a kernel without inet_diag: %v, want ErrNoDestroy", err)
	}
}

func TestEndingConnectionsNeedsTheCapability(t *testing.T) {
	privateWorld(t)
	visitors(t, []string{"203.0.113.9"}, []uint16{25})
	found, _ := connections(t, parsePrefixes("203.0.113.9/32"), smtpPorts)
	dropNetAdmin(t)
	if ended, err := EndConnections(found); ended != 0 || !errors.Is(err, os.ErrPermission) {
		t.Errorf("EndConnections: %d, %v; want 0 and os.ErrPermission", ended, err)
	}
}

// BenchmarkConnections ends the 5,000 connections of as many of 10,000 clients
// that were banned at once.
func BenchmarkConnections(b *testing.B) {
	const bans, open = 10_000, 5_000
	privateWorld(b)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Max < 3*open {
		b.Skipf("SKIPPED: needs %d open files: %v", 3*open, err)
	}
	banned := make([]netip.Prefix, bans)
	for i := range banned {
		banned[i] = numbered4(i + 1)
	}
	l := listen(b, "127.0.0.1", 25)
	var listing, ending time.Duration
	for b.Loop() {
		b.StopTimer()
		visits := make([]visit, open)
		for i := range visits {
			visits[i] = visitFrom(b, banned[2*i].Addr().String(), l)
		}
		b.StartTimer()
		start := time.Now()
		found, _ := connections(b, banned, smtpPorts)
		listed := time.Now()
		if ended, err := EndConnections(found); ended != open || err != nil {
			b.Fatalf("ended %d of %d: %v", ended, open, err)
		}
		listing, ending = listing+listed.Sub(start), ending+time.Since(listed)
		b.StopTimer()
		for _, v := range visits {
			v.client.Close()
			v.server.Close()
		}
		b.StartTimer()
	}
	b.ReportMetric(listing.Seconds()/float64(b.N), "s/list")
	b.ReportMetric(ending.Seconds()/float64(b.N), "s/end")
}
