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
// client chooses the subject: the local part of an address may hold anything,
// and although Postfix shows it with its quotes elsewhere, it does not here. So
// a client can hide what its attempt was; see isPlain for what it can't do.
// Where a collector of logs took <SUBJECT> for markup, only the colon is left.
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
	switch {
	case !ok:
		return false
	case isBlockListed(r.text):
		l.Class = ban.DNSBL
	case strings.HasPrefix(r.text, "bare <LF> received"):
		l.Class, l.with = ban.BareNewline, of(ban.BareNewline)
	default:
		l.judgeText(r, cutSubject(r.text))
	}
	return true
}

// isPlain reports whether no other refusal follows in the text. An honest server
// passes on mail from anybody to any address of ours, one that reads like a
// refusal included; the real refusal of that address then comes after it. A
// client that writes both into its sender hides what it tried, but can't accuse
// anybody.
func isPlain(text string) bool {
	for {
		_, after, ok := strings.Cut(text, ">: ")
		if !ok {
			return true
		}
		if _, _, _, isRefusal := cutObject(after); isRefusal {
			return false
		}
		text = after
	}
}

// cutObject drops "OBJECT rejected: " from the start of a text. It returns the
// class for Postfix's own reasons, and that for the operator's.
func cutObject(text string) (own, operators ban.Class, reason string, ok bool) {
	for _, o := range objects {
		if after, ok := strings.CutPrefix(text, o.name); ok {
			if reason, ok := strings.CutPrefix(after, " rejected: "); ok {
				return o.own, o.operators, reason, true
			}
		}
	}
	return ban.PolicyReject, ban.PolicyReject, text, false
}

// isRelayDenied tells Postfix's own text and its enhanced status code.
func isRelayDenied(r reply, reason string) bool {
	return strings.HasPrefix(reason, "Relay access denied") && (r.dsn == "" || r.dsn == ".7.1") && isPlain(reason)
}

// isPipelining is the same for reject_unauth_pipelining.
func isPipelining(r reply, reason string) bool {
	return strings.HasPrefix(reason, "Improper use of SMTP command pipelining") && (r.dsn == "" || r.dsn == ".5.0") && isPlain(reason)
}

// isBlockListed knows the default_rbl_reply of smtpd and postscreen.
func isBlockListed(text string) bool {
	return strings.HasPrefix(text, "Service unavailable; ") && strings.Contains(text, " blocked using ")
}

// judgeText reads "OBJECT rejected: REASON", or a reason alone.
func (l *Line) judgeText(r reply, text string) {
	own, operators, reason, object := cutObject(text)
	switch {
	case isRelayDenied(r, reason):
		l.Class = ban.RelayDenied
		return
	case isPipelining(r, reason):
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
	case !object && strings.HasPrefix(r.dsn, ".3."): // the mail system's status: RFC 3463, section 3.4
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
