package journal_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	_ "time/tzdata" // a test machine may have none

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/journal"
)

func openMaillog(text string, from journal.Positions) *journal.Maillog {
	return journal.OpenMaillog(strings.NewReader(text), noon, time.UTC, from)
}

// syslog is a line of smtpd, stamped in RFC 3164's way n seconds after ten.
func syslog(n int, text string) string {
	return fmt.Sprintf("Nov  3 10:00:%02d mx postfix/smtpd[12]: %s\n", n, text)
}

func TestMaillogReadsBothKindsOfStamps(t *testing.T) {
	const text = `Nov  3 10:00:00 mx postfix/smtpd[12]: warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x
2026-11-03T11:00:01.123456+01:00 mx postfix/submission/smtpd[13]: text: with colons [x]:
2026-11-03T10:00:02Z mx postfix/postscreen: no pid
Nov  3 10:00:03 mx postfix/qmgr[14]: removed
Nov  3 10:00:04 mx sshd[15]: postfix/smtpd[16]: forged
`
	ten := noon.Add(-2 * time.Hour)
	want := []journal.Entry{
		{Time: ten, Identifier: "postfix/smtpd", PID: 12, Message: "warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x"},
		{Time: ten.Add(time.Second + 123456*time.Microsecond), Identifier: "postfix/submission/smtpd", PID: 13, Message: "text: with colons [x]:"},
		{Time: ten.Add(2 * time.Second), Identifier: "postfix/postscreen", Message: "no pid"},
	}
	for name, r := range map[string]io.Reader{
		"whole":            strings.NewReader(text),
		"a byte at a time": iotest.OneByteReader(strings.NewReader(text)),
		"with CR":          strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n")),
	} {
		got, _ := read(t, journal.OpenMaillog(r, noon, time.UTC, nil))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestMaillogStampsWithoutAYearAreInTheLatestThatFits(t *testing.T) {
	berlin := time.FixedZone("CET", 3600)
	for _, c := range []struct {
		now, stamp string
		loc        *time.Location
		want       string
	}{
		{"2026-11-03T12:00:00Z", "Nov  3 10:00:00", time.UTC, "2026-11-03T10:00:00Z"},
		{"2026-11-03T12:00:00Z", "Nov  3 10:00:00", berlin, "2026-11-03T09:00:00Z"},
		{"2026-11-03T12:00:00Z", "Nov  3 12:00:05", time.UTC, "2026-11-03T12:00:05Z"}, // written since the run began
		{"2026-11-03T12:00:00Z", "Nov  3 12:02:00", time.UTC, "2025-11-03T12:02:00Z"},
		{"2026-11-03T12:00:00Z", "Nov  5 10:00:00", time.UTC, "2025-11-05T10:00:00Z"},
		{"2026-01-02T12:00:00Z", "Dec 31 23:59:59", time.UTC, "2025-12-31T23:59:59Z"},
		{"2026-12-31T23:59:59Z", "Jan  1 00:00:01", time.UTC, "2027-01-01T00:00:01Z"},
		{"2025-12-31T23:30:00Z", "Jan  1 00:29:00", berlin, "2025-12-31T23:29:00Z"},
		{"2027-03-01T12:00:00Z", "Feb 29 10:00:00", time.UTC, "2024-02-29T10:00:00Z"},
		{"2028-02-29T12:00:00Z", "Feb 29 10:00:00", time.UTC, "2028-02-29T10:00:00Z"},
		{"2104-02-01T12:00:00Z", "Feb 29 10:00:00", time.UTC, "2096-02-29T10:00:00Z"},
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := read(t, journal.OpenMaillog(strings.NewReader(c.stamp+" mx postfix/smtpd[12]: x\n"), now, c.loc, nil))
		if len(got) != 1 || got[0].Time.Format(time.RFC3339) != c.want {
			t.Errorf("now %s, line %s: %v, want %s", c.now, c.stamp, got, c.want)
		}
	}
}

func TestMaillogReadsTheRepeatedHourOfAutumnTwice(t *testing.T) {
	for zone, c := range map[string]struct{ day, hour, want string }{
		"Europe/Berlin":    {"Oct 25", "02", "2026-10-25T00:20:00Z"},
		"America/New_York": {"Nov  1", "01", "2026-11-01T05:20:00Z"},
	} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		var text string
		for _, minute := range []string{"20", "50", "20", "50"} {
			text += fmt.Sprintf("%s %s:%s:00 mx postfix/smtpd[12]: x\n", c.day, c.hour, minute)
		}
		first, err := time.Parse(time.RFC3339, c.want)
		if err != nil {
			t.Fatal(err)
		}
		open := func(from journal.Positions) journal.Input {
			return journal.OpenMaillog(strings.NewReader(text), noon, loc, from)
		}
		got, _ := read(t, open(nil))
		for i, e := range got {
			if want := first.Add(time.Duration(i) * 30 * time.Minute); !e.Time.Equal(want) {
				t.Errorf("%s: line %d at %v, want %v", zone, i, e.Time, want)
			}
		}
		checkCuts(t, open, true)
	}
}

func TestMaillogSecondRunReadsJustWhatIsNew(t *testing.T) {
	file := syslog(1, "a") + syslog(2, "b") + syslog(2, "b") + syslog(2, "c")
	var from journal.Positions
	for _, c := range []struct {
		name, add string
		want      []string
	}{
		{"first run", "", []string{"a", "b", "b", "c"}},
		{"nothing new", "", nil},
		{"the same second, the same line once more", syslog(2, "b"), []string{"b"}},
		{"the same second, another line", syslog(2, "d"), []string{"d"}},
		{"a later second", syslog(3, "e"), []string{"e"}},
		{"another daemon's line", "Nov  3 10:00:04 mx postfix/qmgr[1]: x\n", nil},
		{"an earlier one than that", syslog(3, "f"), []string{"f"}},
	} {
		file += c.add
		entries, moved := read(t, openMaillog(file, from))
		var got []string
		for _, e := range entries {
			got = append(got, e.Message)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if len(moved) == 0 != (len(c.want) == 0) {
			t.Errorf("%s: moved %v", c.name, moved)
		}
		for boot, p := range moved {
			from = journal.Positions{boot: p}
		}
	}
}

func TestMaillogRotatedWithinASecondLosesNothing(t *testing.T) {
	_, from := read(t, openMaillog(syslog(1, "a")+syslog(2, "b"), nil))
	got, from := read(t, openMaillog(syslog(2, "c")+syslog(2, "b"), from))
	// The second b is taken for the first: one line, seen again.
	if len(got) != 1 || got[0].Message != "c" {
		t.Errorf("%v, want c only", got)
	}
	if got, _ := read(t, openMaillog(syslog(2, "b")+syslog(2, "c"), from)); len(got) > 0 {
		t.Errorf("%v again", got)
	}
}

func TestMaillogGoesOnAtAnyCut(t *testing.T) {
	text := syslog(1, "a") + syslog(2, "b") + syslog(2, "b") + "\n" + syslog(2, "c") + "2026-11-03T10:00:02.5Z mx postfix/smtpd[12]: d\n" + syslog(3, "e")
	checkCuts(t, func(from journal.Positions) journal.Input { return openMaillog(text, from) }, true)
}

func TestMaillogPassesOverWhatIsNoLogLine(t *testing.T) {
	long := syslog(2, strings.Repeat("x", 70<<10))
	for name, junk := range map[string]string{
		"a line too long":     long,
		"an empty line":       "\n",
		"words":               "hello, this is no log\n",
		"a bare stamp":        "Nov  3 10:00:00\n",
		"a stamp and a host":  "Nov  3 10:00:00 mx\n",
		"no tag":              "Nov  3 10:00:00 mx last message repeated 3 times\n",
		"no such day":         "Feb 30 10:00:00 mx postfix/smtpd[1]: x\n",
		"a pid that is none":  "Nov  3 10:00:00 mx postfix/smtpd[x]: x\n",
		"a negative pid":      "Nov  3 10:00:00 mx postfix/smtpd[-1]: x\n",
		"bytes":               "\x00\xff\xfe\n",
		"a start without end": "Nov  3 10:00:05 mx p",
	} {
		text := syslog(1, "a") + syslog(3, "b") + junk
		got, _ := read(t, openMaillog(text, nil))
		if len(got) != 2 || got[0].Message != "a" || got[1].Message != "b" {
			t.Errorf("%s: %v, want a and b", name, got)
		}
	}
}

func TestMaillogIsReadToItsLastLineWithOrWithoutNewline(t *testing.T) {
	text := strings.TrimSuffix(syslog(1, "a")+syslog(2, "b"), "\n")
	got, from := read(t, openMaillog(text, nil))
	if len(got) != 2 || got[1].Message != "b" {
		t.Errorf("%v, want a and b", got)
	}
	if got, _ := read(t, openMaillog(text+"\n"+syslog(2, "c"), from)); len(got) != 1 || got[0].Message != "c" {
		t.Errorf("%v, want c, once the file has grown", got)
	}
}

// stamped is a line of smtpd with a stamp of RFC 3339.
func stamped(at time.Time, text string) string {
	return at.Format(time.RFC3339) + " mx postfix/smtpd[12]: " + text + "\n"
}

func TestMaillogLineOfTheFutureWaitsForItsTime(t *testing.T) {
	wrong := time.Date(2031, time.January, 1, 0, 0, 0, 0, time.UTC)
	file := stamped(noon, "a") + stamped(wrong, "wrong clock") + stamped(noon.Add(time.Second), "b")
	var from journal.Positions
	for _, c := range []struct {
		name, add string
		now       time.Time
		want      []string
	}{
		{"first run", "", noon, []string{"a", "b"}},
		{"nothing new", "", noon, nil},
		{"grown", stamped(noon.Add(time.Minute), "c"), noon, []string{"c"}},
		{"more than a minute ahead", stamped(noon.Add(time.Minute+time.Second), "d"), noon, nil},
		{"its time has come", "", noon.Add(time.Second), []string{"d"}},
		{"a minute before the time of the first", "", wrong.Add(-time.Minute), []string{"wrong clock"}},
		{"nothing new then", "", wrong, nil},
	} {
		file += c.add
		entries, moved := read(t, journal.OpenMaillog(strings.NewReader(file), c.now, time.UTC, from))
		var got []string
		for _, e := range entries {
			got = append(got, e.Message)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if len(moved) == 0 != (len(c.want) == 0) {
			t.Errorf("%s: moved %v", c.name, moved)
		}
		for boot, p := range moved {
			from = journal.Positions{boot: p}
		}
	}
}

// Which pass of the repeated hour a line is of is told by the lines before it,
// but not by one whose clock had gone wrong.
func TestMaillogLineOfTheFutureDatesNoOtherLine(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	text := stamped(noon.AddDate(5, 0, 0), "wrong clock") + "Oct 25 02:20:00 mx postfix/smtpd[12]: x\n"
	got, _ := read(t, journal.OpenMaillog(strings.NewReader(text), noon, berlin, nil))
	want := []journal.Entry{{Time: time.Date(2026, time.October, 25, 0, 20, 0, 0, time.UTC), Identifier: "postfix/smtpd", PID: 12, Message: "x"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMaillogOfTheFutureOnlyIsNoError(t *testing.T) {
	got, moved := read(t, openMaillog(stamped(noon.AddDate(5, 0, 0), "wrong clock"), nil))
	if len(got) > 0 || len(moved) > 0 {
		t.Errorf("%v, moved %v, want nothing", got, moved)
	}
}

func TestMaillogWithoutAnyLogLineIsAnError(t *testing.T) {
	const want = "reading the maillog: not one line has the form of a log line (not a syslog file?)"
	for _, text := range []string{"hello\n", "\n", "MESSAGE=x\n_UID=1\n"} {
		if _, err := readAll(openMaillog(text, nil)); err == nil || err.Error() != want {
			t.Errorf("%q: error %v", text, err)
		}
	}
	for _, text := range []string{"", "Nov  3 10:00:00 mx cron[1]: x\n"} {
		if got, err := readAll(openMaillog(text, nil)); err != nil || len(got) > 0 {
			t.Errorf("%q: %v, %v, want nothing", text, got, err)
		}
	}
}

func TestMaillogReadErrorIsReported(t *testing.T) {
	r := io.MultiReader(strings.NewReader(syslog(1, "a")), iotest.ErrReader(io.ErrClosedPipe))
	got, err := readAll(journal.OpenMaillog(r, noon, time.UTC, nil))
	if len(got) != 1 || err == nil {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzMaillog(f *testing.F) {
	f.Add([]byte(syslog(1, "a") + syslog(1, "a") + syslog(2, "b")))
	f.Add([]byte("2026-11-03T11:00:01.123456+01:00 mx postfix/postscreen[13]: CONNECT from [203.0.113.9]:1\n"))
	f.Add([]byte("Feb 29 10:00:00 mx postfix/smtpd: x\r\n\nFeb 30 10:00:00 mx postfix/smtpd[1]: x\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 4096 {
			return
		}
		checkCuts(t, func(from journal.Positions) journal.Input {
			return journal.OpenMaillog(bytes.NewReader(text), noon, time.UTC, from)
		}, false)
	})
}
