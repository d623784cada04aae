package postfix

import (
	"strings"

	"smtpban/internal/ban"
)

// rule says how one kind of line looks and what it means. A new class of abuse
// is a new row here plus its sample lines in testdata.
type rule struct {
	text   string    // a template
	class  ban.Class // 0 if such a line is no offence
	reason string    // why not
	step   step      // what the line means to its session, if not just an offence

	// with holds the classes that this one may be the outcome of: if one of
	// them was seen earlier in the session, this one is nothing new.
	with classes

	// by says who looks at what {tail} or {rest} stands for.
	by judge

	template template
}

// judge names a function that may change the class or the reason of a line, or
// say that the line is none of this kind. Functions by name, not by value, keep
// the line off the heap.
type judge int

const (
	byTemplate judge = iota // which has said all
	bySASL
	byClient
	byDisconnect
	byReject
	byMilter
	byPostscreenReject
	tellsOfAUTH // that failed
)

func (l *Line) judge(j judge, remainder string) bool {
	switch j {
	case bySASL:
		return l.judgeSASL(remainder)
	case byClient:
		return l.judgeClient(remainder)
	case byDisconnect:
		return l.judgeDisconnect(remainder)
	case byReject:
		return l.judgeReject(remainder)
	case byMilter:
		return l.judgeMilter(remainder)
	case byPostscreenReject:
		return l.judgePostscreenReject(remainder)
	case tellsOfAUTH:
		l.told = true
	}
	return true
}

// program is one of Postfix's, with the lines that it may write.
type program struct {
	rules    [256][]*rule // by the first byte of the template
	nameless bool         // clients are shown without their name
}

func newProgram(nameless bool, rules []rule) *program {
	p := &program{nameless: nameless}
	for i := range rules {
		r := &rules[i]
		r.template = compile(r.text)
		p.rules[r.text[0]] = append(p.rules[r.text[0]], r)
	}
	return p
}

// read finds the rule of a message, with or without a queue id before it, and
// fills in the line, of which only the service is known.
func (p *program) read(message string, l *Line) bool {
	if p.match(message, l) {
		return true
	}
	rest, ok := cutQueueID(message)
	return ok && p.match(rest, l)
}

func (p *program) match(message string, l *Line) bool {
	if message == "" {
		return false
	}
	for _, r := range p.rules[message[0]] {
		if !strings.HasPrefix(message, r.template[0].literal) {
			continue
		}
		l.Class, l.Reason, l.with, l.rule = r.class, r.reason, r.with, r
		remainder, ok := r.template.match(message, l, p.nameless)
		if ok && l.judge(r.by, remainder) {
			return true
		}
		*l = Line{Service: l.Service}
	}
	return false
}

// cutQueueID drops "QUEUEID: ". An id is hexadecimal, or with enable_long_queue_ids
// made of digits and consonants, so that it is never a word; NOQUEUE stands for
// none. Postfix 3.10 puts it before lines that had none earlier.
func cutQueueID(s string) (rest string, ok bool) {
	if rest, ok = strings.CutPrefix(s, "NOQUEUE: "); ok {
		return rest, true
	}
	n := 0
	for n < len(s) && n < 32 && (isDigit(s[n]) || isUpper(s[n]) || 'a' <= s[n] && s[n] <= 'z' && strings.IndexByte("aeiou", s[n]) < 0) {
		n++
	}
	if n < 5 {
		return "", false
	}
	return strings.CutPrefix(s[n:], ": ")
}

// What is no offence, and why.
const (
	isNormal       = "part of any session"
	isVerbose      = "a transcript for the operator, of debug_peer_list or -v"
	isOperators    = "the operator's own choice; nothing was refused"
	isOurs         = "this server's own fault or limit"
	isTemporary    = "refused for now only, as in greylisting"
	isGoodClient   = "what every new client is told once by postscreen's deep tests"
	isSyntax       = "a mistake in a command; who makes many is cut off for too many errors"
	isLibrary      = "the SASL library's own words, without a client; Postfix's follow"
	isAborted      = "the client gave up the dialogue; no password was looked at"
	isServerFault  = "the server could not look at the password"
	isNoMechanism  = "there is no such mechanism; no password was looked at"
	isNoLogin      = "mail accepted without a login"
	isEnd          = "the end of a session in which no AUTH command failed"
	isMixed        = "the end of a session of several clients, by XCLIENT"
	isNotRefused   = "warn_if_reject: nothing was refused"
	isMilterChoice = "a milter's choice that refuses nothing"
	isContent      = "about a message's text, which its sender may have from anywhere"
	isProxys       = "a content filter's refusal, without a client"
)

// smtpd's lines, after smtpd.c, smtpd_check.c, smtpd_sasl_glue.c, smtpd_sasl_proto.c
// and smtpd_peer.c of Postfix 2.0 to 3.12. Where a line is told from another by
// more words, it stands before it.
var smtpd = newProgram(false, []rule{
	{text: "connect from {client}", step: stepOpens, reason: isNormal},
	{text: "disconnect from {client}{tail}", step: stepCloses, by: byDisconnect},

	// SASL. Since 2.3; the user name since 3.9, 3.8.3, 3.7.8, 3.6.12 and 3.5.22.
	{text: "warning: {client}: SASL {rest}", class: ban.SASLAuth, step: stepGuess, by: bySASL},
	{text: "warning: SASL authentication failure: cannot connect to saslauthd server{tail}", step: stepOutage, reason: isLibrary},
	{text: "warning: SASL authentication failure: {rest}", reason: isLibrary},
	{text: "warning: SASL authentication problem: {rest}", reason: isLibrary},
	{text: "client={client}{rest}", by: byClient},

	{text: "reject: {where} from {client}: bare <LF> received{rest}", class: ban.BareNewline, with: of(ban.BareNewline)},
	{text: "reject: {where} from {client}: {rest}", step: stepRefusal, by: byReject},
	{text: "reject_warning: {where} from {client}: {rest}", reason: isNotRefused},
	{text: "warn: {where} from {client}: {rest}", reason: isOperators},
	{text: "info: {where} from {client}: {rest}", reason: isOperators},
	{text: "hold: {where} from {client}: {rest}", reason: isOperators},
	{text: "discard: {where} from {client}: {rest}", reason: isOperators},
	{text: "filter: {where} from {client}: {rest}", reason: isOperators},
	{text: "redirect: {where} from {client}: {rest}", reason: isOperators},
	{text: "bcc: {where} from {client}: {rest}", reason: isOperators},
	{text: "delay: {where} from {client}: {rest}", reason: isOperators},
	{text: "permit: {where} from {client}: {rest}", reason: isOperators},
	{text: "hangup: {where} from {client}: {rest}", reason: isOperators},
	{text: "milter-reject: {where} from {client}: {rest}", class: ban.MilterReject, step: stepRefusal, by: byMilter},
	{text: "milter-hold: {where} from {client}: {rest}", reason: isMilterChoice},
	{text: "milter-discard: {where} from {client}: {rest}", reason: isMilterChoice},
	{text: "proxy-reject: {where}: {rest}", reason: isProxys},

	{text: "lost connection after AUTH from {client}", class: ban.LostConnectionAfterAuth, step: stepLostInAUTH},
	{text: "lost connection after {where} from {client}", class: ban.LostConnection, with: every},
	{text: "timeout after {where} from {client}", class: ban.LostConnection, with: every},
	{text: "too many errors after {where} from {client}", class: ban.TooManyErrors, with: every},

	{text: "improper command pipelining after {where} from {client}{tail}", class: ban.Pipelining, with: of(ban.Pipelining)},
	{text: "bare <LF> received after {where} from {client}", class: ban.BareNewline, with: of(ban.BareNewline)},
	{text: "warning: non-SMTP command from {client}: {rest}", class: ban.NonSMTP, with: of(ban.Pipelining)},
	{text: "warning: {client} sent message header instead of SMTP command: {rest}", class: ban.NonSMTP},
	{text: "warning: Illegal address syntax from {client} in {where} command: {rest}", reason: isSyntax},
	{text: "warning: {client}: request longer than {n}: {rest}", reason: isSyntax},

	{text: "SSL_accept error from {client}: {rest}", class: ban.TLSError},
	{text: "abort: TLS from {client}: {rest}", class: ban.TLSError},

	{text: "warning: AUTH command rate limit exceeded: {n} from {client} for service {rest}", class: ban.AuthRateLimit, by: tellsOfAUTH},
	{text: "warning: Connection rate limit exceeded: {n} from {client} for service {rest}", class: ban.RateLimit},
	{text: "warning: Connection concurrency limit exceeded: {n} from {client} for service {rest}", class: ban.RateLimit},
	{text: "warning: Message delivery request rate limit exceeded: {n} from {client} for service {rest}", class: ban.RateLimit},
	{text: "warning: Recipient address rate limit exceeded: {n} from {client} for service {rest}", class: ban.RateLimit},
	{text: "warning: New TLS session rate limit exceeded: {n} from {client} for service {rest}", class: ban.RateLimit},
	{text: "warning: Refusing STARTTLS request from {client} for service {rest}", class: ban.RateLimit},
	{text: "warning: Refusing TLS service request from {client} for service {rest}", class: ban.RateLimit},

	// Here the address stands bare, after a name in which valid_hostname(3)
	// allows no blank. Up to 2.8, then since 2.9.
	{text: "warning: {addr}: hostname {name} verification failed: {rest}", class: ban.RDNSMismatch, step: stepApart},
	{text: "warning: {addr}: address not listed for hostname {name}", class: ban.RDNSMismatch, step: stepApart},
	{text: "warning: hostname {name} does not resolve to address {addr}{tail}", class: ban.RDNSMismatch, step: stepApart},

	{text: "< {client}: {rest}", reason: isVerbose},
	{text: "> {client}: {rest}", reason: isVerbose},
})

// postscreen's lines, after postscreen.c and its companions of Postfix 2.8 to
// 3.12. A failed test under "enforce" is told of by its own line and by a
// rejected recipient, or several: that is one.
var postscreen = newProgram(true, []rule{
	{text: "CONNECT from {client}{tail}", step: stepOpens, reason: isNormal},
	{text: "DISCONNECT {client}", step: stepCloses, reason: isNormal},
	{text: "PASS OLD {client}", reason: isNormal},
	{text: "PASS NEW {client}", reason: isNormal},
	{text: "WHITELISTED {client}", reason: isNormal},
	{text: "ALLOWLISTED {client}", reason: isNormal},
	{text: "WHITELIST VETO {client}", reason: isNormal},
	{text: "ALLOWLIST VETO {client}", reason: isNormal},
	{text: "BLACKLISTED {client}", class: ban.ClientReject},
	{text: "DENYLISTED {client}", class: ban.ClientReject},

	{text: "PREGREET {n} after {n} from {client}: {rest}", class: ban.Pregreet},
	{text: "DNSBL rank {n} for {client}", class: ban.DNSBLRank},
	{text: "COMMAND TIME LIMIT from {client}{tail}", class: ban.PostscreenLimit},
	{text: "COMMAND COUNT LIMIT from {client}{tail}", class: ban.PostscreenLimit},
	{text: "COMMAND LENGTH LIMIT from {client}{tail}", class: ban.PostscreenLimit},
	{text: "DATA without valid RCPT from {client}", class: ban.PostscreenLimit},
	{text: "BDAT without valid RCPT from {client}", class: ban.PostscreenLimit},
	{text: "COMMAND PIPELINING from {client}{tail}", class: ban.Pipelining, with: of(ban.Pipelining)},
	{text: "NON-SMTP COMMAND from {client}{tail}", class: ban.NonSMTP},
	{text: "BARE NEWLINE from {client}{tail}", class: ban.BareNewline, with: of(ban.BareNewline)},
	{text: "HANGUP after {n} from {client}{tail}", class: ban.Hangup, with: every},

	{text: "reject: RCPT from {client}: {rest}", step: stepRefusal, with: every, by: byPostscreenReject},
	{text: "reject: CONNECT from {client}: {rest}", step: stepRefusal, reason: isOurs},
	{text: "reject: connect from {client}: {rest}", step: stepRefusal, reason: isOurs},
})

// cleanup's lines, after cleanup_milter.c: a milter judges the whole message
// there, and its reply has no code of three digits. What header_checks and
// body_checks refuse is not read: text of the message stands before the client.
var cleanup = newProgram(false, []rule{
	{text: "milter-reject: {where} from {client}: {rest}", class: ban.MilterReject, step: stepRefusal, by: byMilter},
	{text: "milter-hold: {where} from {client}: {rest}", reason: isMilterChoice},
	{text: "milter-discard: {where} from {client}: {rest}", reason: isMilterChoice},
	{text: "reject: header {rest}", reason: isContent},
	{text: "reject: body {rest}", reason: isContent},
})
