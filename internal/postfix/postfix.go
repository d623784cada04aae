// Package postfix reads the lines that Postfix writes about its clients. Parse
// looks at one line, from its first byte and without regular expressions: only
// what Postfix itself prints at a fixed place decides, and whatever a client can
// put into a line never supplies an address. Sessions then folds the lines of
// each SMTP session, so that one attempt counts once however many lines tell of
// it.
package postfix

import (
	"net/netip"
	"strings"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
)

// Line is what one line says by itself.
type Line struct {
	Service string     // smtpd, submission, smtps, or another syslog_name part of the tag
	Address netip.Addr // of the client, unmapped; not valid if the line names none
	Port    uint16     // of the client, 0 if not logged
	Name    string     // verified host name of the client, "" if it has none
	Class   ban.Class  // 0 if the line tells of nothing that could count
	User    string     // login name tried, "" if not logged; any text, for display only
	Reason  string     // why nothing in it can count, "" if it has a class

	// Unknown is set if the line matches no rule, names a client and begins
	// like a failure: somebody should look at it. See Shape.
	Unknown bool

	rule      *rule
	with      classes // see rule
	told      bool    // it tells of an AUTH command that failed
	generic   bool    // of one that failed without a cause, which may be the server
	dead      bool    // the authentication server is
	mechanism string  // of that AUTH command
	failed    int     // AUTH commands by the statistics of a session without success
}

// Reasons that several places give.
const (
	notOurs   = "not a line of smtpd, postscreen or cleanup"
	noRule    = "no rule for such a line"
	isUnknown = "no rule knows this line; with --unknown it is shown for a bug report"
	noClient  = "the client was gone before its address was known"
)

// Parse reads a line. It keeps no copy of the entry's texts but parts of them.
func Parse(e journal.Entry) Line {
	service, program, ok := splitIdentifier(e.Identifier)
	if !ok {
		return Line{Reason: notOurs}
	}
	l := Line{Service: service}
	if !program.read(e.Message, &l) {
		if beginsLikeFailure(program, e.Message) && namesClient(e.Message) {
			return Line{Service: service, Reason: isUnknown, Unknown: true}
		}
		return Line{Service: service, Reason: noRule}
	}
	if !l.Address.IsValid() && l.Reason == "" {
		l.Class, l.Reason = 0, noClient
	}
	return l
}

// splitIdentifier takes a syslog tag apart. Postfix makes it of syslog_name and
// the name of the program (mail_task(3)): postfix/smtpd, and with
// "-o syslog_name=postfix/submission" postfix/submission/smtpd. The service is
// the part in the middle, or the program where there is none.
func splitIdentifier(tag string) (service string, p *program, ok bool) {
	slash := strings.LastIndexByte(tag, '/')
	if slash < 0 {
		return "", nil, false
	}
	switch service = tag[slash+1:]; service {
	case "smtpd":
		p = smtpd
	case "postscreen":
		p = postscreen
	case "cleanup":
		p = cleanup
	default:
		return "", nil, false
	}
	if first := strings.IndexByte(tag[:slash], '/'); first >= 0 && first+1 < slash {
		service = tag[first+1 : slash]
	}
	return service, p, true
}

// maxText bounds what a client can make us remember of it, in bytes.
const maxText = 64

func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "")
}

// clipName keeps the end of a long host name. Its beginning is what the owner of a
// domain can put before it.
func clipName(s string) string { return s[max(0, len(s)-ban.MaxName):] }

// cutClient reads the client at the start of s as smtpd prints it,
//
//	NAME[ADDRESS]
//	NAME[ADDRESS]:PORT        with smtpd_client_port_logging
//
// and returns what follows. NAME is a host name that resolves back to ADDRESS,
// or "unknown"; valid_hostname(3) keeps brackets and blanks out of it, so the
// first bracket is Postfix's own.
func (l *Line) cutClient(s string) (rest string, ok bool) {
	open := hostLength(s)
	if open == 0 || open == len(s) || s[open] != '[' {
		return "", false
	}
	if l.Name = s[:open]; l.Name == "unknown" {
		l.Name = ""
	}
	return l.cutAddress(s[open:])
}

// cutAddress reads "[ADDRESS]" or "[ADDRESS]:PORT". An address that Postfix does
// not know either, "[unknown]", is none.
func (l *Line) cutAddress(s string) (rest string, ok bool) {
	if s == "" || s[0] != '[' {
		return "", false
	}
	end := strings.IndexByte(s, ']')
	if end < 0 {
		return "", false
	}
	literal, rest := s[1:end], s[end+1:]
	if literal == "unknown" {
		l.Address = netip.Addr{}
		rest, l.Port = cutPort(rest)
		return rest, true
	}
	if l.Address, ok = parseAddress(literal); !ok {
		return "", false
	}
	rest, l.Port = cutPort(rest)
	return rest, true
}

// parseAddress first looks whether it could be an address at all: what clients
// put between brackets is refused without the cost of an error.
func parseAddress(literal string) (netip.Addr, bool) {
	for i := range len(literal) {
		if !inAddress[literal[i]] {
			return netip.Addr{}, false
		}
	}
	addr, err := netip.ParseAddr(literal)
	if err != nil {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// hostLength returns how many bytes at the start of s could be a host name.
func hostLength(s string) int {
	n := 0
	for n < len(s) && isHostByte(s[n]) {
		n++
	}
	return n
}

func isHostByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '.' || b == '-' || b == '_'
}

// inAddress has the bytes of which addresses are made.
var inAddress = [256]bool{
	'0': true, '1': true, '2': true, '3': true, '4': true, '5': true, '6': true, '7': true, '8': true, '9': true,
	'a': true, 'b': true, 'c': true, 'd': true, 'e': true, 'f': true,
	'A': true, 'B': true, 'C': true, 'D': true, 'E': true, 'F': true,
	'.': true, ':': true,
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

func isUpper(b byte) bool { return 'A' <= b && b <= 'Z' }

// cutPort drops a leading ":PORT", where PORT is a number or "unknown".
func cutPort(s string) (rest string, port uint16) {
	after, ok := strings.CutPrefix(s, ":")
	if !ok {
		return s, 0
	}
	if rest, ok := strings.CutPrefix(after, "unknown"); ok {
		return rest, 0
	}
	number, rest := cutNumber(after)
	if len(rest) == len(after) || number > 65535 {
		return s, 0
	}
	return rest, uint16(number)
}

// cutNumber reads a number at the start of s, 0 if there is none. One with too
// many digits is as good as 99,999,999.
func cutNumber(s string) (number int, rest string) {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		if n < 8 {
			number = number*10 + int(s[n]-'0')
		} else {
			number = 99_999_999
		}
		n++
	}
	return number, s[n:]
}
