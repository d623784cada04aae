package pass_test

import (
	"net/netip"
	"testing"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/pass"
)

func TestCompareTellsWhatSettleWouldChangeAndChangesNothing(t *testing.T) {
	m := attacked(t, "203.0.113.9", "198.51.100.7", "203.0.113.77")
	r := blocking("198.51.100.7/32", "192.0.2.1/32")
	before := m.file()
	got, err := m.at(at(1)).Compare(never("203.0.113.77/32"), r, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	check(t, pass.Differences{Wanted: prefixes("198.51.100.7/32", "203.0.113.9/32"), Changes: []ban.Change{
		{Prefix: netip.MustParsePrefix("203.0.113.9/32")},
		{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Delete: true},
	}}, got)
	m.checkUntouched(before)
	check(t, 0, len(r.applied))
}

func TestCompareLeavesTheRoutesOfBansThatJustRanOut(t *testing.T) {
	m := attacked(t, "203.0.113.9") // until hour 24
	r := blocking("203.0.113.9/32")
	for now, want := range map[time.Time]pass.Differences{
		at(23.9): {Wanted: prefixes("203.0.113.9/32")},
		at(24.5): {},
		at(25.5): {Changes: []ban.Change{{Prefix: netip.MustParsePrefix("203.0.113.9/32"), Delete: true}}},
	} {
		p := m.at(now)
		p.Believe = true
		got, err := p.Compare(ban.NeverBan{}, r, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		check(t, want, got)
	}
}

func TestCompareCountsThePrefixesBeyondTheLimit(t *testing.T) {
	m := attacked(t, "203.0.113.9", "198.51.100.7", "203.0.113.77")
	p := m.at(at(1))
	p.Limits.IPv4 = 2
	got, err := p.Compare(ban.NeverBan{}, blocking("203.0.113.9/32", "203.0.113.77/32"), 0)
	if err != nil {
		t.Fatal(err)
	}
	check(t, pass.Differences{Wanted: prefixes("203.0.113.9/32", "203.0.113.77/32"), Surplus: 1}, got)
}
