package postfix

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// failureWords begin the lines of smtpd that tell of something gone
// wrong, after a queue id if there is one.
var failureWords = []string{
	"warning: ", "error: ", "fatal: ", "panic: ", "reject", "milter-reject", "proxy-reject", "abort: ", "refus",
	"lost connection", "timeout ", "too many ", "improper ", "bare ", "SSL_accept error", "Refusing ", "Rejecting ",
}

// beginsLikeFailure reports whether a line that no rule knows looks as if it
// should be known. postscreen begins with a word in capitals where something
// happens to a client.
func beginsLikeFailure(p *program, message string) bool {
	if p == cleanup { // most of its lines show text of a message
		return false
	}
	if rest, ok := cutQueueID(message); ok {
		message = rest
	}
	if p == postscreen && len(message) > 1 && isUpper(message[0]) && isUpper(message[1]) {
		return true
	}
	for _, word := range failureWords {
		if strings.HasPrefix(message, word) {
			return true
		}
	}
	return false
}

// namesClient reports whether an address in brackets stands anywhere.
func namesClient(message string) bool {
	for {
		_, after, ok := strings.Cut(message, "[")
		if !ok {
			return false
		}
		literal, _, ok := strings.Cut(after, "]")
		if !ok {
			return false
		}
		if _, isAddress := parseAddress(literal); isAddress {
			return true
		}
		message = after
	}
}

// maxShape bounds a shape, in bytes.
const maxShape = 160

// Shape returns what is common to the lines of one kind, without what a client
// or a user could be known by: a client becomes CLIENT, any other address ADDR,
// a number N, the contents of quotes, brackets and of name=value "...".
func Shape(identifier, message string) string {
	var b strings.Builder
	b.WriteString(maskText(identifier[strings.LastIndexByte(identifier, '/')+1:]))
	b.WriteString(": ")
	if rest, ok := cutQueueID(message); ok {
		b.WriteString("QID: ")
		message = rest
	}
	for message != "" && b.Len() < maxShape {
		mask, length := maskAt(message)
		b.WriteString(mask)
		message = message[length:]
	}
	shape := b.String()
	return strings.ToValidUTF8(shape[:min(len(shape), maxShape)], "")
}

// maskAt returns what stands for the beginning of s, and how much of it.
func maskAt(s string) (mask string, length int) {
	switch s[0] {
	case '<':
		return within(s, '>', "<...>")
	case '"':
		return within(s, '"', `"..."`)
	case '\'':
		return within(s, '\'', "'...'")
	case '[':
		mask, length = within(s, ']', "[...]")
		if _, isAddress := parseAddress(strings.Trim(s[:length], "[]")); isAddress {
			mask, length = "CLIENT", length+portLength(s[length:])
		}
		return mask, length
	}
	n := strings.IndexFunc(s, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`<>"'[]`, r) })
	if n < 0 {
		n = len(s)
	}
	if n == 0 {
		_, size := utf8.DecodeRuneInString(s)
		return maskText(s[:size]), size
	}
	word := s[:n]
	if n < len(s) && s[n] == '[' && hostLength(word) == n {
		if mask, length := maskAt(s[n:]); mask == "CLIENT" {
			return mask, n + length
		}
	}
	return maskWord(word), n
}

// within masks what stands up to the end byte, or just the first byte if that
// is not closed.
func within(s string, end byte, mask string) (string, int) {
	if at := strings.IndexByte(s[1:], end); at >= 0 {
		return mask, at + 2
	}
	return s[:1], 1
}

func portLength(s string) int {
	rest, _ := cutPort(s)
	return len(s) - len(rest)
}

// maskWord masks what a word without blanks and quotes can tell.
func maskWord(word string) string {
	bare := strings.TrimRight(word, ":;,.")
	after := word[len(bare):]
	if _, err := netip.ParseAddr(bare); err == nil || strings.Contains(bare, "@") {
		return "ADDR" + after
	}
	if name, value, ok := strings.Cut(bare, "="); ok && value != "" {
		return maskText(name) + "=..." + after
	}
	return maskText(word)
}

// maskText replaces numbers, and what could steer a terminal.
func maskText(s string) string {
	var b strings.Builder
	digits := false
	for _, r := range s {
		isDigit := unicode.IsDigit(r)
		switch {
		case isDigit && digits:
		case isDigit:
			b.WriteByte('N')
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteByte('?')
		}
		digits = isDigit
	}
	return b.String()
}
