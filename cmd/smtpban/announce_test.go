package main

import (
	"bytes"
	"strings"
	"testing"

	"smtpban/internal/journal"
)

// On a server that has long been flooded the first run finds very many gaps.
func TestARunTellsOfTheNewestGapsOnly(t *testing.T) {
	var gaps []*journal.Gap
	for n := range maxLines + 7 {
		gaps = append(gaps, &journal.Gap{Reason: strings.Repeat("x", n)})
	}
	var stderr bytes.Buffer
	a := &app{log: &logger{stderr: &stderr}}
	lines := strings.Split(a.gapError(gaps).Error(), "\n")
	if len(lines) != maxLines || lines[0] != gaps[7].Error() || lines[maxLines-1] != gaps[maxLines+6].Error() {
		t.Errorf("%d gaps are told, the first one %q", len(lines), lines[0])
	}
	if want := "7 earlier gaps in the log are told by smtpban report\n"; stderr.String() != want {
		t.Errorf("got %q, want %q", stderr.String(), want)
	}
}
