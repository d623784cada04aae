package report_test

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/ban"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

var updateMetrics = flag.Bool("update-metrics", false, "write testdata/metrics.prom anew")

func sampleMetrics() report.Metrics {
	return report.Metrics{
		Version: "1.0\"\\\n\xff",
		Tally: report.Tally{
			Active: map[report.Sort]int{
				{Class: ban.SASLAuth, Origin: ban.OriginJournal}: 3, {Origin: ban.OriginManual}: 1, {Class: 250, Origin: ban.OriginJournal}: 2,
			},
			Protected: 4, Held: 5,
		},
		Totals: store.Totals{
			Classes: map[ban.Class]store.Count{ban.SASLAuth: {Events: 900, Counted: 890}, 250: {Events: 1}},
			Bans:    map[string]int{ban.OriginJournal: 70}, Gaps: 2, Lost: 25004,
		},
		Commit: at(1).Add(123456000), Read: at(0.5), Size: 65536,
		Routed: 8, Missing: 2, Surplus: 6,
	}
}

func written(t *testing.T, m report.Metrics) string {
	t.Helper()
	var out bytes.Buffer
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestMetricsAreWrittenAsTheyAlwaysWere(t *testing.T) {
	const golden = "testdata/metrics.prom"
	got := written(t, sampleMetrics())
	if *updateMetrics {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-%s +got):\n%s", golden, diff)
	}
}

// TestMetricsKeepPrometheusConventions checks what `promtool check metrics` does and
// the grammar of the text format, version 0.0.4.
func TestMetricsKeepPrometheusConventions(t *testing.T) {
	help := regexp.MustCompile(`^# HELP (smtpban_[a-z_]+) [A-Z][^\\]*\.$`)
	kind := regexp.MustCompile(`^# TYPE (smtpban_[a-z_]+) (counter|gauge)$`)
	sample := regexp.MustCompile(`^(smtpban_[a-z_]+)(\{[a-z]+="(?:[^"\\\n]|\\[\\n"])*"(?:,[a-z]+="(?:[^"\\\n]|\\[\\n"])*")*\})? \d+(\.\d{6})?$`)
	for name, m := range map[string]report.Metrics{"sample": sampleMetrics(), "empty": {}} {
		text := written(t, m)
		if !strings.HasSuffix(text, "\n") {
			t.Errorf("%s: the last line does not end", name)
		}
		seen := map[string]bool{} // families, and series
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		for i := 0; i < len(lines); {
			h := help.FindStringSubmatch(lines[i])
			if h == nil || i+2 >= len(lines) {
				t.Fatalf("%s: want a HELP and more, not %q", name, lines[i])
			}
			family := h[1]
			k := kind.FindStringSubmatch(lines[i+1])
			if k == nil || k[1] != family || seen[family] {
				t.Fatalf("%s: want the first TYPE of %s, not %q", name, family, lines[i+1])
			}
			if (k[2] == "counter") != strings.HasSuffix(family, "_total") {
				t.Errorf("%s: %s is a %s", name, family, k[2])
			}
			seen[family] = true
			first := i + 2
			for i = first; i < len(lines) && !strings.HasPrefix(lines[i], "#"); i++ {
				s := sample.FindStringSubmatch(lines[i])
				if s == nil || s[1] != family || seen[s[1]+s[2]] && s[2] != "" || i > first && s[2] == "" {
					t.Errorf("%s: %q is no new sample of %s", name, lines[i], family)
				}
				if s != nil {
					seen[s[1]+s[2]] = true
				}
			}
			if i == first {
				t.Errorf("%s: %s has no sample", name, family)
			}
		}
	}
}

func TestBansInForceAreCountedBySortAndEffect(t *testing.T) {
	clientA, active := convict("203.0.113.9/32", 5, 0)
	clientB, over := convict("203.0.113.10/32", 5, -48)
	clientC, protected := convict("192.0.2.1/32", 5, 0)
	clientD, held := convict("203.0.113.11/32", 5, 0)
	held.Held = true
	byHand := ban.Ban{Prefix: prefix("2001:db8::/64"), Start: at(0), Until: ban.Forever, Count: 1, Origin: ban.OriginManual}
	s := newStore(t, []ban.Client{clientA, clientB, clientC, clientD}, []ban.Ban{active, over, protected, held, byHand})
	never := ban.NewNeverBan([]ban.Protected{{Prefix: prefix("192.0.2.0/24"), Reason: "ours"}}, nil)
	var got report.Tally
	if err := s.View(func(tx *store.Tx) (err error) {
		got, err = report.Count(tx, never, at(1))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	want := report.Tally{
		Active:    map[report.Sort]int{{Class: ban.SASLAuth, Origin: ban.OriginJournal}: 1, {Origin: ban.OriginManual}: 1},
		Protected: 1, Held: 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A page that lacks a metric is as bad as one that names another.
func TestManualPageNamesEveryMetricAndNoOther(t *testing.T) {
	page, err := os.ReadFile("../../man/smtpban.8.md")
	if err != nil {
		t.Fatal(err)
	}
	names := func(pattern, text string) map[string]bool {
		all := map[string]bool{}
		for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			all[match[1]] = true
		}
		return all
	}
	want := names(`(?m)^# TYPE (\S+)`, written(t, report.Metrics{}))
	if diff := cmp.Diff(want, names(`\b(smtpban_[a-z_]+)`, strings.ReplaceAll(string(page), `\_`, "_"))); diff != "" {
		t.Errorf("(-metrics +page):\n%s", diff)
	}
}
