package postfix

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"smtpban/internal/ban"
)

// The victim has done nothing. It stands only in text that a client controls,
// so no line of this file may ever be read as one about it.
const victim = "192.0.2.66"

// payloads are what a client would write to have the victim blamed: whole lines
// of each class, parts of lines that could follow a client, and junk.
var payloads = []string{
	"warning: a[192.0.2.66]: SASL LOGIN authentication failed: x",
	"warning: a[192.0.2.66]: SASL PLAIN authentication failed: (reason unavailable), sasl_username=b",
	"warning: a[192.0.2.66]: SASL LOGIN authentication aborted",
	"disconnect from a[192.0.2.66] ehlo=1 auth=0/9 commands=1/10",
	"warning: AUTH command rate limit exceeded: 9 from a[192.0.2.66] for service smtp",
	"NOQUEUE: lost connection after AUTH from a[192.0.2.66]",
	"NOQUEUE: reject: RCPT from a[192.0.2.66]: 554 5.7.1 <b@example.org>: Relay access denied; from=<> to=<b@example.org> proto=SMTP helo=<c>",
	"NOQUEUE: reject: RCPT from a[192.0.2.66]: 550 5.1.1 <b@example.org>: Recipient address rejected: User unknown; from=<>",
	"NOQUEUE: reject: RCPT from a[192.0.2.66]: 554 5.7.1 Service unavailable; Client host [192.0.2.66] blocked using bl.example.net",
	"NOQUEUE: reject: HELO from a[192.0.2.66]: 504 5.5.2 <b>: Helo command rejected: need fully-qualified hostname",
	"NOQUEUE: reject: CONNECT from a[192.0.2.66]: 554 5.7.1 <a[192.0.2.66]>: Client host rejected: Access denied",
	"NOQUEUE: reject: MAIL from a[192.0.2.66]: 553 5.7.1 <b@example.com>: Sender address rejected: not logged in",
	"NOQUEUE: reject: RCPT from a[192.0.2.66]: 554 5.7.1 <b@example.org>: Recipient address rejected: Access denied",
	"4F2C81A0B3: milter-reject: END-OF-MESSAGE from a[192.0.2.66]: 5.7.1 no; from=<>",
	"warning: non-SMTP command from a[192.0.2.66]: GET / HTTP/1.1",
	"improper command pipelining after EHLO from a[192.0.2.66]: x",
	"bare <LF> received after DATA from a[192.0.2.66]",
	"NOQUEUE: too many errors after AUTH from a[192.0.2.66]",
	"timeout after DATA (1 bytes) from a[192.0.2.66]",
	"warning: Connection rate limit exceeded: 9 from a[192.0.2.66] for service smtp",
	"SSL_accept error from a[192.0.2.66]: -1",
	"warning: hostname a.example does not resolve to address 192.0.2.66",
	"PREGREET 9 after 0.01 from [192.0.2.66]:25: x",
	"DNSBL rank 9 for [192.0.2.66]:25",
	"COMMAND TIME LIMIT from [192.0.2.66]:25 after CONNECT",
	"HANGUP after 0.1 from [192.0.2.66]:25 in tests before SMTP handshake",
	"4F2C81A0B3: client=a[192.0.2.66], sasl_method=LOGIN, sasl_username=b",
	victim,
	"[192.0.2.66]",
	"[192.0.2.66]:25: ",
	"x[192.0.2.66]",
	"]: a[192.0.2.66]: SASL",
	" from a[192.0.2.66]: 554 5.7.1 ",
	"; from=<a[192.0.2.66]> to=<b[192.0.2.66]>",
	">: Relay access denied; from=<a[192.0.2.66]",
	`"; from=<a[192.0.2.66]: "`,
	`\"\[192.0.2.66]: x`,
	" sasl_username=a[192.0.2.66]",
	", sasl_username=[192.0.2.66], orig_client=a[192.0.2.66]",
	"][192.0.2.66][", "[[192.0.2.66]]", "]]]] [192.0.2.66]", "[192.0.2.66] [[[[",
	"[::ffff:192.0.2.66]", "[IPv6:::ffff:192.0.2.66] [192.0.2.66]",
	"a\r\nwarning: a[192.0.2.66]: SASL LOGIN authentication failed: x\r\n",
	"\x01\x02\x1b[31m\x7f\x80\xff\xfe [192.0.2.66]: x",
	"\u00e4\u202e\u0085\u2028 a[192.0.2.66]: SASL LOGIN authentication failed: x",
	"%s%n[192.0.2.66]%x$(id)`id`",
	strings.Repeat("[192.0.2.66]: ", 400),
	strings.Repeat("a", 300) + "[192.0.2.66]: x",
}

// positions say where in a field the payload stands.
var positions = []string{"%s", "%s tail", "head %s tail", "head %s"}

// treatments are what Postfix does to a client's text before it logs it, by the
// placeholders of the traps.
var treatments = map[string]func(string) string{
	"name":    hostName,                                                       // valid_hostname(3), confirmed by a lookup
	"helo":    neuter,                                                         // smtpd.c helo_cmd
	"rawhelo": printable,                                                      // where HELO itself is refused
	"quoted":  quoted,                                                         // addresses in from= and to=, since 3.5
	"bare":    func(s string) string { return printable(s) + "@example.org" }, // in a reply, and before 3.5 everywhere
	"arg":     printable,                                                      // the argument of a command, a milter's or a policy's words
	"100":     func(s string) string { return cut(printable(s), 100) },
	"200":     func(s string) string { return cut(printable(s), 200) },
	"30":      func(s string) string { return cut(printable(s), 30) },
	"escaped": func(s string) string { return cut(escape(s), 100) },
}

// printable does as Postfix's printable(3) with smtputf8_enable: what is not a
// printable ASCII character, nor valid UTF-8, becomes a question mark.
func printable(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r < ' ' || r == 0x7f || r == utf8.RuneError && size == 1 {
			b.WriteByte('?')
		} else {
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}

// neuter does as smtpd does to the name in HELO: brackets and colons stay.
func neuter(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(` <>()\";@`, r) {
			return '?'
		}
		return r
	}, printable(s))
}

// quoted does as quote_822_local(3).
func quoted(s string) string {
	s = printable(s)
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-") == "" {
		return s + "@example.com"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"@example.com`
}

// escape does as escape(3): printable ASCII stays, the rest is written as in C.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\\':
			b.WriteString(`\\`)
		case ' ' <= c && c < 0x7f:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\%03o`, c)
		}
	}
	return b.String()
}

// hostName makes a name of the text that its owner could have in the DNS.
func hostName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && isHostByte(byte(r)) {
			return r
		}
		return '-'
	}, s)
	return "x" + cut(s, 60) + ".example.net"
}

func cut(s string, n int) string { return s[:min(len(s), n)] }

// fields end smtpd's lines about a refused command, and postscreen's.
const (
	fields       = "; from=<{quoted}> to=<{quoted}> proto=ESMTP helo=<{helo}>"
	oldFields    = "; from=<{bare}> to=<{bare}> proto=SMTP helo=<{helo}>"
	commaFields  = "; from=<{quoted}>, to=<{quoted}>, proto=ESMTP, helo=<{helo}>"
	serviceBlock = "Service unavailable; Client host [203.0.113.66] blocked using bl.example.net"
)

// trap is a line as Postfix writes it, with placeholders of treatments, and {c}
// for the client that sends the payload.
type trap struct {
	class ban.Class // 0 if it is not of any
	text  string
}

// smtpdTraps are the lines of smtpd that hold something a client can choose, if
// only the name of its host.
var smtpdTraps = []trap{
	{ban.SASLAuth, "warning: {c}: SASL {100} authentication failed: UGFzc3dvcmQ6, sasl_username={100}"},
	{ban.SASLAuth, "warning: {c}: SASL {arg} authentication failed: Invalid authentication mechanism"},
	{ban.SASLAuth, "warning: {c}: SASL {arg} authentication failed: Invalid authentication mechanism: '{arg}'"},
	{ban.SASLAuth, "warning: {c}: SASL {arg} authentication failed"},
	{ban.SASLAuth, "warning: {c}: SASL LOGIN authentication failed: {arg}"},
	{ban.SASLAuth, "warning: {c}: SASL LOGIN authentication failed: {arg}, sasl_username={100}"},
	{0, "warning: {c}: SASL {arg} authentication aborted"},
	{ban.AuthUnlogged, "disconnect from {c} ehlo=1 auth=0/1 commands=1/2"},
	{ban.Login, "disconnect from {c} ehlo=1 auth=1 quit=1 commands=3"},
	{ban.Login, "4F2C81A0B3: client={c}, sasl_method={100}, sasl_username={arg}"},
	{ban.Login, "4F2C81A0B3: client={c}, sasl_method=PLAIN, sasl_username={arg}, sasl_sender={arg}, orig_queue_id=5A6B7C8D9E, orig_client={helo}"},
	{0, "4F2C81A0B3: client={c}, orig_client={helo}"},
	{ban.AuthRateLimit, "warning: AUTH command rate limit exceeded: 9 from {c} for service smtp"},
	{ban.RateLimit, "warning: Connection rate limit exceeded: 9 from {c} for service smtp"},
	{ban.RateLimit, "warning: Refusing STARTTLS request from {c} for service smtp"},
	{ban.LostConnectionAfterAuth, "lost connection after AUTH from {c}"},
	{ban.LostConnectionAfterAuth, "NOQUEUE: lost connection after AUTH from {c}"},
	{ban.LostConnection, "lost connection after DATA (9 bytes) from {c}"},
	{ban.LostConnection, "4F2C81A0B3: timeout after RCPT from {c}"},
	{ban.TooManyErrors, "NOQUEUE: too many errors after AUTH from {c}"},
	{ban.RelayDenied, "NOQUEUE: reject: RCPT from {c}: 554 5.7.1 <{bare}>: Relay access denied" + fields},
	{ban.RelayDenied, "4F2C81A0B3: reject: RCPT from {c}: 554 <{bare}>: Relay access denied" + oldFields},
	{ban.RelayDenied, "NOQUEUE: reject: RCPT from {c}: 454 4.7.1 <{quoted}>: Relay access denied" + fields + " sasl_method={100} sasl_username={arg} sasl_sender={arg}"},
	{ban.UserUnknown, "NOQUEUE: reject: RCPT from {c}: 550 5.1.1 <{bare}>: Recipient address rejected: User unknown in local recipient table" + fields},
	{ban.UserUnknown, "NOQUEUE: reject: RCPT from {c}: 550 5.1.1 <{quoted}>: Recipient address rejected: undeliverable address: host mx.example.net[198.51.100.7] said: {arg}" + fields},
	{ban.DNSBL, "NOQUEUE: reject: RCPT from {c}: 554 5.7.1 " + serviceBlock + "; {arg}" + fields},
	{ban.DNSBL, "NOQUEUE: reject: RCPT from {c}: 554 5.7.1 Service unavailable; Helo command [{helo}] blocked using dbl.example.net; {arg}" + fields},
	{ban.DNSBL, "NOQUEUE: reject: RCPT from {c}: 554 5.7.1 Service unavailable; Sender address [{bare}] blocked using dbl.example.net; {arg}" + fields},
	{ban.HeloReject, "NOQUEUE: reject: RCPT from {c}: 504 5.5.2 <{helo}>: Helo command rejected: need fully-qualified hostname" + fields},
	{ban.HeloReject, "NOQUEUE: reject: EHLO from {c}: 501 5.5.2 <{rawhelo}>: Helo command rejected: Invalid name; proto=SMTP helo=<{rawhelo}>"},
	{ban.ClientReject, "NOQUEUE: reject: RCPT from {c}: 450 4.7.25 Client host rejected: cannot find your hostname, [203.0.113.66]" + fields},
	{ban.ClientReject, "NOQUEUE: reject: RCPT from {c}: 554 5.7.1 <{c}>: Client host rejected: {arg}" + fields},
	{ban.SenderReject, "NOQUEUE: reject: MAIL from {c}: 553 5.7.1 <{bare}>: Sender address rejected: not owned by user {arg}; from=<{quoted}> proto=ESMTP helo=<{helo}>"},
	{ban.SenderReject, "NOQUEUE: reject: RCPT from {c}: 550 5.1.8 <{bare}>: Sender address rejected: Domain not found" + oldFields},
	{ban.PolicyReject, "NOQUEUE: reject: RCPT from {c}: 550 5.7.23 <{bare}>: Recipient address rejected: {arg}" + fields},
	{ban.PolicyReject, "4F2C81A0B3: reject: DATA from {c}: 554 5.7.1 <DATA>: Data command rejected: {arg}" + fields},
	{0, "NOQUEUE: reject: RCPT from {c}: 450 4.2.0 <{bare}>: Recipient address rejected: Greylisted" + fields},
	{0, "NOQUEUE: reject_warning: RCPT from {c}: 554 5.7.1 <{bare}>: Relay access denied" + fields},
	{ban.MilterReject, "NOQUEUE: milter-reject: EHLO from {c}: 550 5.7.1 {arg}; proto=SMTP helo=<{rawhelo}>"},
	{ban.MilterReject, "NOQUEUE: milter-reject: RCPT from {c}: 550 5.7.1 {arg}" + fields},
	{0, "4F2C81A0B3: milter-hold: END-OF-MESSAGE from {c}: {arg}" + fields},
	{ban.Pipelining, "improper command pipelining after CONNECT from {c}: {escaped}"},
	{ban.Pipelining, "4F2C81A0B3: reject: DATA from {c}: 503 5.5.0 <DATA>: Data command rejected: Improper use of SMTP command pipelining" + fields},
	{ban.NonSMTP, "warning: non-SMTP command from {c}: {escaped}"},
	{ban.NonSMTP, "warning: non-SMTP command from {c}: {100}"},
	{ban.NonSMTP, "warning: {c} sent message header instead of SMTP command: {arg}"},
	{ban.BareNewline, "4F2C81A0B3: reject: END-OF-MESSAGE from {c}: bare <LF> received" + fields},
	{ban.BareNewline, "bare <LF> received after DATA from {c}"},
	{0, "warning: Illegal address syntax from {c} in MAIL command: {arg}"},
	{0, "warning: {c}: request longer than 2048: {30}..."},
	{ban.TLSError, "SSL_accept error from {c}: {arg}"},
	{ban.TLSError, "NOQUEUE: abort: TLS from {c}: {arg}"},
	{0, "< {c}: {arg}"},
	{0, "> {c}: 250 {arg}"},
	{0, "connect from {c}"},
}

// bareTraps are the lines in which the address has no brackets.
var bareTraps = []trap{
	{ban.RDNSMismatch, "warning: hostname {name} does not resolve to address 203.0.113.66"},
	{ban.RDNSMismatch, "warning: hostname {name} does not resolve to address 203.0.113.66: Name or service not known"},
	{ban.RDNSMismatch, "warning: 203.0.113.66: hostname {name} verification failed: Name or service not known"},
	{ban.RDNSMismatch, "warning: 203.0.113.66: address not listed for hostname {name}"},
}

var postscreenTraps = []trap{
	{ban.Pregreet, "PREGREET 99 after 0.01 from {c}: {escaped}"},
	{ban.DNSBL, "NOQUEUE: reject: RCPT from {c}: 550 5.7.1 Service unavailable; client [203.0.113.66] blocked using bl.example.net" + commaFields},
	{ban.Pregreet, "NOQUEUE: reject: RCPT from {c}: 550 5.5.1 Protocol error" + commaFields},
	{0, "NOQUEUE: reject: RCPT from {c}: 450 4.3.2 Service currently unavailable" + commaFields},
	{ban.ClientReject, "DENYLISTED {c}"},
	{ban.DNSBLRank, "DNSBL rank 9 for {c}"},
	{ban.Hangup, "HANGUP after 0.1 from {c} in tests before SMTP handshake"},
	{ban.PostscreenLimit, "COMMAND TIME LIMIT from {c} after CONNECT"},
	{ban.PostscreenLimit, "COMMAND LENGTH LIMIT from {c} after {arg}"},
	{ban.Pipelining, "COMMAND PIPELINING from {c} after EHLO: {escaped}"},
	{ban.NonSMTP, "NON-SMTP COMMAND from {c} after CONNECT: {arg}"},
	{ban.BareNewline, "BARE NEWLINE from {c} after {arg}"},
}

var cleanupTraps = []trap{
	{ban.MilterReject, "4F2C81A0B3: milter-reject: END-OF-MESSAGE from {c}: 5.7.1 {arg}" + fields},
	{0, "4F2C81A0B3: milter-discard: END-OF-MESSAGE from {c}: {arg}" + fields},
}

// headerTraps have text of the message before the client. Nothing may be read
// in them, not even the client.
var headerTraps = []trap{
	{0, "4F2C81A0B3: reject: header {200} from {c}" + fields + ": 5.7.1 no"},
	{0, "4F2C81A0B3: warning: header {200} from {c}" + fields + ": no"},
	{0, "4F2C81A0B3: reject: body {200} from {c}" + fields + ": 5.7.1 no"},
	{0, "4F2C81A0B3: message-id=<{200}>"},
}

// clients are the shapes of the client that sends the payloads, after its name.
var clients = []string{"[203.0.113.66]", "[203.0.113.66]:41234", "[203.0.113.66]:unknown", "[2001:db8:bad::66]", "[::ffff:203.0.113.66]:25"}

// hostileLine is a line that somebody could make Postfix write.
type hostileLine struct {
	identifier, message string
	class               ban.Class
	client              netip.Addr // who is to blame; not valid if nobody can be
	cut                 bool       // so long that its end is lost, and with it perhaps what tells its kind
}

// maxMessage is where msg_syslog.c cuts a line.
const maxMessage = 2000

// slot is a placeholder of a template.
var slot = regexp.MustCompile(`\{(\w+)\}`)

// spring yields the lines of a trap: each payload at each position of each of its
// slots, the others filled with something harmless. The client's shape changes
// from line to line.
func (t trap) spring(identifier string, shapes []string, named bool, yield func(hostileLine)) {
	client := "{at}"
	if named {
		client = "{name}{at}"
	}
	text := strings.ReplaceAll(t.text, "{c}", client)
	slots := slot.FindAllStringSubmatchIndex(text, -1)
	n := 0
	for hostile := range slots {
		if text[slots[hostile][2]:slots[hostile][3]] == "at" {
			continue
		}
		for _, payload := range payloads {
			for _, position := range positions {
				shape := shapes[n%len(shapes)]
				n++
				message := fill(text, slots, hostile, fmt.Sprintf(position, payload), shape)
				literal, _, _ := strings.Cut(shape[1:], "]")
				yield(hostileLine{
					identifier, cut(message, maxMessage), t.class,
					netip.MustParseAddr(literal).Unmap(), len(message) > maxMessage,
				})
			}
		}
	}
}

// fill replaces the slots of a text.
func fill(text string, slots [][]int, hostile int, payload, shape string) string {
	var b strings.Builder
	end := 0
	for i, s := range slots {
		b.WriteString(text[end:s[0]])
		end = s[1]
		name := text[s[2]:s[3]]
		switch {
		case name == "at":
			b.WriteString(shape)
		case i == hostile:
			b.WriteString(treatments[name](payload))
		default:
			b.WriteString(treatments[name]("x"))
		}
	}
	b.WriteString(text[end:])
	return b.String()
}

// hostileLines returns all lines, each once.
func hostileLines() []hostileLine {
	var lines []hostileLine
	known := map[string]bool{}
	add := func(l hostileLine) {
		if key := l.identifier + ": " + l.message; !known[key] {
			known[key] = true
			lines = append(lines, l)
		}
	}
	for _, t := range smtpdTraps {
		t.spring("postfix/smtpd", clients, true, add)
	}
	for _, t := range bareTraps {
		t.spring("postfix/submission/smtpd", clients[:1], true, add)
	}
	for _, t := range postscreenTraps {
		t.spring("postfix/postscreen", []string{"[203.0.113.66]:41234", "[2001:db8:bad::66]:25"}, false, add)
		if !slot.MatchString(strings.ReplaceAll(t.text, "{c}", "")) {
			add(hostileLine{"postfix/postscreen", strings.ReplaceAll(t.text, "{c}", "[203.0.113.66]:41234"), t.class, netip.MustParseAddr("203.0.113.66"), false})
		}
	}
	for _, t := range cleanupTraps {
		t.spring("postfix/cleanup", []string{"[203.0.113.66]", "[2001:db8:bad::66]"}, true, add)
	}
	for _, t := range headerTraps {
		t.spring("postfix/cleanup", clients[:1], true, func(l hostileLine) {
			l.client = netip.Addr{}
			add(l)
		})
	}
	return lines
}

// TestNobodyCanBeFramed lets clients write whatever they like wherever Postfix
// logs it. The line is always about the client that wrote it.
func TestNobodyCanBeFramed(t *testing.T) {
	lines := hostileLines()
	if len(lines) < 10_000 {
		t.Errorf("%d hostile lines, want 10,000 at least", len(lines))
	}
	sessions := NewSessions()
	seen := map[ban.Class]int{}
	for _, h := range lines {
		e := entry(h.identifier, h.message)
		l := Parse(e)
		if l.Address != h.client && !(h.cut && !l.Address.IsValid()) {
			t.Errorf("%s: %q\n\tis about %v, want %v", h.identifier, h.message, l.Address, h.client)
		}
		f := sessions.Add(e, l)
		if f.Event.Class != 0 && f.Event.Address != h.client {
			t.Errorf("%s: %q\n\tcounts for %v, want %v", h.identifier, h.message, f.Event.Address, h.client)
		}
		if l.Class == h.class {
			seen[l.Class]++
		}
	}
	for _, class := range ban.Classes() {
		if seen[class] == 0 {
			t.Errorf("no hostile line is of class %v", class)
		}
	}
	t.Logf("%d lines", len(lines))
}

// TestHostileLinesBite makes sure that the lines would frame the victim, were
// the client searched for instead of read where Postfix puts it.
func TestHostileLinesBite(t *testing.T) {
	bracketed := regexp.MustCompile(`\[([0-9A-Fa-f.:]+)\]`)
	lines, framed := hostileLines(), 0
	for _, h := range lines {
		all := bracketed.FindAllStringSubmatch(h.message, -1)
		if len(all) == 0 {
			continue
		}
		if addr, err := netip.ParseAddr(all[len(all)-1][1]); err == nil && addr.Unmap() == netip.MustParseAddr(victim) {
			framed++
		}
	}
	if framed*2 <= len(lines) {
		t.Errorf("a search for the last address in brackets blames the victim in %d of %d lines, want more than half", framed, len(lines))
	}
	t.Logf("a search blames the victim in %d of %d lines", framed, len(lines))
}
