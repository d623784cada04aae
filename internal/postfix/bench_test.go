package postfix

import (
	"net/netip"
	"path/filepath"
	"regexp"
	"testing"

	"smtpban/internal/journal"
)

// usual is the mix of a server under attack: of ten lines four are connects,
// four disconnects, one a refused password and one anything else.
func usual() []journal.Entry {
	connect := func(client string) journal.Entry { return entry("postfix/smtpd", "connect from "+client) }
	disconnect := func(client string) journal.Entry {
		return entry("postfix/smtpd", "disconnect from "+client+" ehlo=1 auth=0/1 quit=1 commands=2/3")
	}
	return []journal.Entry{
		connect("unknown[203.0.113.9]"), disconnect("unknown[203.0.113.9]"),
		connect("mail.example.org[198.51.100.7]"), disconnect("mail.example.org[198.51.100.7]"),
		connect("unknown[203.0.113.10]"), disconnect("unknown[203.0.113.10]"),
		connect("unknown[2001:db8:bad::7]"), disconnect("unknown[2001:db8:bad::7]"),
		entry("postfix/submission/smtpd", "warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: authentication failure, sasl_username=alice@mx.example.test"),
		entry("postfix/smtpd", "4F2C81A0B3: client=mail.example.org[198.51.100.7]"),
	}
}

// BenchmarkParse reports the time for a line of the usual mix; a core does a
// second's worth of it in lines/s.
func BenchmarkParse(b *testing.B) {
	lines := usual()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for _, e := range lines {
			if Parse(e).Address.IsValid() {
				n++
			}
		}
	}
	if n == 0 {
		b.Fatal("nothing was read")
	}
	perLine := b.Elapsed().Seconds() / float64(b.N*len(lines))
	b.ReportMetric(perLine*1e9, "ns/line")
	b.ReportMetric(1/perLine, "lines/s")
	b.ReportMetric(testing.AllocsPerRun(100, func() {
		for _, e := range lines {
			Parse(e)
		}
	})/float64(len(lines)), "allocs/line")
}

// BenchmarkFold parses the usual mix and folds it into sessions.
func BenchmarkFold(b *testing.B) {
	lines := usual()
	b.ReportAllocs()
	sessions := NewSessions()
	for b.Loop() {
		for _, e := range lines {
			sessions.Add(e, Parse(e))
		}
		clear(sessions.changed)
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N*len(lines))*1e9, "ns/line")
}

// malformed finds what is made like an address and is none. Postfix prints no
// such thing, and net/netip allocates to complain about it.
func malformed(message string) bool {
	for _, literal := range regexp.MustCompile(`[0-9A-Fa-f]*[.:][0-9A-Fa-f.:]+`).FindAllString(message, -1) {
		if _, err := netip.ParseAddr(literal); err != nil {
			return true
		}
	}
	return false
}

func TestParseAllocatesNothing(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no samples: ", err)
	}
	for _, file := range files {
		for _, s := range readSamples(t, file) {
			e := entry(s.identifier, s.message)
			if Parse(e).rule == nil && malformed(e.Message) {
				continue
			}
			if n := testing.AllocsPerRun(10, func() { Parse(e) }); n > 0 {
				t.Errorf("%s: %v allocations for %s", s.place, n, s.message)
			}
		}
	}
}
