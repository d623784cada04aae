package ban

import (
	"math"
	"net/netip"
	"time"
)

// Infinity is the length of a span that never ends.
const Infinity = time.Duration(math.MaxInt64)

// Policy says how failures turn into bans.
type Policy struct {
	MaxRetry      int           // points within FindTime that bring a ban
	FindTime      time.Duration // length of the sliding window
	BanTime       time.Duration // length of a first ban; may be Infinity
	BanTimeFactor float64       // each further ban is this many times longer
	BanTimeMax    time.Duration // but never longer than this; may be Infinity
	Forget        time.Duration // how long an ended ban counts for the factor; may be Infinity
	IPv4Prefix    int           // addresses that share this many bits are one client
	IPv6Prefix    int
	Weights       map[Class]int            // points per event; a class not listed has none
	Services      map[string]map[Class]int // where a service differs from Weights
	IgnoreIP      []netip.Prefix           // never banned

	// IgnoreName has ends of host names, in lower case and shorter than MaxName.
	// A client with a verified name that ends so is never banned.
	IgnoreName []string
}

// DefaultPolicy is the policy of an empty configuration. A blackhole route cuts
// an innocent who mistyped from every port, so the first ban is short; those who
// come back within forget stay out twice as long each time.
func DefaultPolicy() Policy {
	const day = 24 * time.Hour
	return Policy{
		MaxRetry:      5,
		FindTime:      day,
		BanTime:       day,
		BanTimeFactor: 2,
		BanTimeMax:    12 * 7 * day,
		Forget:        12 * 7 * day,
		IPv4Prefix:    32,
		IPv6Prefix:    64,
		Weights:       defaultWeights(),
		Services:      map[string]map[Class]int{submission: {RelayDenied: 0, AuthUnlogged: 0}},
	}
}

// defaultWeights gives points for what an honest client hardly ever does.
// smtpban.toml(5) says why, class by class.
func defaultWeights() map[Class]int {
	weights := map[Class]int{
		SASLAuth: 1, AuthUnlogged: 1, AuthRateLimit: 1, LostConnectionAfterAuth: 1,
		RelayDenied: 1, NonSMTP: 2, Pipelining: 1, TooManyErrors: 1,
		Pregreet: 1, PostscreenLimit: 1,
	}
	for _, c := range Offences() {
		if _, ok := weights[c]; !ok {
			weights[c] = 0
		}
	}
	return weights
}

// submission is the service that only customers use. Its weights hold for the
// other names of it as well, unless these have their own.
const submission = "submission"

// isSubmission reports whether Postfix's stock master.cf gives this name to a
// service for customers: with TLS from the start it is smtps, since 3.7
// submissions.
func isSubmission(service string) bool {
	return service == submission || service == "submissions" || service == "smtps"
}

// nat64 holds the IPv4 internet as a translator shows it, one address each (RFC
// 6052, section 2.1).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// Client returns the prefix under which failures of addr are counted and banned.
func (p Policy) Client(addr netip.Addr) netip.Prefix {
	bits := p.IPv6Prefix
	switch {
	case addr.Is4():
		bits = p.IPv4Prefix
	case nat64.Contains(addr):
		bits = nat64.Bits() + p.IPv4Prefix
	}
	return netip.PrefixFrom(addr, bits).Masked()
}

// Weight returns the points of an event of this class at this service; 0 means
// that it is seen but does not count.
func (p Policy) Weight(c Class, service string) int {
	if w, ok := p.Services[service][c]; ok {
		return w
	}
	if isSubmission(service) {
		if w, ok := p.Services[submission][c]; ok {
			return w
		}
	}
	return p.Weights[c]
}

// length returns how long the ban lasts that follows earlier bans of the client.
func (p Policy) length(earlier int) time.Duration {
	length := float64(p.BanTime) * math.Pow(p.BanTimeFactor, float64(earlier))
	if length >= float64(p.BanTimeMax) {
		return max(p.BanTimeMax, p.BanTime)
	}
	return time.Duration(length)
}

// End returns when a ban of this length ends that begins at start.
func End(start time.Time, length time.Duration) time.Time { return after(start, length) }

// after returns t+d, and Forever where that would be later.
func after(t time.Time, d time.Duration) time.Time {
	if end := t.Add(d); d < Infinity && end.Before(Forever) {
		return end
	}
	return Forever
}
