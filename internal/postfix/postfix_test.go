package postfix

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
)

// sample is a line of testdata with what must be read in it.
type sample struct {
	place      string
	identifier string
	message    string
	want       string
}

func readSamples(t testing.TB, file string) (samples []sample) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		line := s.Text()
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "  "):
			if len(samples) == 0 || samples[len(samples)-1].want != "" {
				t.Fatalf("%s:%d: a verdict without a line", file, n)
			}
			samples[len(samples)-1].want = strings.TrimPrefix(line, "  ")
		default:
			identifier, message, ok := strings.Cut(line, ": ")
			if !ok {
				t.Fatalf("%s:%d: want IDENTIFIER: MESSAGE", file, n)
			}
			samples = append(samples, sample{fmt.Sprintf("%s:%d", file, n), identifier, message, ""})
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return samples
}

func entry(identifier, message string) journal.Entry {
	return journal.Entry{
		Boot: journal.Boot{1}, Time: time.Unix(1_780_000_000, 0), Identifier: identifier, PID: 244, Message: message,
	}
}

// describe prints what Parse returned as testdata writes it.
func describe(l Line) string {
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	switch {
	case l.Unknown:
		return "?"
	case l.Class == 0:
		return "- " + l.Reason
	}
	return fmt.Sprintf("%v %s %v %s %s", l.Class, l.Service, l.Address, dash(clipName(l.Name)), dash(clip(l.User)))
}

// TestSamplesAreReadExactly wants lines of every class, and near misses beside
// them, in a file named like the class.
func TestSamplesAreReadExactly(t *testing.T) {
	for _, class := range ban.Classes() {
		hits, misses := 0, 0
		for _, s := range readSamples(t, filepath.Join("testdata", class.String()+".txt")) {
			if got := describe(Parse(entry(s.identifier, s.message))); got != s.want {
				t.Errorf("%s: %s: %s\n\tread  %s\n\twant  %s", s.place, s.identifier, s.message, got, s.want)
			}
			if strings.HasPrefix(s.want, class.String()+" ") {
				hits++
			} else {
				misses++
			}
		}
		if hits == 0 || misses == 0 {
			t.Errorf("class %v has %d sample lines and %d near misses, want some of each", class, hits, misses)
		}
	}
}

func TestEveryRuleHasASample(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	used := map[*rule]bool{}
	for _, file := range files {
		for _, s := range readSamples(t, file) {
			_, p, ok := splitIdentifier(s.identifier)
			if !ok {
				continue
			}
			var l Line
			if p.read(s.message, &l) {
				used[l.rule] = true
			}
		}
	}
	for _, p := range []*program{smtpd, postscreen, cleanup} {
		for _, rules := range p.rules {
			for _, r := range rules {
				if !used[r] {
					t.Errorf("no sample line for %q", r.text)
				}
			}
		}
	}
}

// FuzzParse holds the parser to its promise: an address it returns is a literal
// that stands where Postfix puts it and nowhere else.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		for _, s := range readSamples(f, file) {
			f.Add(s.identifier, s.message)
		}
	}
	f.Fuzz(func(t *testing.T, identifier, message string) {
		if l := Parse(entry(identifier, message)); l.Address.IsValid() {
			checkAddress(t, identifier, message, l.Address)
		}
		if shape := Shape(identifier, message); len(shape) > maxShape || strings.ContainsAny(shape, "0123456789\n\x1b") {
			t.Errorf("shape %q", shape)
		}
	})
}
