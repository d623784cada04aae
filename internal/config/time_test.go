package config

import (
	"fmt"
	"testing"
	"time"
)

// A time at which it is a day later in cet than in UTC.
func lateEvening() (now time.Time, cet *time.Location) {
	return time.Date(2026, time.March, 9, 23, 30, 15, 500_000_000, time.UTC), time.FixedZone("CET", 3600)
}

func TestParseTimeReadsSystemdsSyntax(t *testing.T) {
	now, cet := lateEvening()
	for text, want := range map[string]string{
		"2012-11-23 11:12:13":         "2012-11-23T11:12:13+01:00",
		"2012-11-23 11:12:13.654563":  "2012-11-23T11:12:13.654563+01:00",
		"2012-11-23 11:12":            "2012-11-23T11:12:00+01:00",
		"2012-11-23":                  "2012-11-23T00:00:00+01:00",
		"2012-11-23 11:12:13 UTC":     "2012-11-23T11:12:13Z",
		"2012-11-23 UTC":              "2012-11-23T00:00:00Z",
		"2012-11-23T11:12:13Z":        "2012-11-23T11:12:13Z",
		"2012-11-23T11:12:13.5-05:00": "2012-11-23T11:12:13.5-05:00",
		"11:12:13":                    "2026-03-10T11:12:13+01:00",
		"11:12:13.25":                 "2026-03-10T11:12:13.25+01:00",
		"11:12":                       "2026-03-10T11:12:00+01:00",
		"11:12 UTC":                   "2026-03-09T11:12:00Z",
		"now":                         "2026-03-10T00:30:15.5+01:00",
		"today":                       "2026-03-10T00:00:00+01:00",
		"today UTC":                   "2026-03-09T00:00:00Z",
		"yesterday":                   "2026-03-09T00:00:00+01:00",
		"tomorrow":                    "2026-03-11T00:00:00+01:00",
		"-2h":                         "2026-03-09T22:30:15.5+01:00",
		"- 1h 30min":                  "2026-03-09T23:00:15.5+01:00",
		"+1d":                         "2026-03-11T00:30:15.5+01:00",
		"2h ago":                      "2026-03-09T22:30:15.5+01:00",
		"1 week 2 days ago":           "2026-03-01T00:30:15.5+01:00",
		"@1353669133":                 "2012-11-23T12:12:13+01:00",
		"@1353669133.25":              "2012-11-23T12:12:13.25+01:00",
		"@0":                          "1970-01-01T01:00:00+01:00",
	} {
		got, err := ParseTime(text, now, cet)
		if err != nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("ParseTime(%q) = %s, %v; want %s", text, got.Format(time.RFC3339Nano), err, want)
		}
	}
}

func TestParseTimeFollowsTheClocksOfSummerTime(t *testing.T) {
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	// The day of the change has 23 hours.
	now := time.Date(2026, time.March, 29, 12, 0, 0, 0, vienna)
	for text, want := range map[string]string{
		"today":     "2026-03-29T00:00:00+01:00",
		"tomorrow":  "2026-03-30T00:00:00+02:00",
		"-24h":      "2026-03-28T11:00:00+01:00",
		"01:30":     "2026-03-29T01:30:00+01:00",
		"yesterday": "2026-03-28T00:00:00+01:00",
	} {
		got, err := ParseTime(text, now, vienna)
		if err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("ParseTime(%q) = %s, %v; want %s", text, got.Format(time.RFC3339), err, want)
		}
	}
}

func TestParseTimeRefuses(t *testing.T) {
	now, cet := lateEvening()
	const calendar = `: want "2026-03-01 08:00:00", "2026-03-01", "08:00", now, today, yesterday, tomorrow, "-2h", "2h ago", "@1772352000" or RFC 3339`
	const unix = `: want seconds since 1970, such as "@1772352000.5"`
	for text, want := range map[string]string{
		"":                         `time ""` + calendar,
		"1353669133":               `time "1353669133"` + calendar,
		"infinity":                 `time "infinity"` + calendar,
		"2012-02-30":               `time "2012-02-30"` + calendar,
		"2012-11-23 11":            `time "2012-11-23 11"` + calendar,
		"24:00":                    `time "24:00"` + calendar,
		"ago":                      `time "ago"` + calendar,
		"now UTC":                  `time "now UTC"` + calendar,
		"11:12 CET":                `time "11:12 CET"` + calendar,
		"-":                        `empty time span`,
		"+2x":                      `time span "2x": unknown unit "x"; known: us, ms, s, min, h, d, w, month, y`,
		"-infinity":                `time span "infinity": want an end`,
		"-2h UTC":                  `time span "2h UTC": expected a number at "UTC"`,
		"@":                        `time "@"` + unix,
		"@-5":                      `time "@-5"` + unix,
		"@1.":                      `time "@1."` + unix,
		"@1.x":                     `time "@1.x"` + unix,
		"@1.1234567890":            `time "@1.1234567890"` + unix,
		"@253402300799":            `time "@253402300799"` + unix,
		"@99999999999999999999999": `time "@99999999999999999999999"` + unix,
	} {
		got, err := ParseTime(text, now, cet)
		if err == nil || err.Error() != want {
			t.Errorf("ParseTime(%q) = %s, %v; want error %s", text, got, err, want)
		}
	}
}

func TestParseTimeAgreesWithSystemd(t *testing.T) {
	needSystemdAnalyze(t)
	// systemd-analyze reads the clock itself: only what does not move counts.
	for _, text := range []string{
		"2012-11-23 11:12:13", "2012-11-23 11:12:13.654563", "2012-11-23 11:12", "2012-11-23",
		"2012-11-23 11:12:13 UTC", "2012-11-23 UTC", "@1353669133", "@1353669133.25",
		"today", "yesterday", "tomorrow", "11:12", "11:12:13", "11:12 UTC", "today UTC",
	} {
		var want string
		for range 2 { // again if midnight fell between
			got, err := ParseTime(text, time.Now(), time.UTC)
			if err != nil {
				t.Fatal(err)
			}
			want = fmt.Sprintf("@%d", got.Unix())
			if micros := got.Nanosecond() / 1000; micros > 0 {
				want += fmt.Sprintf(".%06d", micros)
			}
			if theirs, ok := systemdAnalyze(t, "timestamp", text, "UNIX seconds"); !ok || theirs != want {
				t.Logf("%q: systemd %s, %v; ours %s", text, theirs, ok, want)
				continue
			}
			want = ""
			break
		}
		if want != "" {
			t.Errorf("ParseTime(%q) disagrees with systemd, see above", text)
		}
	}
	for _, text := range []string{"", "1353669133", "infinity", "2012-11-23 11", "24:00", "ago", "now UTC", "-2h UTC", "@-5"} {
		if theirs, ok := systemdAnalyze(t, "timestamp", text, "UNIX seconds"); ok {
			t.Errorf("systemd-analyze timestamp %q = %s; ParseTime refuses it", text, theirs)
		}
	}
}
