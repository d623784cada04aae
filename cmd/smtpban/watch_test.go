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
	for computed, want := range map[time.Duration]time.Duration{
		time.Millisecond:       30 * time.Millisecond,
		100 * time.Millisecond: 300 * time.Millisecond,
		time.Minute:            30 * time.Second, // like the timer
	} {
		if got := rest(computed, 0); got != want {
			t.Errorf("after %v: %v, want %v", computed, got, want)
		}
	}
	var got []time.Duration
	for failures := 1; failures < 9; failures++ {
		got = append(got, rest(time.Millisecond, failures)/time.Second)
	}
	if diff := cmp.Diff([]time.Duration{1, 2, 4, 8, 16, 30, 30, 30}, got); diff != "" {
		t.Errorf("seconds after failures (-want +got):\n%s", diff)
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
