package postfix

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

// The oracle knows where a client may stand, and nothing else about a line. It
// shares no code with the parser: a line about a client begins with words out of
// Postfix's own mouth, each of them listed here, then comes the client. Words
// like "header" or "message-id=" are missing on purpose, for a sender's text
// follows them.
const (
	queueID = `^(?:[0-9A-Zb-df-hj-np-tv-z]{5,32}: )?` // or NOQUEUE; never a word
	words   = `(?:(?:` +
		// of any program
		`from|after|for|warning:|reject:|milter-reject:|milter-hold:|milter-discard:|` +
		// of smtpd: sessions, access tables, protocol, limits, TLS
		`connect|disconnect|lost|connection|timeout|too|many|errors|\([0-9.]* bytes\)|[<>]|` +
		`reject_warning:|warn:|info:|hold:|discard:|filter:|redirect:|bcc:|delay:|permit:|hangup:|prepend:|dunno:|trigger:|` +
		`improper|command|pipelining|bare|<LF>|received|non-SMTP|Illegal|address|syntax|` +
		`AUTH|Connection|Message|delivery|Recipient|New|TLS|session|request|rate|concurrency|limit|exceeded:|[0-9.]+|` +
		`Refusing|service|SSL_accept|error|abort:|` +
		// of smtpd: where in a session, two of them of two words
		`CONNECT|HELO|EHLO|MAIL|RCPT|DATA|BDAT|content|END-OF-MESSAGE|VRFY|ETRN|STARTTLS|UNKNOWN|RSET|NOOP|QUIT|HELP|XCLIENT|XFORWARD|` +
		// of postscreen
		`DISCONNECT|PASS|UNPASS|OLD|NEW|WHITELISTED|ALLOWLISTED|BLACKLISTED|DENYLISTED|WHITELIST|ALLOWLIST|VETO|` +
		`PREGREET|DNSBL|rank|COMMAND|TIME|COUNT|LENGTH|LIMIT|PIPELINING|NON-SMTP|BARE|NEWLINE|HANGUP|without|valid` +
		`) )*(?:client=)?`
	brackets = `\[([0-9A-Fa-f.:]+)\]`
)

var (
	named       = regexp.MustCompile(queueID + words + `[A-Za-z0-9._-]+` + brackets)
	nameless    = regexp.MustCompile(queueID + words + brackets)
	bareAddress = regexp.MustCompile(queueID + `warning: (?:([0-9A-Fa-f.:]+): (?:hostname [A-Za-z0-9._-]+ verification failed: |address not listed for hostname )` +
		`|hostname [A-Za-z0-9._-]+ does not resolve to address ([0-9A-Fa-f.:]+?)(?:: |$| ))`)
)

// allowedLiteral returns the only address that may be read in a message, "" if
// there is none: it stands between the first brackets, behind words of Postfix's
// and, where the program shows it, the client's host name; or, in the lines about
// host names, bare behind such words.
func allowedLiteral(identifier, message string) string {
	where := named
	switch identifier[strings.LastIndexByte(identifier, '/')+1:] {
	case "postscreen":
		where = nameless
	case "smtpd":
		if m := bareAddress.FindStringSubmatch(message); m != nil {
			return m[1] + m[2]
		}
	case "cleanup":
	default:
		return ""
	}
	if m := where.FindStringSubmatch(message); m != nil {
		return m[1]
	}
	return ""
}

// checkAddress fails the test unless the address is the one that may be read.
func checkAddress(t testing.TB, identifier, message string, got netip.Addr) {
	t.Helper()
	literal := allowedLiteral(identifier, message)
	want, err := netip.ParseAddr(literal)
	if err != nil || want.Unmap() != got || want.Zone() != "" || !strings.Contains(identifier, "/") {
		t.Errorf("%s: %q: read address %v, the only one that may be is %q", identifier, message, got, literal)
	}
}

// TestOracleCanFail shows the oracle addresses that a parser could read by
// mistake.
func TestOracleCanFail(t *testing.T) {
	for _, line := range []string{
		"postfix/smtpd: improper command pipelining after CONNECT from unknown[203.0.113.66]: x from a[192.0.2.66]: y",
		"postfix/smtpd: warning: non-SMTP command from unknown[203.0.113.66]: a[192.0.2.66]: x",
		"postfix/smtpd: warning: Subject: a[192.0.2.66]: x",
		"postfix/smtpd: Subject: warning: a[192.0.2.66]: SASL LOGIN authentication failed",
		"postfix/smtpd: warning: unknown[203.0.113.66]: SASL a[192.0.2.66]: authentication failed",
		"postfix/smtpd: warning: [192.0.2.66]: x",
		"postfix/smtpd: warning: hostname x does not resolve to address 203.0.113.66: [192.0.2.66]",
		"postfix/cleanup: 4F2C81A0B3: reject: header Subject: from a[192.0.2.66]: x from unknown[203.0.113.66]; from=<>",
		"postfix/cleanup: 4F2C81A0B3: message-id=<a[192.0.2.66]>",
		"postfix/postscreen: PREGREET 9 after 0 from [203.0.113.66]:41234: [192.0.2.66]:25",
		"postfix/postscreen: PREGREET 9 after 0 from a[192.0.2.66]:25: x",
		"postfix/smtp: connect from a[192.0.2.66]",
	} {
		identifier, message, _ := strings.Cut(line, ": ")
		if got := allowedLiteral(identifier, message); got == victim {
			t.Errorf("%s: the victim may be read", line)
		}
	}
}
