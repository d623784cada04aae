package main

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/journal"
)

func TestWatchRestsLongerAfterLongPassesAndAfterFailures(t *testing.T) {
	for _, c := range []struct{ took, computed, want time.Duration }{
		{2 * time.Millisecond, time.Millisecond, 30 * time.Millisecond},
		{110 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond},
		{500 * time.Millisecond, 10 * time.Millisecond, 500 * time.Millisecond}, // it waited for the disk
		{time.Minute, time.Minute, 30 * time.Second},                            // like the timer
	} {
		if got := rest(c.took, c.computed, 0); got != c.want {
			t.Errorf("after %v, %v of which it computed: %v, want %v", c.took, c.computed, got, c.want)
		}
	}
	var got []time.Duration
	for failures := 1; failures < 12; failures++ {
		got = append(got, rest(time.Second, time.Millisecond, failures)/time.Millisecond)
	}
	if diff := cmp.Diff([]time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000}, got); diff != "" {
		t.Errorf("milliseconds after failures (-want +got):\n%s", diff)
	}
}

func TestOnlyGapsMeansNothingElse(t *testing.T) {
	gap, other := &journal.Gap{Reason: "vacuumed"}, errors.New("something else")
	for _, test := range []struct {
		err  error
		want bool
	}{
		{gap, true},
		{errors.Join(nil, errors.Join(gap, gap), nil), true},
		{other, false},
		{errors.Join(gap, other), false},
		{errors.Join(errors.Join(gap, gap), errors.Join(other)), false},
		{fmt.Errorf("reading: %w", gap), false},
	} {
		if got := onlyGaps(test.err); got != test.want {
			t.Errorf("%v: %v", test.err, got)
		}
	}
}
