package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progress shows on a terminal how far a long scan has come; elsewhere it shows
// nothing.
type progress struct {
	out        io.Writer // nil where nothing is shown
	begun      time.Time
	last       time.Time // when it was shown last
	first, now time.Time // of the log: its first entry, its end
	entries    int
	shown      bool
}

func (a *app) newProgress() *progress {
	p := &progress{begun: time.Now(), now: a.now}
	if !a.log.quiet && isTerminal(os.Stderr) {
		p.out = os.Stderr
	}
	return p
}

// at says that an entry of this time was read.
func (p *progress) at(t time.Time) {
	if p.first.IsZero() {
		p.first = t
	}
	if p.entries++; p.out == nil || p.entries%1000 != 0 || time.Since(p.begun) < time.Second || time.Since(p.last) < 200*time.Millisecond {
		return
	}
	p.last, p.shown = time.Now(), true
	const width = 40
	part := min(1, max(0, float64(t.Sub(p.first))/float64(max(1, p.now.Sub(p.first)))))
	done := int(part * width)
	fmt.Fprintf(p.out, "\r[%s%s] %3.0f %%, %d entries", strings.Repeat("=", done), strings.Repeat(" ", width-done), 100*part, p.entries)
}

// end takes it off the screen.
func (p *progress) end() {
	if p.shown {
		fmt.Fprintf(p.out, "\r%*s\r", 79, "")
	}
}
