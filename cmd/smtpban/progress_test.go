package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestALongScanShowsHowFarItIsAndCleansUp(t *testing.T) {
	var screen bytes.Buffer
	begin := time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)
	p := &progress{out: &screen, begun: time.Now().Add(-time.Minute), now: begin.Add(1000 * time.Minute)}
	for n := range 501 {
		p.at(begin.Add(time.Duration(n) * time.Minute))
		p.at(begin.Add(time.Duration(n) * time.Minute))
	}
	p.end()
	want := "\r[===================" + strings.Repeat(" ", 21) + "]  50 %, 1000 entries" + "\r" + strings.Repeat(" ", 79) + "\r"
	if got := screen.String(); got != want {
		t.Errorf("the screen got %q, want %q", got, want)
	}
}

func TestAShortScanShowsNothing(t *testing.T) {
	var screen bytes.Buffer
	p := &progress{out: &screen, begun: time.Now(), now: time.Now()}
	for range 5000 {
		p.at(time.Now())
	}
	p.end()
	if screen.Len() > 0 {
		t.Errorf("the screen got %q", screen.String())
	}
}
