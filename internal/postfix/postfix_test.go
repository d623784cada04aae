package postfix

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
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
func describe(e ban.Event, ok bool) string {
	if !ok {
		return "-"
	}
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	return fmt.Sprintf("%v %s %v %s %s", e.Class, e.Service, e.Address, dash(e.Name), dash(e.User))
}

// ruleClasses returns the classes that some rule reads. Each has its samples.
func ruleClasses() []ban.Class {
	var classes []ban.Class
	for _, r := range rules {
		if !slices.Contains(classes, r.class) {
			classes = append(classes, r.class)
		}
	}
	return classes
}

func TestSamplesAreReadExactly(t *testing.T) {
	for _, class := range ruleClasses() {
		hits, misses := 0, 0
		for _, s := range readSamples(t, filepath.Join("testdata", class.String()+".txt")) {
			if got := describe(Parse(entry(s.identifier, s.message))); got != s.want {
				t.Errorf("%s: %s: %s\n\tread  %s\n\twant  %s", s.place, s.identifier, s.message, got, s.want)
			}
			switch {
			case s.want == "-":
				misses++
			case strings.HasPrefix(s.want, class.String()+" "):
				hits++
			}
		}
		if hits == 0 || misses == 0 {
			t.Errorf("class %v has %d sample lines and %d near misses, want some of each", class, hits, misses)
		}
	}
}

func TestEventKeepsWhatFindsItsLineAgain(t *testing.T) {
	in := entry("postfix/smtpd", "warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x")
	got, ok := Parse(in)
	want := ban.Event{
		Time: in.Time, Boot: in.Boot, Identifier: in.Identifier, PID: in.PID,
		Service: "smtpd", Class: ban.SASLAuth, Address: netip.MustParseAddr("203.0.113.9"),
	}
	if !ok || got != want {
		t.Errorf("got %+v, %v; want %+v", got, ok, want)
	}
}

// FuzzParse holds the parser to its promise: an address it returns is a literal
// between the first brackets of the line, directly after a host name that
// directly follows the rule's lead-in.
func FuzzParse(f *testing.F) {
	for _, class := range ruleClasses() {
		for _, s := range readSamples(f, filepath.Join("testdata", class.String()+".txt")) {
			f.Add(s.identifier, s.message)
		}
	}
	f.Fuzz(func(t *testing.T, identifier, message string) {
		e, ok := Parse(entry(identifier, message))
		if !ok {
			return
		}
		if !strings.HasSuffix(identifier, "/smtpd") && !strings.HasSuffix(identifier, "/postscreen") {
			t.Errorf("read a line of %q", identifier)
		}
		before, rest, _ := strings.Cut(message, "[")
		literal, _, _ := strings.Cut(rest, "]")
		addr, err := netip.ParseAddr(literal)
		if err != nil || addr.Unmap() != e.Address || addr.Zone() != "" {
			t.Errorf("address %v is not the literal between the first brackets, %q", e.Address, literal)
		}
		name, ok := strings.CutPrefix(before, "warning: ")
		if !ok || strings.ContainsAny(name, " :<>/\"") {
			t.Errorf("the client does not follow the lead-in: %q", before)
		}
		if len(e.User) > maxText || len(e.Name) > maxText {
			t.Errorf("kept %d and %d bytes of text", len(e.User), len(e.Name))
		}
	})
}
