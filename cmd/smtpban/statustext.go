package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"smtpban/internal/config"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

// statusText writes a status for people.
type statusText struct {
	report.Text
	*status
}

func (t statusText) write(w io.Writer) error {
	out := bufio.NewWriter(w)
	dot := map[health]string{
		healthy: t.Paint(report.Green, "●"), degraded: t.Paint(report.Yellow, "●"), isFailing: t.Paint(report.Red, "×"),
		isLate: t.Paint(report.Red, "●"), isOff: "○", isNotKnown: t.Paint(report.Yellow, "○"),
	}[t.health]
	fmt.Fprintf(out, "%s smtpban - %s\n", dot, t.health)
	for _, line := range t.lines() {
		fmt.Fprintln(out, line.wrapped(t.Text))
	}
	if len(t.problems) > 0 {
		fmt.Fprintln(out)
		if err := t.writeProblems(out); err != nil {
			return err
		}
	}
	if len(t.standing.Latest) > 0 {
		fmt.Fprintln(out)
		if err := t.writeLatest(out); err != nil {
			return err
		}
	}
	return out.Flush()
}

// writeProblems prints what is to be looked at, and what to do about it.
func (t statusText) writeProblems(w io.Writer) error {
	for _, p := range t.problems {
		label, colour := "Warning: ", report.Yellow
		if p.critical {
			label, colour = "Failure: ", report.Red
		}
		found := strings.Replace(t.Wrap(label, report.Printable(p.found)), label, t.Paint(colour, label), 1)
		if _, err := fmt.Fprintf(w, "%s\n%s\n", found, t.Wrap(strings.Repeat(" ", len(label)), p.remedy)); err != nil {
			return err
		}
	}
	return nil
}

// writeLatest prints the bans that began last.
func (t statusText) writeLatest(w io.Writer) error {
	var rows [][]string
	for _, b := range t.standing.Latest {
		rows = append(rows, []string{report.ClientName(b.Prefix), b.Cause(), fmt.Sprint(b.Failures), t.Time(b.Start), t.End(b.Until), report.Printable(b.Reason)})
	}
	text := t.Text
	text.Legend = false // of a few of many there is no total
	if !t.Legend {
		return text.Table(w, "", make([]string, len(rows[0])), rows)
	}
	rows = append([][]string{{"LATEST BAN", "CLASS", "FAILURES", "START", "UNTIL", "REASON"}}, rows...)
	return text.Table(w, "", rows[0], rows, "REASON", "FAILURES")
}

func (t statusText) lines() []labeled {
	lines := t.timers()
	lines = append(lines, labeled{"Last run", t.lastRunText()}, labeled{"Last read", t.readText()}, labeled{"Position", t.positionText()})
	s := t.standing
	bans := fmt.Sprintf("%d in force; today %d began, %d ended", s.Bans, s.Begun, s.Ended)
	if s.Protected > 0 || s.Held > 0 {
		bans += fmt.Sprintf("; without effect %d protected, %d held", s.Protected, s.Held)
	}
	return append(lines,
		labeled{"Bans", bans},
		labeled{"Events", fmt.Sprintf("%d today, %d of them counted", s.Events, s.Counted)},
		labeled{"Kernel", t.kernelText()},
		labeled{"Gaps", t.gapsText()},
		labeled{"Ignored", fmt.Sprintf("%d addresses, networks and names, besides what this system needs", t.ignored)},
		labeled{"State", t.stateText()},
	)
}

func (t statusText) timers() (lines []labeled) {
	if t.errUnits != nil {
		return []labeled{{"Timers", "nothing is known: " + report.Printable(oneLine(t.errUnits))}}
	}
	for _, timer := range t.status.timers() {
		text := timer.unit + ": " + timer.active
		if timer.enabled != "static" { // it has no life of its own
			text += ", " + timer.enabled
		}
		switch {
		case timer.runs:
			text += "; runs now"
		case !timer.next.IsZero():
			text += "; next run in " + roughly(timer.next.Sub(t.now))
		}
		lines = append(lines, labeled{"", text})
	}
	lines[0].label = "Timers"
	return lines
}

func (t statusText) lastRunText() string {
	run, known := t.lastRun()
	switch {
	case t.errUnits != nil:
		return "nothing is known"
	case !known:
		return "none since the boot"
	case run.runs:
		return "goes on, since " + roughly(t.now.Sub(run.start))
	}
	text := fmt.Sprintf("%s; %s, took %s", t.when(run.end), run.outcome(), config.FormatSpan(run.end.Sub(run.start).Round(time.Millisecond)))
	switch {
	case run.read == nil:
		return text
	case run.read.Entries == 0:
		return text + "; nothing new"
	}
	return text + "; " + readings(*run.read)
}

func (t statusText) readText() string {
	if t.read.At.IsZero() {
		return "nothing yet"
	}
	return t.when(t.read.At) + "; " + readings(t.read)
}

func readings(r store.LastRead) string {
	return fmt.Sprintf("%s, %s counted, %s", entries(r.Entries), plural(r.Events, "failure"), plural(r.Bans, "new ban"))
}

func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

func (t statusText) positionText() string {
	text := "nothing is read yet"
	if !t.position.IsZero() {
		text = "read up to " + t.Time(t.position)
	}
	switch w := t.waiting; {
	case t.errWaiting != nil:
		return text + "; the journal can't be read"
	case w.entries == 0:
		return text + "; no entry waits"
	case w.entries == maxWaiting:
		return fmt.Sprintf("%s; %d entries or more wait, the oldest for %s", text, maxWaiting, roughly(t.lag()))
	default:
		return fmt.Sprintf("%s; waiting for the next run: %d, the oldest for %s, the newest of %s", text, w.entries, roughly(t.lag()), t.Time(w.newest))
	}
}

func (t statusText) kernelText() string {
	if t.missing+t.taken+t.excess+t.beyond == 0 {
		return fmt.Sprintf("in step, %s", plural(t.wanted, "route"))
	}
	return fmt.Sprintf("out of step: of %s %d missing, %d of somebody else's instead; %d too many; no room for %d",
		plural(t.wanted, "route"), t.missing, t.taken, t.excess, t.beyond)
}

func (t statusText) gapsText() string {
	if t.gaps.number+t.suppressed.number == 0 {
		return "none in the last week"
	}
	text := fmt.Sprintf("%d in the last week", t.gaps.number)
	if t.gaps.number > 0 {
		text += ", the last one noticed " + t.when(t.gaps.noticed)
	}
	if t.suppressed.number > 0 {
		text += fmt.Sprintf("; journald dropped %d entries, noticed %s", t.suppressed.entries, t.when(t.suppressed.noticed))
	}
	return text
}

func (t statusText) stateText() string {
	path := report.Printable(t.path)
	if t.size == 0 {
		return path + ": none yet"
	}
	text := fmt.Sprintf("%s, %s; ", path, bytesText(t.size))
	if t.snapshot.IsZero() {
		return text + "no snapshot yet"
	}
	return text + "snapshot of " + t.when(t.snapshot)
}

// bytesText writes a size as systemd does.
func bytesText(n int64) string {
	size, unit := float64(n), "B"
	for _, larger := range []string{"K", "M", "G"} {
		if size < 1024 {
			break
		}
		size, unit = size/1024, larger
	}
	if unit == "B" {
		return fmt.Sprintf("%dB", n)
	}
	return fmt.Sprintf("%.1f%s", size, unit)
}

// when writes a time, and how long ago that is.
func (t statusText) when(at time.Time) string {
	if at.After(t.now) {
		return t.Time(at)
	}
	return fmt.Sprintf("%s (%s ago)", t.Time(at), roughly(t.now.Sub(at)))
}

// roughly writes a span as exactly as people want to know it.
func roughly(d time.Duration) string {
	unit := time.Second
	switch {
	case d >= 48*time.Hour:
		unit = time.Hour
	case d >= 10*time.Minute:
		unit = time.Minute
	}
	return config.FormatSpan(max(d.Round(unit), time.Second))
}
