package journal

import (
	"strconv"
	"strings"
	"time"
)

// LineParser takes the lines of a syslog file apart, one by one and in order.
type LineParser struct{ clock maillogClock }

// NewLineParser returns a parser of lines written up to now on a machine in the
// time zone loc.
func NewLineParser(now time.Time, loc *time.Location) *LineParser {
	return &LineParser{maillogClock{now: now, loc: loc}}
}

// Parse returns what a line says. ok is false if it is no log line.
func (p *LineParser) Parse(line string) (e Entry, ok bool) { return p.clock.parse(line) }

// maillogClock knows what the stamps of a log leave out.
type maillogClock struct {
	now  time.Time
	loc  *time.Location
	last time.Time // stamp of the line before that is not ahead of now
}

// parse takes a log line apart:
//
//	Nov  3 10:00:00 mx postfix/smtpd[123]: text                        (RFC 3164, 4.1)
//	2026-11-03T10:00:00.123456+01:00 mx postfix/smtpd[123]: text       (RFC 3339)
//
// ok is false if the line has neither form.
func (c *maillogClock) parse(line string) (e Entry, ok bool) {
	stamp, rest, ok := c.stamp(line)
	if !ok {
		return Entry{}, false
	}
	if !c.isAhead(stamp) {
		c.last = stamp
	}
	_, rest, ok = strings.Cut(rest, " ") // the host
	if !ok {
		return Entry{}, false
	}
	e, ok = ParseTagged(rest)
	e.Time = stamp
	return e, ok
}

// ParseTagged takes apart what follows stamp and host in a log line,
// "TAG[PID]: text" or "TAG: text". ok is false if it has another form.
func ParseTagged(s string) (e Entry, ok bool) {
	// The tag ends at the first colon; what comes after was chosen by others.
	tag, text, ok := strings.Cut(s, ":")
	if !ok || tag == "" || strings.Contains(tag, " ") {
		return Entry{}, false
	}
	e = Entry{Identifier: tag, Message: strings.TrimPrefix(text, " ")}
	if name, pid, found := strings.Cut(tag, "["); found {
		e.Identifier = name
		pid, closed := strings.CutSuffix(pid, "]")
		n, err := strconv.ParseUint(pid, 10, 31)
		if !closed || err != nil {
			return Entry{}, false
		}
		e.PID = int(n)
	}
	return e, true
}

// stamp reads the time at the start of a line.
func (c *maillogClock) stamp(line string) (t time.Time, rest string, ok bool) {
	const layout = time.Stamp // Jan _2 15:04:05
	if len(line) > len(layout) && line[len(layout)] == ' ' {
		// Any leap year will do to read it: February has 29 days then.
		if t, err := time.Parse("2006 "+layout, "2000 "+line[:len(layout)]); err == nil {
			t, ok := c.withYear(t)
			return t, line[len(layout)+1:], ok
		}
	}
	first, rest, ok := strings.Cut(line, " ")
	if !ok {
		return time.Time{}, "", false
	}
	t, err := time.Parse(time.RFC3339Nano, first)
	if err != nil {
		return time.Time{}, "", false
	}
	return t.UTC().Truncate(time.Microsecond), rest, true
}

// slack is how far after now a stamp may be: lines are written while the file
// is read, and a clock is set right now and then.
const slack = time.Minute

// isAhead reports whether a stamp is too far in the future to be true.
func (c *maillogClock) isAhead(stamp time.Time) bool { return stamp.After(c.now.Add(slack)) }

// withYear gives a time the latest year that has such a day and in which it is
// not in the future.
func (c *maillogClock) withYear(t time.Time) (time.Time, bool) {
	latest := c.now.Add(slack).In(c.loc)
	// 29 February may be eight years ago: 2096 is a leap year, 2100 is not.
	for year := latest.Year(); year >= latest.Year()-8; year-- {
		dated := time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, c.loc)
		if dated.Day() == t.Day() && !dated.After(latest) {
			return c.pass(dated).UTC(), true
		}
	}
	return time.Time{}, false
}

// pass decides between the two passes of the hour that is repeated when summer
// time ends. Lines are in order, so that it is the first pass until a stamp runs
// back; a minute is left for lines that are not quite in order.
func (c *maillogClock) pass(t time.Time) time.Time {
	sameClock := func(a, b time.Time) bool {
		return a.Format(time.TimeOnly) == b.Format(time.TimeOnly)
	}
	// Which of the two time.Date answers depends on the zone.
	if first := t.Add(-time.Hour); sameClock(first, t) {
		t = first
	}
	if second := t.Add(time.Hour); sameClock(second, t) && t.Before(c.last.Add(-time.Minute)) {
		return second
	}
	return t
}
