package main

import (
	"testing"

	"smtpban/internal/config"
)

func TestWhoLetsMoreHaveRoutesLetsMoreMemoryBeUsed(t *testing.T) {
	usual := config.Defaults().Route
	for _, c := range []struct {
		ipv4, ipv6 int
		want       int64
	}{
		{usual.MaxIPv4, usual.MaxIPv6, memoryGoal},
		{1, 1, memoryGoal},
		{usual.MaxIPv4 + 1000, 1, memoryGoal + 300_000},
		{usual.MaxIPv4 + 1000, usual.MaxIPv6 + 1000, memoryGoal + 600_000},
	} {
		if got := allowance(config.Route{MaxIPv4: c.ipv4, MaxIPv6: c.ipv6}); got != c.want {
			t.Errorf("%d and %d routes: %d bytes, want %d", c.ipv4, c.ipv6, got, c.want)
		}
	}
}
