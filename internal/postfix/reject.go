package postfix

import (
	"strings"

	"smtpban/internal/ban"
)

// reply is what Postfix answered to a command that it refused.
type reply struct {
	temporary bool   // 4xx
	dsn       string // without its first digit: ".7.1"; "" up to 2.2
	text      string
}

// cutReply reads a reply. The code is missing in cleanup's lines, the enhanced
// status code in those of Postfix up to 2.2; there is one of them at least.
func cutReply(s string) (r reply, ok bool) {
	if len(s) > 3 && isDigit(s[0]) && isDigit(s[1]) && isDigit(s[2]) && s[3] == ' ' {
		r.temporary, ok = s[0] == '4', true
		s = s[4:]
	}
	if n := numberLength(s); n >= 5 && s[1] == '.' && (n == len(s) || s[n] == ' ') {
		r.temporary, ok = s[0] == '4', true
		r.dsn = s[1:n]
		s = strings.TrimPrefix(s[n:], " ")
	}
	r.text = s
	return r, ok
}

// cutSubject drops what was refused, "<SUBJECT>: ", from the start of a text. A
// client chooses the subject: it may be an address whose local part is quoted
// and holds anything. Up to 3.4 Postfix shows it without the quotes, so that a
// client can hide there what its own attempt was, but not accuse another. To
// look further for the end of the subject would be worse: senders follow, and
// an honest server passes on mail of any sender. Where a collector of logs took
// <SUBJECT> for markup, only the colon is left.
func cutSubject(s string) string {
	if after, ok := strings.CutPrefix(s, ": "); ok {
		return after
	}
	if s == "" || s[0] != '<' {
		return s
	}
	from := 1
	if len(s) > 1 && s[1] == '"' {
		for from = 2; from < len(s) && s[from] != '"'; from++ {
			if s[from] == '\\' {
				from++
			}
		}
		from = min(from, len(s))
	}
	if at := strings.Index(s[from:], ">: "); at >= 0 {
		return s[from+at+3:]
	}
	return s
}

// objects are what can be refused, before "rejected: ", with the class if it is
// for one of Postfix's own reasons, and if it is in the operator's words.
var objects = []struct {
	name           string
	own, operators ban.Class
}{
	{"Client host", ban.ClientReject, ban.ClientReject},
	{"Helo command", ban.HeloReject, ban.HeloReject},
	{"Sender address", ban.SenderReject, ban.SenderReject},
	{"Recipient address", ban.UserUnknown, ban.PolicyReject},
	{"Data command", ban.PolicyReject, ban.PolicyReject},
	{"End-of-data", ban.PolicyReject, ban.PolicyReject},
	{"Etrn command", ban.PolicyReject, ban.PolicyReject},
}

// ownReasons are Postfix's. It is the text that tells, not the code: codes can
// be configured, and soft_bounce turns each 5 into a 4.
var ownReasons = []string{
	"User unknown",
	"undeliverable address", "Undeliverable address",
	"Domain not found", "Host not found", "cannot find your ",
	"need fully-qualified ",
	"Invalid name", "invalid ip address", "Malformed DNS server reply",
	"not logged in", "not owned by user ",
}

// notRefused are reasons that are not the client's fault.
var notRefused = []struct{ text, reason string }{
	{"Temporary lookup failure", isOurs},
	{"Server configuration error", isOurs},
	{"Server configuration problem", isOurs},
	{"Server local data error", isOurs},
	{"Insufficient system storage", isOurs},
	{"Error: insufficient system storage", isOurs},
	{"Queue file write error", isOurs},
	{"Error: queue file write error", isOurs},
	{"unverified address", isOurs}, // address verification knows no answer yet
	{"Message size exceeds fixed limit", isOurs},
	{"Message file too big", isOurs},
	{"Greylisted", isTemporary},
}

// judgeReject reads the reply of smtpd to a refused command.
func (l *Line) judgeReject(rest string) bool {
	r, ok := cutReply(rest)
	if !ok {
		return false
	}
	text := cutSubject(r.text)
	switch {
	case isRelayDenied(r, text):
		l.Class = ban.RelayDenied
	case isBlockListed(text):
		l.Class = ban.DNSBL
	case strings.HasPrefix(text, "bare <LF> received"):
		l.Class, l.with = ban.BareNewline, of(ban.BareNewline)
	default:
		l.judgeReason(r, text)
	}
	return true
}

// isRelayDenied tells Postfix's own text, which ends there and has a fixed
// enhanced status code, from a recipient's address that reads like it.
func isRelayDenied(r reply, text string) bool {
	after, ok := strings.CutPrefix(text, "Relay access denied")
	return ok && (after == "" || after[0] == ';') && (r.dsn == "" || r.dsn == ".7.1")
}

// isBlockListed knows the default_rbl_reply of smtpd and postscreen.
func isBlockListed(text string) bool {
	return strings.HasPrefix(text, "Service unavailable; ") && strings.Contains(text, " blocked using ")
}

// judgeReason reads "OBJECT rejected: REASON", or a reason alone.
func (l *Line) judgeReason(r reply, text string) {
	own, operators, reason := ban.PolicyReject, ban.PolicyReject, text
	for _, o := range objects {
		if after, ok := strings.CutPrefix(text, o.name); ok && strings.HasPrefix(after, " rejected: ") {
			own, operators, reason = o.own, o.operators, after[len(" rejected: "):]
			break
		}
	}
	if strings.HasPrefix(reason, "Improper use of SMTP command pipelining") {
		l.Class, l.with = ban.Pipelining, of(ban.Pipelining)
		return
	}
	for _, n := range notRefused {
		if strings.HasPrefix(reason, n.text) {
			l.Reason = n.reason
			return
		}
	}
	for _, o := range ownReasons {
		if strings.HasPrefix(reason, o) {
			l.Class = own
			return
		}
	}
	switch {
	case !r.temporary:
		l.Class = operators
	case reason == text && strings.HasPrefix(r.dsn, ".3."): // the mail system's status: RFC 3463, section 3.4
		l.Reason = isOurs
	default:
		l.Reason = isTemporary
	}
}

// judgeMilter reads a milter's reply. Milters greylist, too.
func (l *Line) judgeMilter(rest string) bool {
	r, ok := cutReply(rest)
	if r.temporary {
		l.Class, l.Reason = 0, isTemporary
	}
	return ok
}

// judgePostscreenReject reads the reply of postscreen to a recipient.
func (l *Line) judgePostscreenReject(rest string) bool {
	r, ok := cutReply(rest)
	switch {
	case !ok:
		return false
	case isBlockListed(r.text):
		l.Class = ban.DNSBL
	case strings.HasPrefix(r.text, "Protocol error"):
		l.Class = ban.Pregreet // the test that most fail, if its own line is not there
	case !strings.HasPrefix(r.text, "Service currently unavailable"):
		return false
	case r.temporary:
		l.Reason = isGoodClient
	default:
		l.Class = ban.ClientReject // on the deny list
	}
	return true
}
