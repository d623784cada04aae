package torture_test

import (
	"net/netip"
	"os/exec"
	"testing"
	"time"

	"smtpban/integration/torture"
)

func TestQuantilesAreOfTheValuesInOrder(t *testing.T) {
	values := []int{30, 10, 20, 40}
	for share, want := range map[float64]int{0: 10, 0.5: 30, 0.99: 40, 1: 40} {
		if got := torture.Quantile(values, share); got != want {
			t.Errorf("%v: %d, want %d", share, got, want)
		}
	}
	if got := torture.Quantile([]time.Duration(nil), 0.5); got != 0 {
		t.Errorf("of none: %v", got)
	}
}

func TestARouteIsNotedWhenItIsFirstMade(t *testing.T) {
	private(t)
	routes, err := torture.ListenToRoutes()
	if err != nil {
		t.Fatal(err)
	}
	defer routes.Stop()
	for _, to := range []string{"203.0.113.9/32", "2001:db8:1::/64"} {
		prefix, begin := netip.MustParsePrefix(to), time.Now()
		for _, verb := range []string{"add", "del", "add"} {
			if out, err := exec.Command("ip", "route", verb, "blackhole", to).CombinedOutput(); err != nil {
				t.Fatalf("ip route %s: %v: %s", verb, err, out)
			}
		}
		end := time.Now()
		var at time.Time
		for made := false; !made; time.Sleep(time.Millisecond) {
			if at, made = routes.Made(prefix); time.Since(end) > 10*time.Second {
				t.Fatalf("%s: not noted", to)
			}
		}
		if at.Before(begin) || at.After(end.Add(10*time.Second)) {
			t.Errorf("%s: noted at %v, between %v and %v", to, at, begin, end)
		}
	}
	if _, ok := routes.Made(netip.MustParsePrefix("198.51.100.7/32")); ok {
		t.Error("a route that was not made is noted")
	}
}
