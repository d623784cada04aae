package postfix

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
)

var update = flag.Bool("update", false, "write testdata/captured/*.read anew")

// captures returns what real servers logged while every class was provoked: see
// make fixtures.
func captures(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/captured/*.log")
	if err != nil || len(files) < 2 {
		t.Fatalf("captures %v, error %v; want those of two releases", files, err)
	}
	return files
}

// capture returns the entries of a file.
func capture(t *testing.T, file string) (entries []journal.Entry) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parser := journal.NewLineParser(time.Date(2100, time.January, 1, 0, 0, 0, 0, time.UTC), time.UTC)
	for line := range strings.Lines(string(text)) {
		e, ok := parser.Parse(strings.TrimSuffix(line, "\n"))
		if !ok {
			t.Fatalf("%s: no log line: %s", file, line)
		}
		entries = append(entries, e)
	}
	return entries
}

// TestCapturedLinesAreReadAsBefore compares how the lines of real servers are
// read, each after all before it, with a reading that people have looked at.
func TestCapturedLinesAreReadAsBefore(t *testing.T) {
	for _, file := range captures(t) {
		sessions := NewSessions()
		var got strings.Builder
		for i, e := range capture(t, file) {
			l := Parse(e)
			f := sessions.Add(e, l)
			fmt.Fprintf(&got, "%d %s", i+1, describe(l))
			if f.Times != 1 && l.Class != 0 {
				fmt.Fprintf(&got, "; %d times", f.Times)
			}
			if f.Reason != l.Reason {
				fmt.Fprintf(&got, "; %s", f.Reason)
			}
			got.WriteString("\n")
		}
		golden := strings.TrimSuffix(file, ".log") + ".read"
		if *update {
			if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); diff != "" {
			t.Errorf("%s (-before +now):\n%s", file, diff)
		}
	}
}

// TestEveryClassWasSeenOnRealServers fails when a class has no line of a real
// server. All of them can be provoked, with Postfix 3.7 as with 3.10.
func TestEveryClassWasSeenOnRealServers(t *testing.T) {
	for _, file := range captures(t) {
		seen := map[ban.Class]bool{}
		for _, e := range capture(t, file) {
			seen[Parse(e).Class] = true
		}
		for _, class := range ban.Classes() {
			if !seen[class] {
				t.Errorf("%s has no line of class %v", file, class)
			}
		}
	}
}

// What no rule knows would be shown to every admin.
func TestRulesKnowAllThatRealServersWrite(t *testing.T) {
	for _, file := range captures(t) {
		for i, e := range capture(t, file) {
			if Parse(e).Unknown {
				t.Errorf("%s:%d: no rule for %s: %s", file, i+1, e.Identifier, e.Message)
			}
		}
	}
}
