package integration

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

const netnsDir = "/run/netns" // where ip-netns(8) keeps the named namespaces

// The server's addresses. The attackers' network is its gateway to the world.
var (
	server4 = netip.MustParseAddr("192.0.2.10")
	server6 = netip.MustParseAddr("2001:db8::10")
)

// The whole world outside sits in one namespace, which owns every address that
// a client may come from: "local" routes make them usable without assigning each.
const (
	worldSetup = `
link set lo up
route add local 198.51.100.0/24 dev lo
route add local 203.0.113.0/24 dev lo
route add local 2001:db8:bad::/48 dev lo
`
	serverSetup = `
link set lo up
link add eth0 type veth peer name eth0 netns WORLD
addr add 192.0.2.10/24 dev eth0
addr add 2001:db8::10/64 dev eth0
link set eth0 up
`
	worldLink = `
addr add 192.0.2.1/24 dev eth0
addr add 2001:db8::1/64 dev eth0
link set eth0 up
`
	serverGateways = `
route add default via 192.0.2.1
route add ::/0 via 2001:db8::1
`
)

// A network is two namespaces and a cable: the server's, which a system boots
// in, and the world's, where the clients are.
type network struct {
	server, world string // names under /run/netns
}

// addWorld makes the world's side. The server's is made for each boot.
func (n network) addWorld() error {
	if err := newNetns(n.world); err != nil {
		return err
	}
	if err := ipBatch(n.world, worldSetup); err != nil {
		return err
	}
	// Lets an IPv6 client bind to an address that no interface has.
	return sysctl(n.world, "net.ipv6.ip_nonlocal_bind", "1")
}

// newNetns adds a namespace whose IPv6 works at once: duplicate address
// detection would hold every new address back for a second or two.
func newNetns(name string) error {
	if err := runCommand("ip", "netns", "add", name); err != nil {
		return err
	}
	return sysctl(name, "net.ipv6.conf.default.accept_dad", "0")
}

// sysctl sets a value of a network namespace. A system inside cannot: its
// /proc/sys is read-only.
func sysctl(netns, key, value string) error {
	file := filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
	return inNetns(netns, func() error { return os.WriteFile(file, []byte(value), 0o644) })
}

// connect gives the server a namespace without any history and plugs it in.
// Routes live as long as their namespace, longer than the system that runs in
// it, so a restart in an old one would prove nothing.
func (n network) connect() error {
	if _, err := os.Stat(filepath.Join(netnsDir, n.server)); err == nil {
		if err := n.disconnect(); err != nil {
			return err
		}
	}
	if err := newNetns(n.server); err != nil {
		return err
	}
	for _, side := range []struct{ netns, batch string }{
		{n.server, strings.ReplaceAll(serverSetup, "WORLD", n.world)},
		{n.world, worldLink},
		{n.server, serverGateways},
	} {
		if err := ipBatch(side.netns, side.batch); err != nil {
			return err
		}
	}
	return nil
}

// disconnect takes the cable first: the kernel tears a namespace down some time
// later, and until then the world's end would keep its name.
func (n network) disconnect() error {
	if err := runCommand("ip", "-n", n.server, "link", "del", "eth0"); err != nil {
		return err
	}
	return runCommand("ip", "netns", "del", n.server)
}

// remove deletes both namespaces, as far as they exist.
func (n network) remove() error {
	for _, name := range []string{n.server, n.world} {
		if _, err := os.Stat(filepath.Join(netnsDir, name)); err != nil {
			continue
		}
		if err := runCommand("ip", "netns", "del", name); err != nil {
			return err
		}
	}
	return nil
}

// inNetns runs f in the named network namespace. What f opens stays there.
func inNetns(name string, f func() error) error {
	ns, err := os.Open(filepath.Join(netnsDir, name))
	if err != nil {
		return err
	}
	defer ns.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("entering network namespace %s: %w", name, err)
			return
		}
		done <- f()
	}()
	return <-done
}

func ipBatch(netns, commands string) error {
	cmd := exec.Command("ip", "-n", netns, "-batch", "-")
	cmd.Stdin = strings.NewReader(commands)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, out)
	}
	return nil
}

func runCommand(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, out)
	}
	return nil
}
