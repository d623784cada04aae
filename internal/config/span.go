package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"smtpban/internal/ban"
)

// space is what systemd.time(7) takes for white space.
const space = " \t\n\r"

var errSpanTooLong = errors.New(`longer than 292 years; for no end write "infinity"`)

// ParseSpan reads a time span in the syntax of systemd.time(7): "7d",
// "1h 30min", "1h30min", "2 weeks", "1.5h", "90" (seconds) or "infinity", which
// is ban.Infinity. Smaller than a microsecond is cut off. An empty span, a
// negative one and one longer than 292 years are errors.
func ParseSpan(s string) (time.Duration, error) {
	rest := strings.Trim(s, space)
	switch rest {
	case "":
		return 0, errors.New("empty time span")
	case "infinity":
		return ban.Infinity, nil
	}
	var total int64 // µs
	for rest != "" {
		part, tail, err := parsePart(rest)
		if err != nil {
			return 0, fmt.Errorf("time span %q: %w", s, err)
		}
		if part > maxMicroseconds-total {
			return 0, fmt.Errorf("time span %q: %w", s, errSpanTooLong)
		}
		total += part
		rest = strings.TrimLeft(tail, space)
	}
	return time.Duration(total) * time.Microsecond, nil
}

const maxMicroseconds = math.MaxInt64 / int64(time.Microsecond)

// parsePart reads the number at the start of s and its unit, and returns its
// length in microseconds and what follows it. It takes what systemd's
// parse_time takes, but for a plus sign: units need no space around them, and a
// number without one is seconds.
func parsePart(s string) (micros int64, tail string, err error) {
	whole, tail := cutDigits(s)
	fraction, dotted := "", strings.HasPrefix(tail, ".")
	if dotted {
		fraction, tail = cutDigits(tail[1:])
	}
	switch {
	case strings.HasPrefix(s, "-"):
		return 0, "", errors.New("must not be negative")
	case whole == "" && !dotted:
		return 0, "", fmt.Errorf("expected a number at %q", s)
	case dotted && fraction == "":
		return 0, "", errors.New("expected a digit after the point")
	}
	afterSpace := strings.TrimLeft(tail, space)
	name, afterUnit := cutUnit(afterSpace)
	if name == "" && afterSpace != "" && afterSpace == tail {
		return 0, "", fmt.Errorf("expected a unit at %q", tail)
	}
	unit, ok := unitLength(name)
	if !ok {
		return 0, "", fmt.Errorf("unknown unit %q; known: us, ms, s, min, h, d, w, month, y", name)
	}
	n, err := strconv.ParseInt("0"+whole, 10, 64)
	if err != nil || n > maxMicroseconds/unit {
		return 0, "", errSpanTooLong
	}
	micros = n * unit
	for _, digit := range fraction {
		unit /= 10
		micros += int64(digit-'0') * unit
	}
	return micros, afterUnit, nil
}

func cutDigits(s string) (digits, rest string) {
	rest = strings.TrimLeft(s, "0123456789")
	return s[:len(s)-len(rest)], rest
}

func cutUnit(s string) (unit, rest string) {
	end := strings.IndexAny(s, space+"0123456789.")
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:]
}

// unitLength returns the length of a unit in microseconds, by any of the names
// that systemd.time(7) lists. A month is 30.44 days and a year 365.25.
func unitLength(name string) (micros int64, ok bool) {
	const (
		second = 1_000_000
		day    = 24 * 60 * 60 * second
	)
	switch name {
	case "usec", "us", "μs", "µs": // Greek mu and micro sign
		return 1, true
	case "msec", "ms":
		return 1000, true
	case "seconds", "second", "sec", "s", "":
		return second, true
	case "minutes", "minute", "min", "m":
		return 60 * second, true
	case "hours", "hour", "hr", "h":
		return 60 * 60 * second, true
	case "days", "day", "d":
		return day, true
	case "weeks", "week", "w":
		return 7 * day, true
	case "months", "month", "M":
		return 2_629_800 * second, true
	case "years", "year", "y":
		return 31_557_600 * second, true
	}
	return 0, false
}

// FormatSpan writes d as systemd does, "1d 12h", "12w", "1.5s", "0" or
// "infinity", to the microsecond. It uses weeks at most, since a month and a
// year have no length that people agree on. ParseSpan reads it back. A negative
// span, which systemd does not know, gets a minus sign.
func FormatSpan(d time.Duration) string {
	if d < 0 {
		return "-" + FormatSpan(-max(d, -ban.Infinity))
	}
	if d == ban.Infinity {
		return "infinity"
	}
	var parts []string
	for _, unit := range []struct {
		name   string
		length time.Duration
	}{
		{"w", 7 * 24 * time.Hour},
		{"d", 24 * time.Hour},
		{"h", time.Hour},
		{"min", time.Minute},
	} {
		if n := d / unit.length; n > 0 {
			parts = append(parts, strconv.FormatInt(int64(n), 10)+unit.name)
			d %= unit.length
		}
	}
	if d >= time.Microsecond {
		seconds := fmt.Sprintf("%d.%06d", d/time.Second, d%time.Second/time.Microsecond)
		parts = append(parts, strings.TrimRight(strings.TrimRight(seconds, "0"), ".")+"s")
	}
	if len(parts) == 0 {
		return "0"
	}
	return strings.Join(parts, " ")
}
