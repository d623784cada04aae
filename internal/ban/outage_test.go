package ban

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// nth returns the nth of many clients.
func nth(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32)
}

func TestOutageIsRecognised(t *testing.T) {
	const day = 24 * time.Hour
	for _, tc := range []struct {
		name    string
		fault   time.Time
		victims []float64 // when each of them failed last
		at      float64
		want    bool
	}{
		{"not by two clients", time.Time{}, []float64{1, 2}, 2, false},
		{"by three", time.Time{}, []float64{1, 2, 3}, 3, true},
		{"findtime includes its end", time.Time{}, []float64{1, 2, 25}, 25, true},
		{"not by three that failed further apart", time.Time{}, []float64{1, 2, 25.001}, 25.001, false},
		{"by one where the server is at fault", at(1), []float64{2}, 2, true},
		{"not by the server's fault alone", at(1), nil, 2, false},
		{"not by a fault of long ago", at(1), []float64{25.001}, 25.001, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := Outage{Since: at(0), Fault: tc.fault}
			for i, hour := range tc.victims {
				o.Fail(nth(i), at(hour))
			}
			if got := o.Recognise(at(tc.at), day); got != tc.want || o.Holds() != tc.want {
				t.Errorf("recognised: %v, holds bans back: %v, want %v", got, o.Holds(), tc.want)
			}
		})
	}
}

func TestAClientThatFailsAgainIsNoFurtherVictim(t *testing.T) {
	var o Outage
	for hour := range 9 {
		o.Fail(nth(hour%2), at(float64(hour)))
	}
	o.Fail(nth(0), at(1)) // late
	want := map[netip.Prefix]Victim{nth(0): {Last: at(8)}, nth(1): {Last: at(7)}}
	if diff := cmp.Diff(want, o.Victims, compare); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if o.Recognise(at(8), 24*time.Hour) {
		t.Error("two clients make an outage")
	}
}

func TestAnOutageIsRecognisedOnceAndLasts(t *testing.T) {
	o := Outage{Recognised: true}
	if o.Recognise(at(1), 24*time.Hour) || !o.Holds() {
		t.Error("it is recognised again, or has ended by itself")
	}
	o.Confirmed = true
	if o.Holds() {
		t.Error("it holds back bans that are confirmed")
	}
}

func TestTheVictimsAreBoundedAndTheLatestStay(t *testing.T) {
	var o Outage
	for n := range maxVictims + 1 {
		o.Fail(nth(n), at(0).Add(time.Duration(n)*time.Second))
	}
	kept := slices.SortedFunc(maps.Keys(o.Victims), ComparePrefix)
	if want := maxVictims - maxVictims/4 + 1; len(kept) != want || kept[0] != nth(maxVictims/4) || kept[want-1] != nth(maxVictims) {
		t.Errorf("%d victims, from %v to %v", len(kept), kept[0], kept[len(kept)-1])
	}
}

// hits makes them of a class at each of the hours.
func hits(class Class, weight int, hours ...float64) (all []Hit) {
	for _, h := range hours {
		e := failure(h)
		e.Class = class
		all = append(all, Hit{Event: e, Weight: weight})
	}
	return all
}

func TestAnOutageExplainsABan(t *testing.T) {
	o := Outage{Since: at(10)}
	for _, tc := range []struct {
		name string
		hits []Hit
		want bool
	}{
		{"of passwords refused in it", hits(SASLAuth, 1, 11, 12, 13, 14, 15), true},
		{"of every way to fail to log in", slices.Concat(hits(SASLAuth, 1, 11), hits(AuthUnlogged, 1, 12), hits(AuthRateLimit, 1, 13),
			hits(LostConnectionAfterAuth, 2, 14)), true},
		{"that its last password made full", hits(SASLAuth, 1, 6, 7, 8, 9, 11), true},
		{"but not of passwords before it", hits(SASLAuth, 1, 6, 7, 8, 9, 10), false},
		{"nor where the rest is enough", slices.Concat(hits(NonSMTP, 2, 11, 12), hits(SASLAuth, 1, 9, 13)), false},
		{"where the rest is not", slices.Concat(hits(NonSMTP, 2, 11, 12), hits(SASLAuth, 1, 13)), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := o.Explains(tc.hits, 5); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestAnOutageExcusesOnlyWhatItExplains(t *testing.T) {
	c := client()
	c.Hits = slices.Concat(hits(SASLAuth, 1, 12), hits(NonSMTP, 2, 11), hits(SASLAuth, 1, 10, 9))
	(&Outage{Since: at(10)}).Excuse(c)
	if diff := cmp.Diff(slices.Concat(hits(NonSMTP, 2, 11), hits(SASLAuth, 1, 10, 9)), c.Hits, compare); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// heldClient has served a ban, and its second one is held back.
func heldClient(p Policy) (*Client, Ban) {
	c := client()
	_, bans := feed(p, c, 0, 0, 0, 0, 0, 30, 30, 30, 30, 30)
	return c, p.Hold(c, bans[1])
}

func TestABanHeldBackUsesUpItsHitsAndIsOverWithItsWindow(t *testing.T) {
	p := DefaultPolicy()
	p.FindTime = 10 * time.Hour
	c, b := heldClient(p)
	want := Ban{
		Prefix: c.Prefix, Class: SASLAuth, Failures: 5, Start: at(30), Until: at(40), Count: 2, Origin: OriginJournal, Held: true,
	}
	if diff := cmp.Diff(want, b, compare); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	verdicts, bans := feed(p, c, 31, 32, 33, 34, 35)
	if diff := cmp.Diff([]Verdict{Counted, Counted, Counted, Counted, Banned}, verdicts); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if got := fmt.Sprint(bans[0].Count, bans[0].Until.Sub(bans[0].Start)); got != "2 48h0m0s" {
		t.Errorf("the next ban: %s, want it to be the second", got)
	}
}

func TestAConfirmedBanIsAsIfItHadNeverBeenHeldBack(t *testing.T) {
	p := DefaultPolicy()
	want := client()
	_, bans := feed(p, want, 0, 0, 0, 0, 0, 30, 30, 30, 30, 30)
	c, b := heldClient(p)
	b = p.Release(c, b)
	if diff := cmp.Diff(bans[1], b, compare); diff != "" {
		t.Errorf("ban (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, c, compare); diff != "" {
		t.Errorf("client (-want +got):\n%s", diff)
	}
}
