package report_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"

	"smtpban/internal/ban"
	"smtpban/internal/report"
)

var berlin = time.FixedZone("CET", 3600)

// hostile is what a terminal or a pager should never see raw.
const hostile = "a\x00b\x1b[2Jc\rd\ne\tf\x7fg\u009b31mh\u202ei\u2028j\u00a0k\xffl\U000e0041m"

func TestOutsideTextCannotSteerATerminal(t *testing.T) {
	bans := []report.Ban{{Ban: ban.Ban{Prefix: prefix("192.0.2.1/32"), Start: noon, Until: noon, Origin: ban.OriginManual, Reason: hostile}}}
	var text, json bytes.Buffer
	if err := (report.Text{Location: time.UTC}).WriteBans(&text, bans); err != nil {
		t.Fatal(err)
	}
	if err := report.WriteBansJSON(&json, bans); err != nil {
		t.Fatal(err)
	}
	if want := "a?b?[2Jc?d?e?f?g?31mh?i?j?k\ufffdl?m\n"; !strings.HasSuffix(text.String(), "  "+want) {
		t.Errorf("%q does not end in %q", text.String(), want)
	}
	for name, out := range map[string]string{"text": text.String(), "JSON": json.String()} {
		for _, r := range out {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%s holds %U", name, r)
			}
		}
	}
}

var errFull = errors.New("no space left on device")

// disk takes so many bytes.
type disk int

func (d *disk) Write(p []byte) (int, error) {
	if *d -= disk(len(p)); *d < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestErrorsInWritingAreReported(t *testing.T) {
	r := sample(t)
	text := report.Text{Location: berlin, Legend: true}
	var whole bytes.Buffer
	if err := text.WriteReport(&whole, r); err != nil {
		t.Fatal(err)
	}
	for size := range disk(whole.Len()) {
		free := size
		if err := text.WriteReport(&free, r); !errors.Is(err, errFull) {
			t.Fatalf("text with room for %d bytes: %v", size, err)
		}
	}
	for format, write := range map[string]func(io.Writer) error{
		"JSON": r.WriteJSON,
		"HTML": func(w io.Writer) error { return text.WriteHTML(w, r) },
		"mail": func(w io.Writer) error { return text.WriteMail(w, r, "admin") },
	} {
		var free disk
		if err := write(&free); !errors.Is(err, errFull) {
			t.Errorf("%s: %v", format, err)
		}
	}
}
