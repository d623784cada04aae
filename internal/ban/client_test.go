package ban

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var compare = cmp.Options{cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmpopts.EquateEmpty()}

var epoch = time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)

// at returns the time that many hours after the epoch.
func at(hours float64) time.Time { return epoch.Add(time.Duration(hours * float64(time.Hour))) }

func failure(hours float64) Event {
	return Event{Time: at(hours), Service: "smtpd", Class: SASLAuth, Address: netip.MustParseAddr("203.0.113.9")}
}

// feed adds a failure at each of the hours and returns the verdicts and bans.
func feed(p Policy, c *Client, hours ...float64) (verdicts []Verdict, bans []Ban) {
	for _, h := range hours {
		v, b, _ := p.Add(c, failure(h))
		verdicts = append(verdicts, v)
		if v == Banned {
			bans = append(bans, b)
		}
	}
	return verdicts, bans
}

func client() *Client { return &Client{Prefix: netip.MustParsePrefix("203.0.113.9/32")} }

func TestBanStartsWithTheHitThatReachesMaxretry(t *testing.T) {
	_, bans := feed(DefaultPolicy(), client(), 0, 1, 2, 3, 4)
	want := []Ban{{
		Prefix: netip.MustParsePrefix("203.0.113.9/32"), Class: SASLAuth, Failures: 5,
		Start: at(4), Until: at(28), Count: 1, Origin: OriginJournal,
	}}
	if diff := cmp.Diff(want, bans, compare); diff != "" {
		t.Error(diff)
	}
}

func TestVerdicts(t *testing.T) {
	const C, W, B = Counted, Within, Banned
	for _, tc := range []struct {
		name  string
		hours []float64
		want  []Verdict
	}{
		{"four failures are not enough", []float64{0, 0, 0, 0}, []Verdict{C, C, C, C}},
		{"findtime includes its end", []float64{0, 1, 2, 3, 24}, []Verdict{C, C, C, C, B}},
		{"older hits have left the window", []float64{0, 1, 2, 3, 24.001}, []Verdict{C, C, C, C, C}},
		{"and the next one finds those that have not", []float64{0, 1, 2, 3, 24.001, 24.002}, []Verdict{C, C, C, C, C, B}},
		{"failures within a ban only count", []float64{0, 0, 0, 0, 0, 1, 2, 23}, []Verdict{C, C, C, C, B, W, W, W}},
		{"hits of a ban are used up", []float64{0, 0, 0, 0, 0, 24, 24, 24, 24}, []Verdict{C, C, C, C, B, C, C, C, C}},
		{"a late event is sorted in", []float64{5, 6, 7, 8, 4}, []Verdict{C, C, C, C, B}},
		{"a late event far from the others is not", []float64{50, 51, 52, 53, 4}, []Verdict{C, C, C, C, C}},
		{"an event before the ban's start is within it", []float64{5, 5, 5, 5, 5, 3}, []Verdict{C, C, C, C, B, W}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, _ := feed(DefaultPolicy(), client(), tc.hours...)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFurtherBansGrowWithinForget(t *testing.T) {
	p := DefaultPolicy()
	p.MaxRetry, p.BanTimeMax, p.Forget = 1, 5*24*time.Hour, 10*24*time.Hour
	day := func(d float64) float64 { return d * 24 }
	_, bans := feed(p, client(), day(0), day(1), day(3), day(7), day(40))
	type round struct {
		Days  float64
		Count int
	}
	var got []round
	for _, b := range bans {
		got = append(got, round{b.Until.Sub(b.Start).Hours() / 24, b.Count})
	}
	// The third would last 4 days, the fourth 8, were it not for bantime_max;
	// by day 40 all is forgotten.
	want := []round{{1, 1}, {2, 2}, {4, 3}, {5, 4}, {1, 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFailuresCountFromTheTallysBeginning(t *testing.T) {
	p := DefaultPolicy()
	p.BanTime = time.Hour
	for _, tc := range []struct {
		name        string
		hours       []float64
		failures    int
		first, last time.Time
	}{
		{"below maxretry", []float64{0, 1}, 2, at(0), at(1)},
		{"more than the window holds", []float64{0, 20, 40, 60}, 4, at(0), at(60)},
		{"after a day of silence", []float64{0, 1, 25.1}, 1, at(25.1), at(25.1)},
		{"within a ban", []float64{0, 0, 0, 0, 0, .5, .6}, 7, at(0), at(.6)},
		{"after a short ban", []float64{0, 0, 0, 0, 0, .5, 2}, 7, at(0), at(2)},
		{"failures within a ban do not keep a tally alive", []float64{0, 0, 0, 0, 0, .9, 24.5}, 1, at(24.5), at(24.5)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := client()
			feed(p, c, tc.hours...)
			got := Client{Failures: c.Failures, First: c.First, Last: c.Last}
			if diff := cmp.Diff(Client{Failures: tc.failures, First: tc.first, Last: tc.last}, got, compare); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPermanentBanNeverEnds(t *testing.T) {
	p := DefaultPolicy()
	p.BanTime = Infinity
	_, bans := feed(p, client(), 0, 0, 0, 0, 0)
	if len(bans) != 1 || !bans[0].Until.Equal(Forever) || !bans[0].Active(at(1e6)) {
		t.Errorf("got %+v, want one ban until %v", bans, Forever)
	}
}

func TestForgivenFailuresNeverCountAgain(t *testing.T) {
	p, c := DefaultPolicy(), client()
	feed(p, c, 0, 0, 0, 0, 0)
	c.Forgive(at(2), at(2))
	want := &Client{Prefix: c.Prefix, Pardon: at(2)}
	if diff := cmp.Diff(want, c, compare); diff != "" {
		t.Fatal(diff)
	}
	verdicts, bans := feed(p, c, 0, 1, 2, 2.1, 2.2, 2.3, 2.4, 2.5)
	if diff := cmp.Diff([]Verdict{Ignored, Ignored, Ignored, Counted, Counted, Counted, Counted, Banned}, verdicts); diff != "" {
		t.Error(diff)
	}
	if len(bans) != 1 || bans[0].Count != 1 {
		t.Errorf("got %+v, want one ban that the pardoned one did not lengthen", bans)
	}
}

func TestForgivingKeepsBansServedToTheEnd(t *testing.T) {
	p, c := DefaultPolicy(), client()
	feed(p, c, 0, 0, 0, 0, 0)
	c.Forgive(at(30), at(30))
	if diff := cmp.Diff([]time.Time{at(24)}, c.Ends); diff != "" {
		t.Error(diff)
	}
}

func TestWeightsAddUp(t *testing.T) {
	p := DefaultPolicy()
	p.Weights = map[Class]int{SASLAuth: 2}
	p.Services = map[string]map[Class]int{"submission": {SASLAuth: 0}}
	c := client()
	verdicts, _ := feed(p, c, 0, 1)
	e := failure(2)
	e.Service = "submission"
	v, _, _ := p.Add(c, e)
	more, _ := feed(p, c, 3)
	if diff := cmp.Diff([]Verdict{Counted, Counted, Ignored, Banned}, append(append(verdicts, v), more...)); diff != "" {
		t.Error(diff)
	}
}

func TestBanClassHasMostPointsAndIsTheNewestOnATie(t *testing.T) {
	hits := func(classes ...Class) (out []Hit) {
		for _, c := range classes {
			out = append(out, Hit{Event: Event{Class: c}, Weight: 1})
		}
		return out
	}
	for _, tc := range []struct {
		newestFirst []Hit
		want        Class
	}{
		{hits(1, 2, 2), 2},
		{hits(2, 1, 1, 2), 2},
		{hits(1, 2), 1},
	} {
		if got := heaviest(tc.newestFirst); got != tc.want {
			t.Errorf("heaviest(%v) = %d, want %d", tc.newestFirst, got, tc.want)
		}
	}
}

func TestDueIsWhenNothingMattersAnyMore(t *testing.T) {
	p := DefaultPolicy()
	tallied, banned, pardoned := client(), client(), client()
	feed(p, tallied, 0, 3)
	feed(p, banned, 0, 0, 0, 0, 0)
	pardoned.Forgive(at(1), at(1))
	for _, tc := range []struct {
		name string
		c    *Client
		want time.Time
	}{
		{"a tally", tallied, at(3).Add(p.FindTime)},
		{"a ban", banned, at(24).Add(p.Forget)},
		{"a pardon", pardoned, at(1).Add(p.Forget)},
	} {
		if got := p.Due(*tc.c); !got.Equal(tc.want) {
			t.Errorf("%s is due at %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestClientKey(t *testing.T) {
	for addr, want := range map[string]string{
		"203.0.113.9":        "203.0.113.9/32",
		"2001:db8:1:2:3::4":  "2001:db8:1:2::/64",
		"2001:db8:1:2:ff::4": "2001:db8:1:2::/64",
	} {
		if got := DefaultPolicy().Client(netip.MustParseAddr(addr)); got.String() != want {
			t.Errorf("client of %s is %s, want %s", addr, got, want)
		}
	}
}

func TestSubmissionsWeightsHoldForItsOtherNamesUnlessTheyHaveTheirOwn(t *testing.T) {
	p := DefaultPolicy()
	p.Weights[SASLAuth] = 1
	p.Services["submission"][SASLAuth] = 2
	p.Services["smtps"] = map[Class]int{SASLAuth: 3}
	for _, tc := range []struct {
		service string
		class   Class
		want    int
	}{
		{"submission", SASLAuth, 2},
		{"submissions", SASLAuth, 2},
		{"smtps", SASLAuth, 3},
		{"smtpd", SASLAuth, 1},
		{"smtp-25", SASLAuth, 1},
		{"smtps", RelayDenied, 0}, // what its own table leaves out
		{"submissions", RelayDenied, 0},
		{"smtpd", RelayDenied, 1},
		{"submission", NonSMTP, 2},
	} {
		if got := p.Weight(tc.class, tc.service); got != tc.want {
			t.Errorf("%v at %s weighs %d, want %d", tc.class, tc.service, got, tc.want)
		}
	}
}

// What the design decides; smtpban.toml(5) says why.
func TestDefaultWeights(t *testing.T) {
	points := map[int][]string{}
	for _, c := range Offences() {
		w := DefaultPolicy().Weight(c, "smtpd")
		points[w] = append(points[w], c.String())
	}
	want := map[int][]string{
		0: {"user-unknown", "dnsbl", "helo-reject", "client-reject", "sender-reject", "policy-reject", "milter-reject",
			"bare-newline", "lost-connection", "rate-limit", "tls-error", "rdns-mismatch", "dnsbl-rank", "hangup"},
		1: {"sasl-auth", "auth-unlogged", "auth-rate-limit", "lost-connection-after-auth", "relay-denied", "pipelining",
			"too-many-errors", "pregreet", "postscreen-limit"},
		2: {"non-smtp"},
	}
	if diff := cmp.Diff(want, points); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
