package route

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"smtpban/internal/ban"
)

const (
	testProtocol = 249 // not smtpban's: ip(8) prints that by name where we are installed
	mainTable    = unix.RT_TABLE_MAIN
)

// inUserNamespace marks the child that TestMain starts.
const inUserNamespace = "SMTPBAN_TEST_IN_USER_NAMESPACE"

// TestMain lets an ordinary user run these tests as the root of a user namespace
// of his own. Where that is forbidden the tests skip.
func TestMain(m *testing.M) {
	if os.Getuid() == 0 || os.Getenv(inUserNamespace) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inUserNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	err := cmd.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		os.Exit(m.Run())
	}
}

// privateNetwork moves the test into a network namespace of its own, with
// nothing in it but lo, up. It belongs to this goroutine's thread, which ends
// with the test and takes the namespace along; a subtest would run outside.
func privateNetwork(t testing.TB) {
	t.Helper()
	runtime.LockOSThread() // for good: an unlocked thread would be used again
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no private network namespace, and CI must not skip this: %v", err)
		}
		t.Skipf("SKIPPED: needs root or user namespaces to make a network namespace: %v", err)
	}
	ip(t, "link set lo up")
}

// privateTable is a Table in the main table of a privateNetwork.
func privateTable(t testing.TB) *Table {
	t.Helper()
	privateNetwork(t)
	return openTable(t, Options{Protocol: testProtocol, Table: mainTable})
}

func openTable(t testing.TB, o Options) *Table {
	t.Helper()
	table, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(table.Close)
	return table
}

// ip runs ip(8) and returns what it prints, a trimmed line each.
func ip(t testing.TB, args string) []string {
	t.Helper()
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

// ipEach runs many ip(8) commands. Not with -batch: there iproute2 6.1 takes a
// "proto" for the one of an earlier line (its cache keeps a pointer into the line).
func ipEach(t testing.TB, commands []string) {
	t.Helper()
	for _, c := range commands {
		ip(t, c)
	}
}

// sysctl writes a kernel setting of the private network.
func sysctl(t testing.TB, name, value string) {
	t.Helper()
	path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/") // net is the calling thread's
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		t.Fatal(err)
	}
}

// dropNetAdmin takes CAP_NET_ADMIN from the test's thread, which ends with it.
func dropNetAdmin(t testing.TB) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&header, &caps[0]); err != nil {
		t.Fatal(err)
	}
	caps[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	if err := unix.Capset(&header, &caps[0]); err != nil {
		t.Fatal(err)
	}
}

// list is Table.List in order.
func list(t testing.TB, table *Table) []netip.Prefix {
	t.Helper()
	prefixes, err := table.List()
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	return prefixes
}

// mustApply applies changes that must all take effect.
func mustApply(t testing.TB, table *Table, changes []ban.Change) {
	t.Helper()
	if err := errors.Join(table.Apply(changes)...); err != nil {
		t.Fatal(err)
	}
}

func parsePrefixes(s ...string) []netip.Prefix {
	prefixes := make([]netip.Prefix, len(s))
	for i := range s {
		prefixes[i] = netip.MustParsePrefix(s[i])
	}
	return prefixes
}

func additions(prefixes []netip.Prefix) []ban.Change {
	changes := make([]ban.Change, len(prefixes))
	for i, p := range prefixes {
		changes[i] = ban.Change{Prefix: p}
	}
	return changes
}

func deletions(prefixes []netip.Prefix) []ban.Change {
	changes := additions(prefixes)
	for i := range changes {
		changes[i].Delete = true
	}
	return changes
}

// numbered returns n clients, every other one IPv6.
func numbered(n int) []netip.Prefix {
	prefixes := make([]netip.Prefix, n)
	for i := range prefixes {
		prefixes[i] = numbered4(i)
		if i%2 == 1 {
			prefixes[i] = numbered6(i)
		}
	}
	return prefixes
}

// numbered4 returns the i-th host of 198.18.0.0/15, the network for benchmarks
// (RFC 2544); the documentation networks are too small.
func numbered4(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18 + byte(i>>16), byte(i >> 8), byte(i)}), 32)
}

// numbered6 returns the i-th /64 of 2001:db8::/32.
func numbered6(i int) netip.Prefix {
	addr := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, byte(i >> 16), byte(i >> 8), byte(i)})
	return netip.PrefixFrom(addr, 64)
}
