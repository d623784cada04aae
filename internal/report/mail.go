package report

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"smtpban/internal/ban"
)

//go:embed mail.html.tmpl
var mailTemplate string

// MailFile is how a mail is named that is kept for a later sending.
const MailFile = "report.eml"

// boundary is between the parts of a mail. "=_" is in no text that is encoded as
// quoted-printable (RFC 2045, section 6.7).
const boundary = "=_smtpban"

// mailRows is how many clients and bans a mail names: it is to be read.
const mailRows = 20

// WriteMail writes the report as a message for sendmail(1): lines end as this
// system's do, and an address without a domain is one of this system. To is left out
// if there is none. The text comes first, then the same as HTML, of which the best
// that is understood is shown (RFC 2046, section 5.1.4).
func (t Text) WriteMail(w io.Writer, r Report, to string) error {
	brief := r.brief(mailRows)
	var text, page bytes.Buffer
	if err := t.WriteReport(&text, brief); err != nil {
		return err
	}
	if err := execute(&page, mailTemplate, t.page(brief)); err != nil {
		return err
	}
	var message bytes.Buffer
	writeHeader(&message, t.mailHeader(r, to))
	parts := multipart.NewWriter(&message)
	if err := parts.SetBoundary(boundary); err != nil {
		return err
	}
	for _, part := range []struct {
		kind string
		text []byte
	}{{"text/plain", text.Bytes()}, {"text/html", page.Bytes()}} {
		if err := addPart(parts, part.kind, part.text); err != nil {
			return err
		}
	}
	if err := parts.Close(); err != nil {
		return err
	}
	_, err := w.Write(bytes.ReplaceAll(message.Bytes(), []byte("\r\n"), []byte("\n")))
	return err
}

type field struct{ name, value string }

func (t Text) mailHeader(r Report, to string) []field {
	host := strings.Map(hostRune, r.Host)
	fields := []field{
		{"From", `"smtpban on ` + host + `" <smtpban>`}, // a dot wants the quotes, RFC 5322
		{"To", to},
		{"Subject", mime.QEncoding.Encode("utf-8", r.Subject())},
		{"Date", r.Until.In(t.Location).Format(time.RFC1123Z)},
		{"Message-ID", fmt.Sprintf("<report.%s@%s>", r.Until.UTC().Format("20060102150405.000000"), host)},
		{"Auto-Submitted", "auto-generated"}, // nobody is to answer that he is on holiday, RFC 3834
		{"MIME-Version", "1.0"},
		{"Content-Type", `multipart/alternative; boundary="` + boundary + `"`},
	}
	if to == "" {
		fields = append(fields[:1], fields[2:]...)
	}
	return fields
}

// hostRune leaves of a host's name what can stand in an address.
func hostRune(c rune) rune {
	if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' {
		return c
	}
	return '-'
}

func writeHeader(message *bytes.Buffer, fields []field) {
	for _, f := range fields {
		fmt.Fprintf(message, "%s: %s\r\n", f.name, f.value)
	}
	message.WriteString("\r\n")
}

func addPart(parts *multipart.Writer, kind string, text []byte) error {
	part, err := parts.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {kind + "; charset=utf-8"},
		"Content-Transfer-Encoding": {"quoted-printable"},
	})
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	encoded := quotedprintable.NewWriter(&lines)
	if _, err := encoded.Write(text); err != nil {
		return err
	}
	if err := encoded.Close(); err != nil {
		return err
	}
	// A dot alone would end the message for sendmail(1) without -i (RFC 2049, section 3).
	_, err = part.Write(bytes.ReplaceAll(lines.Bytes(), []byte("\r\n.\r\n"), []byte("\r\n=2E\r\n")))
	return err
}

// CheckRecipient reports why somebody can't be put into the header of a mail.
func CheckRecipient(to string) error {
	for _, c := range to {
		if c <= ' ' || c > '~' || strings.ContainsRune(`,;:<>()[]\"`, c) {
			return fmt.Errorf("%q is no address such as admin or admin@example.org", to)
		}
	}
	if strings.HasPrefix(to, "-") {
		return errors.New("an address can't begin with -")
	}
	return nil
}

// brief is the report with no more than so many clients, bans and other things named.
func (r Report) brief(n int) Report {
	if more := len(r.Clients) - n; more > 0 {
		r.Clients, r.MoreClients = r.Clients[:n], r.MoreClients+more
	}
	if more := len(r.Bans) - n; more > 0 {
		bans := slices.Clone(r.Bans)
		slices.SortStableFunc(bans, func(a, b Ban) int { return cmp.Compare(b.Failures, a.Failures) })
		r.Bans, r.MoreBans = bans[:n], r.MoreBans+more
		slices.SortFunc(r.Bans, func(a, b Ban) int { return ban.ComparePrefix(a.Prefix, b.Prefix) })
	}
	if more := len(r.Near.Clients) - n; more > 0 {
		r.Near.Clients, r.Near.More = r.Near.Clients[:n], r.Near.More+more
	}
	return r
}
