package ban

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// linear says the same as Overlapping by looking at every member: the first of
// the widest that hold all of p, or else of those within it the lowest, and of
// these the widest.
func linear(members []Protected, p netip.Prefix) (Protected, bool) {
	var found *Protected
	for _, m := range append(unbannable[:len(unbannable):len(unbannable)], members...) {
		if !m.Prefix.Overlaps(p) {
			continue
		}
		if found == nil || found.Prefix.Bits() > p.Bits() && ComparePrefix(m.Prefix, found.Prefix) < 0 ||
			m.Prefix.Bits() <= p.Bits() && m.Prefix.Bits() < found.Prefix.Bits() {
			found = &m
		}
	}
	if found == nil {
		return Protected{}, false
	}
	return *found, true
}

// aPrefix draws from few addresses, so that prefixes meet, hold each other and
// are equal.
func aPrefix(t *rapid.T) netip.Prefix {
	low := rapid.Uint8().Draw(t, "low")
	if rapid.Bool().Draw(t, "v6") {
		a := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 15: low})
		return netip.PrefixFrom(a, rapid.IntRange(118, 128).Draw(t, "bits")).Masked()
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, low}), rapid.IntRange(22, 32).Draw(t, "bits")).Masked()
}

func TestSearchFindsWhatALinearOneFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var members []Protected
		for i := range rapid.IntRange(0, 20).Draw(t, "members") {
			members = append(members, Protected{aPrefix(t), fmt.Sprint("member ", i)})
		}
		never := NewNeverBan(members, nil)
		for range 20 {
			p := aPrefix(t)
			want, wanted := linear(members, p)
			got, found := never.Overlapping(p)
			if got != want || found != wanted {
				t.Fatalf("Overlapping(%s) = %v, %v; a linear search finds %v, %v", p, got, found, want, wanted)
			}
			if wanted && want.Prefix.Bits() > p.Bits() {
				want, wanted = Protected{}, false
			}
			got, found = never.Protects(p)
			if got != want || found != wanted {
				t.Fatalf("Protects(%s) = %v, %v; a linear search finds %v, %v", p, got, found, want, wanted)
			}
		}
	})
}

// BenchmarkOverlapping looks up a client that is not among 5,000 protected
// networks, as for most bans at every run, and tells how many times longer a
// linear search takes.
func BenchmarkOverlapping(b *testing.B) {
	nth := func(i int) netip.Prefix {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 198<<24|18<<16+uint32(i))
		return netip.PrefixFrom(netip.AddrFrom4(a), 32)
	}
	var members []Protected
	for i := range 5000 {
		members = append(members, Protected{nth(2 * i), "in ignoreip"})
	}
	never := NewNeverBan(members, nil)
	measure := func(search func(netip.Prefix) bool) time.Duration {
		start := time.Now()
		for i := range 1000 {
			if search(nth(2*(i%5000) + 1)) {
				b.Fatal("found one who is not protected")
			}
		}
		return time.Since(start)
	}
	var fast, slow time.Duration
	for b.Loop() {
		fast += measure(func(p netip.Prefix) bool { _, found := never.Overlapping(p); return found })
		slow += measure(func(p netip.Prefix) bool {
			return slices.ContainsFunc(members, func(m Protected) bool { return m.Prefix.Overlaps(p) })
		})
	}
	b.ReportMetric(float64(fast.Nanoseconds())/1000/float64(b.N), "ns/lookup")
	b.ReportMetric(float64(slow)/float64(fast), "times-faster")
}
