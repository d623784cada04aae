package report_test

import (
	"bytes"
	"io"
	"maps"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"smtpban/internal/ban"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

// besieged is a report of which every text comes from outside.
func besieged(t *testing.T) report.Report {
	t.Helper()
	evil := hostile + hostileName
	_, b := convict("203.0.113.9/32", 5, -1)
	b.Origin, b.Class, b.Reason = evil, 0, evil
	s := newStore(t, nil, []ban.Ban{b})
	try(t, s, -1, evil)
	miss(t, s, store.Gap{Reason: evil, Noticed: at(-1)})
	unknown(t, s, evil, 1)
	r := newReport(t, s, ban.NeverBan{}, time.Time{}, noon)
	r.Host, r.Attackers = evil, 1
	r.Changes.Spared.Named = []report.Change{{Ban: b, Why: evil}}
	return r
}

// parts takes a message apart as a mail program does.
func parts(t *testing.T, message []byte) (header mail.Header, text, page string) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		t.Fatalf("%v\n%s", err, message)
	}
	var decoded []string
	reader := multipart.NewReader(m.Body, "=_smtpban")
	for _, want := range []string{"text/plain; charset=utf-8", "text/html; charset=utf-8"} {
		part, err := reader.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		check(t, []string{want, "quoted-printable"}, []string{part.Header.Get("Content-Type"), part.Header.Get("Content-Transfer-Encoding")})
		body, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		decoded = append(decoded, string(body))
	}
	if _, err := reader.NextRawPart(); err != io.EOF {
		t.Fatalf("after the last part: %v", err)
	}
	return m.Header, decoded[0], decoded[1]
}

func output(t *testing.T, write func(io.Writer) error) []byte {
	t.Helper()
	var got bytes.Buffer
	if err := write(&got); err != nil {
		t.Fatal(err)
	}
	return got.Bytes()
}

func TestAMailHasTheReportAsTextAndAsHTML(t *testing.T) {
	out := report.Text{Location: berlin, Legend: true}
	r := sample(t)
	message := output(t, func(w io.Writer) error { return out.WriteMail(w, r, "admin") })
	header, text, page := parts(t, message)
	check(t, []string{"Auto-Submitted", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To"}, slices.Sorted(maps.Keys(header)))
	check(t, string(output(t, func(w io.Writer) error { return out.WriteReport(w, r) })), text)
	if !strings.Contains(page, "198.51.100.128/25") {
		t.Errorf("the page does not name a ban:\n%s", page)
	}
	for _, banned := range []string{"<svg", "data:", "<style", "<script", "class=", "http:", "https:", "src=", "href="} {
		if strings.Contains(page, banned) {
			t.Errorf("the page of a mail has %s, which mail programs do not show", banned)
		}
	}
	if bars := strings.Count(page, `bgcolor="#2f6fb4"`); bars == 0 {
		t.Error("there are no bars")
	}
}

func TestWhatComesFromOutsideBreaksNeitherAPageNorAMail(t *testing.T) {
	out := report.Text{Location: berlin, Legend: true}
	r := besieged(t)
	message := output(t, func(w io.Writer) error { return out.WriteMail(w, r, "admin") })
	header, text, page := parts(t, message)
	check(t, []string{"Auto-Submitted", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To"}, slices.Sorted(maps.Keys(header)))
	if from := header.Get("From"); !regexp.MustCompile(`^"smtpban on [a-zA-Z0-9.-]+" <smtpban>$`).MatchString(from) {
		t.Errorf("From: %s", from)
	}
	file := string(output(t, func(w io.Writer) error { return out.WriteHTML(w, r) }))
	for line := range strings.Lines(string(message)) {
		if len(line) > 998 || strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("line of a mail: %q", line)
		}
	}
	for name, shown := range map[string]string{"the text": text, "the mail's page": page, "the page": file} {
		for _, c := range shown {
			if c != '\n' && c != '\u00a0' && !unicode.IsPrint(c) {
				t.Errorf("%s holds %U", name, c)
			}
		}
	}
	// Whatever looks like a tag is one of the templates'.
	tag := regexp.MustCompile(`<[^!\s>]*`)
	for name, page := range map[string][2]string{"the mail's page": {page, mailPage(t, sample(t))}, "the page": {file, string(output(t, func(w io.Writer) error { return out.WriteHTML(w, sample(t)) }))}} {
		known := map[string]bool{}
		for _, found := range tag.FindAllString(page[1], -1) {
			known[found] = true
		}
		for _, found := range tag.FindAllString(page[0], -1) {
			if !known[found] {
				t.Errorf("%s has %q", name, found)
			}
		}
	}
}

func mailPage(t *testing.T, r report.Report) string {
	t.Helper()
	_, _, page := parts(t, output(t, func(w io.Writer) error { return report.Text{Location: berlin, Legend: true}.WriteMail(w, r, "") }))
	return page
}

func TestAMailOfAHugeReportStaysReadable(t *testing.T) {
	r := sample(t)
	for range 1000 {
		r.Clients = append(r.Clients, r.Clients[0])
		r.Bans = append(r.Bans, r.Bans[0])
		r.Near.Clients = append(r.Near.Clients, r.Near.Clients[0])
	}
	message := output(t, func(w io.Writer) error { return report.Text{Location: berlin, Legend: true}.WriteMail(w, r, "admin") })
	if most := 100 << 10; len(message) > most { // from where on some show only the beginning
		t.Errorf("the mail has %d bytes", len(message))
	}
	_, text, _ := parts(t, message)
	for _, line := range []string{"There are 985 more clients, with fewer failures or as many.\n", "There are 984 more bans, with fewer failures or as many.\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("the text does not say %q", line)
		}
	}
}

// A line that is a dot ends a message for sendmail(1) without -i.
func TestNoLineOfAMailIsADot(t *testing.T) {
	_, longest := convict("198.51.100.100/32", 5, -1)
	_, longer := convict("198.51.100.1/32", 5, -1)
	r := newReport(t, newStore(t, nil, []ban.Ban{longest, longer}), ban.NeverBan{}, time.Time{}, noon)
	const sentence = "- 2 clients were banned for the first time: 198.51.100.1 and 198.51.100.100.\n" // the dot is the 76th
	message := output(t, func(w io.Writer) error { return report.Text{Location: berlin, Legend: true}.WriteMail(w, r, "admin") })
	if strings.Contains(string(message), "\n.\n") {
		t.Errorf("there is one:\n%s", message)
	}
	if _, text, _ := parts(t, message); !strings.Contains(text, sentence) {
		t.Errorf("the text does not say %q:\n%s", sentence, text)
	}
}

func TestOnlyAPlainAddressCanGetAMail(t *testing.T) {
	for to, ok := range map[string]bool{
		"": true, "admin": true, "admin@example.org": true, "a.b+c@example.org": true,
		"a b": false, "a,b": false, "a\nBcc: b": false, "-oQ/tmp": false, "<a>": false, "ä@example.org": false, `a"b`: false, "a;b": false, "a:b": false, "(a)": false,
	} {
		if err := report.CheckRecipient(to); (err == nil) != ok {
			t.Errorf("%q: %v", to, err)
		}
	}
}
