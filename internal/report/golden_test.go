package report_test

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"smtpban/internal/ban"
	"smtpban/internal/report"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

// TestAReportInEveryFormat compares whole reports; look at what -update changes, and
// at the pages in a browser.
func TestAReportInEveryFormat(t *testing.T) {
	text := report.Text{Location: berlin, Legend: true}
	full := sample(t)
	quiet := newReport(t, newStore(t, nil, nil), ban.NeverBan{}, at(-24), noon)
	quiet.Host = full.Host
	for name, write := range map[string]func(io.Writer) error{
		"report.txt":  func(w io.Writer) error { return text.WriteReport(w, full) },
		"bare.txt":    func(w io.Writer) error { return report.Text{Location: berlin}.WriteReport(w, full) },
		"report.json": full.WriteJSON,
		"report.html": func(w io.Writer) error { return text.WriteHTML(w, full) },
		"report.eml":  func(w io.Writer) error { return text.WriteMail(w, full, "admin@example.org") },
		"quiet.txt":   func(w io.Writer) error { return text.WriteReport(w, quiet) },
		"quiet.html":  func(w io.Writer) error { return text.WriteHTML(w, quiet) },
		"quiet.eml":   func(w io.Writer) error { return text.WriteMail(w, quiet, "") },
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := write(&got); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			check(t, string(want), got.String())
		})
	}
}
