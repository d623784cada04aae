package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"smtpban/internal/ban"
)

// ParseTime reads a point in time as journalctl's --since takes it, see
// systemd.time(7): "2026-03-01 08:00:00", with a fraction or without seconds,
// a date alone (its midnight), a time alone (of today), "now", "today",
// "yesterday", "tomorrow", "-2h", "+1d", "2h ago", "@1772352000.5" (Unix time),
// and RFC 3339. It is in loc unless it ends in " UTC" or has an offset.
func ParseTime(s string, now time.Time, loc *time.Location) (time.Time, error) {
	if unix, ok := strings.CutPrefix(s, "@"); ok {
		return parseUnix(unix, loc)
	}
	if s == "now" {
		return now.In(loc), nil
	}
	if span, ok := strings.CutSuffix(s, " ago"); ok {
		return shift(now.In(loc), -1, span)
	}
	if span, ok := strings.CutPrefix(s, "-"); ok {
		return shift(now.In(loc), -1, span)
	}
	if span, ok := strings.CutPrefix(s, "+"); ok {
		return shift(now.In(loc), 1, span)
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	return parseCalendar(s, now, loc)
}

// parseUnix reads seconds since 1970 with an optional fraction.
func parseUnix(s string, loc *time.Location) (time.Time, error) {
	whole, fraction, dotted := strings.Cut(s, ".")
	seconds, err := strconv.ParseUint(whole, 10, 63)
	nanos, fractionErr := strconv.ParseUint((fraction + "000000000")[:9], 10, 63)
	if err != nil || fractionErr != nil || dotted && fraction == "" || len(fraction) > 9 || int64(seconds) >= ban.Forever.Unix() {
		return time.Time{}, fmt.Errorf(`time "@%s": want seconds since 1970, such as "@1772352000.5"`, s)
	}
	return time.Unix(int64(seconds), int64(nanos)).In(loc), nil
}

// shift goes a span forward or, with sign -1, back from now.
func shift(now time.Time, sign time.Duration, s string) (time.Time, error) {
	span, err := ParseSpan(s)
	if err != nil {
		return time.Time{}, err
	}
	if span == ban.Infinity {
		return time.Time{}, fmt.Errorf("time span %q: want an end", s)
	}
	return now.Add(sign * span), nil
}

// parseCalendar reads a date, a time of day, both, or the name of a day.
func parseCalendar(s string, now time.Time, loc *time.Location) (time.Time, error) {
	stamp, utc := strings.CutSuffix(s, " UTC")
	if utc {
		loc = time.UTC
	}
	year, month, day := now.In(loc).Date()
	switch stamp {
	case "today":
		return time.Date(year, month, day, 0, 0, 0, 0, loc), nil
	case "yesterday":
		return time.Date(year, month, day-1, 0, 0, 0, 0, loc), nil
	case "tomorrow":
		return time.Date(year, month, day+1, 0, 0, 0, 0, loc), nil
	}
	// A fraction after the seconds is read though no layout shows it.
	for _, layout := range []string{time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, stamp, loc); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{time.TimeOnly, "15:04"} {
		if t, err := time.Parse(layout, stamp); err == nil {
			return time.Date(year, month, day, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), loc), nil
		}
	}
	return time.Time{}, fmt.Errorf(`time %q: want "2026-03-01 08:00:00", "2026-03-01", "08:00", now, today, yesterday, tomorrow, "-2h", "2h ago", "@1772352000" or RFC 3339`, s)
}
