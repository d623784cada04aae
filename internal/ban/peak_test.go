package ban

import (
	"testing"
	"time"
)

func TestPeakIsTheMostPointsOfAnyWindow(t *testing.T) {
	p := DefaultPolicy()
	p.FindTime = 10 * time.Minute
	start := time.Date(2026, time.March, 1, 8, 0, 0, 0, time.UTC)
	minute := func(m int) time.Time { return start.Add(time.Duration(m) * time.Minute) }
	var c Client
	for _, x := range []struct{ at, weight int }{{30, 1}, {19, 2}, {12, 1}, {10, 1}, {2, 1}} { // newest first
		c.Hits = append(c.Hits, Hit{Event: Event{Time: minute(x.at)}, Weight: x.weight})
	}
	for _, tc := range []struct {
		since, points int
		at            time.Time
	}{
		{0, 4, minute(19)},
		{18, 4, minute(19)},
		{19, 1, minute(30)}, // that at 19 was before, and is eleven minutes earlier
		{30, 0, time.Time{}},
	} {
		if points, at := p.Peak(c, minute(tc.since)); points != tc.points || !at.Equal(tc.at) {
			t.Errorf("after minute %d: %d points at %v, want %d at %v", tc.since, points, at, tc.points, tc.at)
		}
	}
}
