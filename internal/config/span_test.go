package config

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"smtpban/internal/ban"
)

// spans that ParseSpan reads, in the spellings of systemd.time(7).
func spans() map[string]time.Duration {
	const month, year = 2_629_800 * time.Second, 31_557_600 * time.Second
	return map[string]time.Duration{
		"0":             0,
		"90":            90 * time.Second,
		"7d":            7 * day,
		"12w":           12 * week,
		"1h 30min":      90 * time.Minute,
		"1h30min":       90 * time.Minute,
		"1h30":          time.Hour + 30*time.Second,
		"2 weeks":       2 * week,
		" 2  weeks ":    2 * week,
		"1 weeks 3":     week + 3*time.Second,
		"1 5":           6 * time.Second,
		"1.5h":          90 * time.Minute,
		".5h":           30 * time.Minute,
		"0.3min":        18 * time.Second,
		"12.34 .56":     12900 * time.Millisecond,
		"12.34s.56":     12900 * time.Millisecond,
		"1.0000001s":    time.Second,
		"55s500ms":      55500 * time.Millisecond,
		"300ms20s 5day": 5*day + 20300*time.Millisecond,
		"1y 12month":    year + 12*month,
		"290y":          290 * year,
		"infinity":      ban.Infinity,
		" infinity ":    ban.Infinity,

		"1usec": time.Microsecond, "1us": time.Microsecond, "1μs": time.Microsecond, "1µs": time.Microsecond,
		"1msec": time.Millisecond, "1ms": time.Millisecond,
		"1seconds": time.Second, "1second": time.Second, "1sec": time.Second, "1s": time.Second,
		"1minutes": time.Minute, "1minute": time.Minute, "1min": time.Minute, "1m": time.Minute,
		"1hours": time.Hour, "1hour": time.Hour, "1hr": time.Hour, "1h": time.Hour,
		"1days": day, "1day": day, "1d": day,
		"1weeks": week, "1week": week, "1w": week,
		"1months": month, "1month": month, "1M": month,
		"1years": year, "1year": year, "1y": year,
	}
}

func TestParseSpanReadsSystemdsSyntax(t *testing.T) {
	for text, want := range spans() {
		got, err := ParseSpan(text)
		if err != nil || got != want {
			t.Errorf("ParseSpan(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
}

// brokenSpans maps what ParseSpan refuses to its errors.
func brokenSpans() map[string]string {
	const units = "; known: us, ms, s, min, h, d, w, month, y"
	return map[string]string{
		"":                        `empty time span`,
		" \t":                     `empty time span`,
		"-5":                      `time span "-5": must not be negative`,
		"1h -5s":                  `time span "1h -5s": must not be negative`,
		"5ns":                     `time span "5ns": unknown unit "ns"` + units,
		"1H":                      `time span "1H": unknown unit "H"` + units,
		"7 dayz":                  `time span "7 dayz": unknown unit "dayz"` + units,
		"1e3":                     `time span "1e3": unknown unit "e"` + units,
		"1h,30m":                  `time span "1h,30m": unknown unit "h,"` + units,
		"h":                       `time span "h": expected a number at "h"`,
		"1 h x":                   `time span "1 h x": expected a number at "x"`,
		"1h infinity":             `time span "1h infinity": expected a number at "infinity"`,
		"5.s":                     `time span "5.s": expected a digit after the point`,
		".":                       `time span ".": expected a digit after the point`,
		"12.34.56":                `time span "12.34.56": expected a unit at ".56"`,
		"584543y":                 `time span "584543y": longer than 292 years; for no end write "infinity"`,
		"293y":                    `time span "293y": longer than 292 years; for no end write "infinity"`,
		"200y 200y":               `time span "200y 200y": longer than 292 years; for no end write "infinity"`,
		"9999999999999999999999s": `time span "9999999999999999999999s": longer than 292 years; for no end write "infinity"`,
	}
}

func TestParseSpanRefuses(t *testing.T) {
	for text, want := range brokenSpans() {
		got, err := ParseSpan(text)
		if err == nil || err.Error() != want {
			t.Errorf("ParseSpan(%q) = %v, %v; want error %s", text, got, err, want)
		}
	}
}

func TestFormatSpanWritesSystemdsStyle(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                                 "0",
		time.Nanosecond:                   "0",
		time.Microsecond:                  "0.000001s",
		1500 * time.Millisecond:           "1.5s",
		10 * time.Second:                  "10s",
		90 * time.Second:                  "1min 30s",
		36 * time.Hour:                    "1d 12h",
		7 * day:                           "1w",
		12 * week:                         "12w",
		365 * day:                         "52w 1d",
		week + day + 62*time.Minute + 100: "1w 1d 1h 2min",
		ban.Infinity:                      "infinity",
		-90 * time.Second:                 "-1min 30s",
		math.MinInt64:                     "-infinity",
	} {
		if got := FormatSpan(d); got != want {
			t.Errorf("FormatSpan(%d) = %q, want %q", d, got, want)
		}
	}
}

func FuzzParseSpanReadsBackWhatFormatSpanWrites(f *testing.F) {
	for text := range spans() {
		f.Add(text)
	}
	for text := range brokenSpans() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseSpan(text)
		if err != nil {
			return
		}
		if d < 0 {
			t.Fatalf("ParseSpan(%q) = %d, which is negative", text, d)
		}
		formatted := FormatSpan(d)
		if again, err := ParseSpan(formatted); err != nil || again != d {
			t.Fatalf("ParseSpan(%q) = %d, formatted as %q, read back as %d, %v", text, d, formatted, again, err)
		}
	})
}

// systemdAnalyze asks systemd-analyze(1) about a span or timestamp and returns
// the line of its answer that begins with label; ok is false if it refuses.
func systemdAnalyze(t *testing.T, verb, text, label string) (answer string, ok bool) {
	t.Helper()
	cmd := exec.Command("systemd-analyze", verb, "--", text)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		return "", false
	}
	match := regexp.MustCompile(`(?m)^\s*` + label + `: (.*)$`).FindStringSubmatch(string(out))
	if match == nil {
		t.Fatalf("systemd-analyze %s %q: no line %q in %q", verb, text, label, out)
	}
	return match[1], true
}

// needSystemdAnalyze skips the test where systemd is not installed, unless in CI.
func needSystemdAnalyze(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("systemd-analyze is needed in CI: %v", err)
		}
		t.Skipf("SKIPPED, not compared with systemd: %v", err)
	}
}

func TestParseSpanAgreesWithSystemd(t *testing.T) {
	needSystemdAnalyze(t)
	for text, want := range spans() {
		if strings.TrimSpace(text) == "infinity" {
			continue // systemd's is another number
		}
		got, ok := systemdAnalyze(t, "timespan", text, "us")
		if !ok || got != fmt.Sprint(want.Microseconds()) {
			t.Errorf("systemd-analyze timespan %q = %s us, %v; ParseSpan takes %d µs", text, got, ok, want.Microseconds())
		}
	}
	for text := range brokenSpans() {
		if strings.HasSuffix(text, "y") {
			continue // systemd goes on for half a million years
		}
		if got, ok := systemdAnalyze(t, "timespan", text, "us"); ok {
			t.Errorf("systemd-analyze timespan %q = %s µs; ParseSpan refuses it", text, got)
		}
	}
}
