package integration

import (
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"
)

const (
	admin    = "admin" // gets the reports
	mailUnit = "smtpban-report-mail@" + admin + ".service"
)

// mailed looks for the report of the step before in the mailbox of whom it was to be
// mailed to: it went through Postfix's own sendmail and its setgid postdrop.
func (s *story) mailed(t *testing.T) {
	const mailbox = "/var/mail/" + admin
	same(t, "what the unit's sandbox implies", "no\n", s.run(t, "systemctl", "show", "-P", "NoNewPrivileges", mailUnit))
	same(t, "the unit's capabilities", "\n", s.run(t, "systemctl", "show", "-P", "CapabilityBoundingSet", mailUnit))
	text := s.await(t, "mail", func() string {
		text, _, _ := s.try(t, "cat", mailbox)
		return text
	})
	_, text, _ = strings.Cut(text, "\n") // From_
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	same(t, "From", `"smtpban on mx" <smtpban@`+mailHost+`>`, m.Header.Get("From"))
	same(t, "To", admin+"@"+mailHost, m.Header.Get("To"))
	if subject := m.Header.Get("Subject"); !strings.HasPrefix(subject, "smtpban on mx: ") || !strings.Contains(subject, " new bans") {
		t.Errorf("Subject: %s", subject)
	}
	_, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	part, err := multipart.NewReader(m.Body, parameters["boundary"]).NextRawPart()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(quotedprintable.NewReader(part))
	if err != nil || !strings.Contains(string(plain), " clients failed") {
		t.Errorf("%v in the text:\n%s", err, plain)
	}

	// Nothing has happened since, so nothing is mailed.
	s.run(t, "systemctl", "start", "smtpban-report.service", mailUnit)
	same(t, "whether there was something to mail", "no\n", s.run(t, "systemctl", "show", "-P", "ConditionResult", mailUnit))
	time.Sleep(time.Second)
	same(t, "mails in the mailbox", "1\n", s.run(t, "grep", "-c", "^From ", mailbox))
}

// await returns what look finds, once it is something.
func (s *story) await(t *testing.T, what string, look func() string) string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if found := look(); found != "" {
			return found
		}
	}
	t.Fatalf("there is no %s after a while", what)
	return ""
}
