package route

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"smtpban/internal/ban"
)

// comparePrefixes lets cmp look at prefixes and addresses.
var comparePrefixes = cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})

func diffPrefixes(want, got []netip.Prefix) string { return cmp.Diff(want, got, comparePrefixes) }

func TestOpenRefusesIdentitiesThatAreNotOurs(t *testing.T) {
	for _, o := range []Options{
		{Protocol: unix.RTPROT_UNSPEC, Table: mainTable},
		{Protocol: unix.RTPROT_STATIC, Table: mainTable},
		{Protocol: testProtocol, Table: unix.RT_TABLE_UNSPEC},
	} {
		if table, err := Open(o); err == nil {
			table.Close()
			t.Errorf("Open(%+v): no error", o)
		}
	}
}

func TestRoutesOfBothFamiliesComeAndGo(t *testing.T) {
	table := privateTable(t)
	prefixes := parsePrefixes("192.0.2.0/24", "203.0.113.9/32", "2001:db8:1::/64", "2001:db8:2::25/128")

	mustApply(t, table, additions(prefixes))
	if diff := diffPrefixes(prefixes, list(t, table)); diff != "" {
		t.Errorf("List after adding (-want +got):\n%s", diff)
	}
	shown := append(ip(t, "-4 route show"), ip(t, "-6 route show type blackhole")...)
	if diff := cmp.Diff([]string{
		"blackhole 192.0.2.0/24 proto 249",
		"blackhole 203.0.113.9 proto 249",
		"blackhole 2001:db8:1::/64 dev lo proto 249 metric 1 pref medium",
		"blackhole 2001:db8:2::25 dev lo proto 249 metric 1 pref medium",
	}, shown); diff != "" {
		t.Errorf("ip route show (-want +got):\n%s", diff)
	}

	mustApply(t, table, []ban.Change{
		{Prefix: prefixes[0], Delete: true},
		{Prefix: netip.MustParsePrefix("198.51.100.1/32")},
		{Prefix: prefixes[2], Delete: true},
	})
	want := parsePrefixes("198.51.100.1/32", "203.0.113.9/32", "2001:db8:2::25/128")
	if diff := diffPrefixes(want, list(t, table)); diff != "" {
		t.Errorf("List after a mixed batch (-want +got):\n%s", diff)
	}

	mustApply(t, table, deletions(want))
	if left := ip(t, "route show type blackhole"); len(left) != 0 {
		t.Errorf("left after deleting: %q", left)
	}
}

func TestApplyingTwiceChangesNothing(t *testing.T) {
	table := privateTable(t)
	prefixes := numbered(500)
	for range 2 {
		if errs := table.Apply(additions(prefixes)); errs != nil {
			t.Fatalf("adding: %v", errs)
		}
	}
	if got := len(list(t, table)); got != len(prefixes) {
		t.Errorf("%d routes, want %d", got, len(prefixes))
	}
	for range 2 {
		if errs := table.Apply(deletions(prefixes)); errs != nil {
			t.Fatalf("deleting: %v", errs)
		}
	}
	if diff := diffPrefixes([]netip.Prefix{}, list(t, table)); diff != "" {
		t.Errorf("List after deleting (-want +got):\n%s", diff)
	}
}

func TestListKnowsOnlyOurOwnRoutes(t *testing.T) {
	table := privateTable(t)
	other := openTable(t, Options{Protocol: testProtocol, Table: 1000})
	mustApply(t, table, additions(parsePrefixes("203.0.113.1/32", "2001:db8:1::/64")))
	mustApply(t, other, additions(parsePrefixes("203.0.113.2/32", "2001:db8:2::/64")))
	ipEach(t, []string{
		"route add blackhole 203.0.113.3 proto static",
		"route add blackhole 203.0.113.4 proto 249 metric 50",
		"route add unreachable 203.0.113.5 proto 249",
		"route add blackhole 203.0.113.6 proto 249 tos 0x20",
		"route add 203.0.113.7 dev lo proto 249",
		"route add blackhole 2001:db8:3::/64 proto 249", // metric 1024
		"route add blackhole 2001:db8:4::/64 proto bird metric 1",
		"route add prohibit 2001:db8:5::/64 proto 249 metric 1",
	})
	if diff := diffPrefixes(parsePrefixes("203.0.113.1/32", "2001:db8:1::/64"), list(t, table)); diff != "" {
		t.Errorf("main table (-want +got):\n%s", diff)
	}
	if diff := diffPrefixes(parsePrefixes("203.0.113.2/32", "2001:db8:2::/64"), list(t, other)); diff != "" {
		t.Errorf("table 1000 (-want +got):\n%s", diff)
	}
}

func TestRouteIsOursOnlyIfItIsInEveryPart(t *testing.T) {
	table := &Table{protocol: testProtocol, table: mainTable}
	ours := route{
		prefix:   netip.MustParsePrefix("2001:db8::/64"),
		kind:     unix.RTN_BLACKHOLE,
		protocol: testProtocol,
		table:    mainTable,
		metric:   metric6,
	}
	if !table.owns(ours) {
		t.Fatalf("%+v is not ours", ours)
	}
	for part, change := range map[string]func(*route){
		"family":   func(r *route) { r.prefix = netip.MustParsePrefix("192.0.2.0/24") },
		"type":     func(r *route) { r.kind = unix.RTN_UNREACHABLE },
		"protocol": func(r *route) { r.protocol = unix.RTPROT_STATIC },
		"tos":      func(r *route) { r.tos = 0x20 },
		"table":    func(r *route) { r.table = 1000 },
		"metric":   func(r *route) { r.metric = 1024 },
	} {
		r := ours
		if change(&r); table.owns(r) {
			t.Errorf("of another %s, but ours: %+v", part, r)
		}
	}
}

func TestTableWithoutAnyRouteIsEmpty(t *testing.T) {
	privateNetwork(t)
	table := openTable(t, Options{Protocol: testProtocol, Table: 4711})
	if diff := diffPrefixes([]netip.Prefix{}, list(t, table)); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	mustApply(t, table, deletions(parsePrefixes("203.0.113.9/32", "2001:db8:1::/64")))
}

func TestListKeepsWhatStandsWhileOthersChangeTheTable(t *testing.T) {
	table := privateTable(t)
	other := openTable(t, Options{Protocol: testProtocol + 1, Table: mainTable})
	all := numbered(6000)
	standing, moving := all[:4000], all[4000:]
	mustApply(t, table, additions(standing))

	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				other.Apply(additions(moving))
				other.Apply(deletions(moving))
			}
		}
	}()
	for range 20 {
		if got := len(list(t, table)); got != len(standing) {
			t.Errorf("List returned %d routes, want %d", got, len(standing))
		}
	}
	close(stop)
	<-stopped
}

func TestIPv6SwitchedOffLeavesIPv4Working(t *testing.T) {
	table := privateTable(t)
	prefixes := parsePrefixes("203.0.113.9/32", "2001:db8:1::/64")
	mustApply(t, table, additions(prefixes))

	sysctl(t, "net.ipv6.conf.all.disable_ipv6", "1") // takes the IPv6 routes away
	if diff := diffPrefixes(prefixes[:1], list(t, table)); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	mustApply(t, table, additions(parsePrefixes("203.0.113.10/32")))
	mustApply(t, table, deletions(prefixes))
	if diff := diffPrefixes(parsePrefixes("203.0.113.10/32"), list(t, table)); diff != "" {
		t.Errorf("List after changes (-want +got):\n%s", diff)
	}
}

func TestApplyRestoresWhatLoopbackDownTookAway(t *testing.T) {
	table := privateTable(t)
	prefixes := parsePrefixes("203.0.113.9/32", "2001:db8:1::/64")
	mustApply(t, table, additions(prefixes))

	ip(t, "link set lo down")
	ip(t, "link set lo up")
	if diff := diffPrefixes(prefixes[:1], list(t, table)); diff != "" {
		t.Errorf("List after lo was down (-want +got):\n%s", diff)
	}
	mustApply(t, table, additions(prefixes))
	if diff := diffPrefixes(prefixes, list(t, table)); diff != "" {
		t.Errorf("List after the second Apply (-want +got):\n%s", diff)
	}
}

func TestRoutesCanBeAddedBeforeAnyInterfaceIsUp(t *testing.T) {
	table := privateTable(t)
	ip(t, "link set lo down")
	prefixes := parsePrefixes("203.0.113.9/32", "2001:db8:1::/64")
	mustApply(t, table, additions(prefixes))
	if diff := diffPrefixes(prefixes, list(t, table)); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
}

func BenchmarkRoutes(b *testing.B) {
	const n = 100_000
	for _, family := range []struct {
		name   string
		number func(int) netip.Prefix
	}{{"IPv4", numbered4}, {"IPv6", numbered6}} {
		b.Run(family.name, func(b *testing.B) {
			table := privateTable(b)
			prefixes := make([]netip.Prefix, n)
			for i := range prefixes {
				prefixes[i] = family.number(i)
			}
			steps := []struct {
				name string
				run  func()
			}{
				{"add", func() { mustApply(b, table, additions(prefixes)) }},
				{"again", func() { mustApply(b, table, additions(prefixes)) }},
				{"list", func() { list(b, table) }},
				{"lookup", func() {
					if _, err := table.Blockers(prefixes[:n/10]); err != nil {
						b.Fatal(err)
					}
				}},
				{"delete", func() { mustApply(b, table, deletions(prefixes)) }},
			}
			spent := make([]float64, len(steps))
			for b.Loop() {
				for i, s := range steps {
					before := cpuSeconds(b)
					s.run()
					spent[i] += cpuSeconds(b) - before
				}
			}
			for i, s := range steps {
				b.ReportMetric(spent[i]/float64(b.N), "cpu-s/"+s.name)
			}
			b.ReportMetric(float64(n*b.N)/spent[0], "adds/cpu-s")
		})
	}
}

// cpuSeconds is the processor time that the process has used, in user and kernel.
func cpuSeconds(b *testing.B) float64 {
	b.Helper()
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return float64(use.Utime.Nano()+use.Stime.Nano()) / 1e9
}
