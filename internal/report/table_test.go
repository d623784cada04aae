package report_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/ban"
	"smtpban/internal/report"
)

// table prints a table on a terminal of this width.
func table(t *testing.T, width int, header []string, rows [][]string, spare ...string) string {
	t.Helper()
	var text bytes.Buffer
	if err := (report.Text{Width: width, Legend: true}).Table(&text, "things", header, rows, spare...); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestTableThatFitsIsNotTouched(t *testing.T) {
	header, rows := []string{"CLIENT", "LATEST"}, [][]string{{"203.0.113.9", "2026-11-03 10:45:00 CET"}}
	const want = "CLIENT       LATEST\n203.0.113.9  2026-11-03 10:45:00 CET\n\n1 things listed.\n"
	for _, width := range []int{0, 36, 200} {
		if diff := cmp.Diff(want, table(t, width, header, rows)); diff != "" {
			t.Errorf("width %d (-want +got):\n%s", width, diff)
		}
	}
}

func TestTableGivesWayInOrder(t *testing.T) {
	header := []string{"CLIENT", "LATEST", "NAME", "FAILURES", "REASON"}
	rows := [][]string{
		{"203.0.113.9", "2026-11-03 10:45:00 CET", "mx-the-second.example", "12345", "it has been here all night long"},
		{"198.51.100.7", "-", "", "2", ""},
	}
	for _, tc := range []struct {
		what  string
		width int
		want  string
	}{
		{"times are shortened", 101, `
CLIENT        LATEST       NAME                   FAILURES  REASON
203.0.113.9   11-03 10:45  mx-the-second.example  12345     it has been here all night long
198.51.100.7  -                                   2

2 things listed.
`},
		{"the last text is cut", 80, `
CLIENT        LATEST       NAME                   FAILURES  REASON
203.0.113.9   11-03 10:45  mx-the-second.example  12345     it has been here al…
198.51.100.7  -                                   2

2 things listed.
Some of it is left out for want of room; -l shows all.
`},
		{"other texts are cut in the middle", 65, `
CLIENT        LATEST       NAME        FAILURES  REASON
203.0.113.9   11-03 10:45  mx-th…mple  12345     it has been her…
198.51.100.7  -                        2

2 things listed.
Some of it is left out for want of room; -l shows all.
`},
		{"columns are left out", 47, `
CLIENT        LATEST       REASON
203.0.113.9   11-03 10:45  it has been here al…
198.51.100.7  -

2 things listed.
Some of it is left out for want of room; -l shows all.
`},
		{"nothing else helps", 34, `
CLIENT      LATEST      REASON
203.0…13.9  11-03…0:45  it has be…
198.5…00.7  -

2 things listed.
Some of it is left out for want of room; -l shows all.
`},
	} {
		if diff := cmp.Diff(tc.want[1:], table(t, tc.width, header, rows, "NAME", "FAILURES")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.what, diff)
		}
	}
}

// longLines returns the lines that a terminal of this width would break.
func longLines(text string, width int) (long []string) {
	for line := range strings.SplitSeq(text, "\n") {
		if utf8.RuneCountInString(line) > width {
			long = append(long, line)
		}
	}
	return long
}

func TestEveryTableOfTheReportFitsATerminal(t *testing.T) {
	_, convicted := convict("2001:db8:1234:5678::/64", 12, 0)
	bans := []report.Ban{
		{Ban: convicted},
		{Ban: ban.Ban{
			Prefix: prefix("2001:db8:1234:5678:9abc:def0:1234:5678/128"), Class: ban.LostConnectionAfterAuth, Failures: 123456, Count: 12,
			Start: at(1), Until: ban.Forever, Origin: ban.OriginManual, Reason: strings.Repeat("reason ", 30),
		}},
	}
	r := report.Report{
		Since: at(1), Until: at(2), Bans: bans, Attackers: 1,
		Near:     report.Near{Clients: []report.NearMiss{{Prefix: bans[1].Prefix, Points: 1234, At: at(2)}}, MaxRetry: 1235},
		Networks: []report.Network{{Prefix: prefix("2001:db8:1234:5678:9abc:def0:1234:5670/124"), Clients: 1234567, Failures: 1234567}},
		Users:    report.Users{Named: []report.User{{Name: strings.Repeat("u", 64), Attempts: 1234567}}},
		Clients:  []report.Client{{Prefix: bans[1].Prefix, Failures: 1234567, First: at(1), Last: at(2), State: report.Protected}},
	}
	checks := []report.Check{{Name: "journal-persistent", Result: report.Fault, Found: strings.Repeat("found ", 40), Remedy: strings.Repeat("do this ", 30)}}
	for _, width := range []int{80, 120, 200} {
		var text bytes.Buffer
		out := report.Text{Location: time.UTC, Legend: true, Width: width}
		for _, err := range []error{out.WriteReport(&text, r), out.WriteChecks(&text, checks)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if long := longLines(text.String(), width); len(long) > 0 {
			t.Errorf("too long for %d columns:\n%s", width, strings.Join(long, "\n"))
		}
	}
}

func TestOnlyStatesHaveColoursAndOnlyOnATerminal(t *testing.T) {
	header := []string{"CLIENT", "STATE", "REASON"}
	rows := [][]string{{"203.0.113.9", "held", "held"}, {"203.0.113.10", "open", ""}}
	var text bytes.Buffer
	if err := (report.Text{Legend: true, Colour: true}).Table(&text, "things", header, rows); err != nil {
		t.Fatal(err)
	}
	want := "\x1b[0;4mCLIENT        STATE  REASON\x1b[0m\n203.0.113.9   \x1b[0;1;33mheld\x1b[0m   held\n203.0.113.10  open\n\n2 things listed.\n"
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if plain := table(t, 0, header, rows); strings.Contains(plain, "\x1b") {
		t.Errorf("%q", plain)
	}
}

func TestParagraphsAreWrapped(t *testing.T) {
	const text = "a ban begins with the failure that brought it"
	for width, want := range map[int]string{
		0:  "Ban: a ban begins with the failure that brought it\n",
		25: "Ban: a ban begins with\n     the failure that\n     brought it\n",
		8:  "Ban: a\n     ban\n     begins\n     with\n     the\n     failure\n     that\n     brought\n     it\n",
	} {
		got := report.Text{Width: width}.Wrap("Ban: ", text) + "\n"
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("width %d (-want +got):\n%s", width, diff)
		}
	}
}

func ExampleText_Paint() {
	fmt.Println(report.Text{}.Paint(report.Red, "failed"))
	// Output: failed
}
