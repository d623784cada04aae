package main

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// A visitor is the client's and the server's end of a TCP connection.
type visitor struct{ client, server net.Conn }

// visitors are a script's connections, by "ADDRESS PORT".
type visitors struct {
	open      map[string]visitor
	listeners map[string]net.Listener // by local address and port
}

// visitorsKey finds a script's visitors among its values.
type visitorsKey struct{}

func newVisitors() *visitors {
	return &visitors{map[string]visitor{}, map[string]net.Listener{}}
}

// world makes connections from the networks possible, although no address in
// them is the machine's own.
func world(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: world PREFIX...")
	}
	for _, prefix := range args {
		ts.Check(ts.Exec("ip", "route", "add", "local", prefix, "dev", "lo"))
	}
	ts.Check(os.WriteFile("/proc/sys/net/ipv6/ip_nonlocal_bind", []byte("1"), 0o644))
}

// listen has a program wait for clients at the local ports of an address.
func listen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: listen ADDRESS PORT...")
	}
	for _, port := range args[1:] {
		l, err := net.Listen("tcp", net.JoinHostPort(args[0], port))
		ts.Check(err)
		ts.Defer(func() { l.Close() })
	}
}

// connect opens a connection from an address to each of the ports.
func connect(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: connect ADDRESS PORT...")
	}
	from, err := netip.ParseAddr(args[0])
	ts.Check(err)
	server := "127.0.0.1"
	if from.Is6() {
		server = "::1"
	}
	all := ts.Value(visitorsKey{}).(*visitors)
	for _, port := range args[1:] {
		at := net.JoinHostPort(server, port)
		if all.listeners[at] == nil {
			l, err := net.Listen("tcp", at)
			ts.Check(err)
			ts.Defer(func() { l.Close() })
			all.listeners[at] = l
		}
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: 5 * time.Second}
		client, err := d.Dial("tcp", at)
		ts.Check(err)
		accepted, err := all.listeners[at].Accept()
		ts.Check(err)
		ts.Defer(func() { client.Close(); accepted.Close() })
		all.open[args[0]+" "+port] = visitor{client, accepted}
	}
}

// connected checks that all connections that an address has to the ports are
// still open at the server's end, or with "!" that none is. Whether bytes come
// through is another question: a route stops them, but ends nothing.
func connected(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: [!] connected ADDRESS PORT...")
	}
	all := ts.Value(visitorsKey{}).(*visitors)
	var alive []string
	for _, port := range args[1:] {
		v, ok := all.open[args[0]+" "+port]
		if !ok {
			ts.Fatalf("%s never connected to port %s", args[0], port)
		}
		v.server.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := v.server.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			alive = append(alive, port)
		}
	}
	want := strings.Join(args[1:], " ")
	if neg {
		want = ""
	}
	if got := strings.Join(alive, " "); got != want {
		ts.Fatalf("%s is connected to the ports %q, want %q", args[0], got, want)
	}
}
