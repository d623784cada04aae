package postfix

import (
	"fmt"
	"strings"
)

// A template is written as Postfix's source has the line, with placeholders:
//
//	{client}  NAME[ADDRESS] or NAME[ADDRESS]:PORT; of postscreen [ADDRESS]:PORT
//	{addr}    ADDRESS alone, up to ": " or the end
//	{where}   the last command of the session, see isWhere, and how much of DATA
//	{name}    a host name
//	{n}       a number, perhaps with a fraction
//	{tail}    nothing, or what follows a blank or colon
//	{rest}    anything
//
// A line must match from its first byte to its last.
type template []token

type token struct {
	kind    kind
	literal string // of aLiteral
}

type kind int

const (
	aLiteral kind = iota
	aClient
	anAddress
	aWhere
	aName
	aNumber
	aTail
	aRest
)

var placeholders = map[string]kind{
	"client": aClient, "addr": anAddress, "where": aWhere,
	"name": aName, "n": aNumber, "tail": aTail, "rest": aRest,
}

// compile takes the text of a template apart. Texts are constants: a mistake in
// one is a panic when the program starts, that is in every test.
func compile(text string) template {
	var t template
	for rest := text; rest != ""; {
		before, after, found := strings.Cut(rest, "{")
		if before != "" {
			t = append(t, token{aLiteral, before})
		}
		if !found {
			break
		}
		word, after, closed := strings.Cut(after, "}")
		kind, known := placeholders[word]
		if !closed || !known || len(t) == 0 || (kind == aTail || kind == aRest) && after != "" {
			panic(fmt.Sprintf("template %q: {%s} has no meaning there", text, word))
		}
		t = append(t, token{kind: kind})
		rest = after
	}
	return t
}

// match reads the line into l. It returns what the last placeholder stands for,
// if that is {tail} or {rest}. If it returns false, l is spoilt.
func (t template) match(s string, l *Line, nameless bool) (remainder string, ok bool) {
	for i := range t {
		switch t[i].kind {
		case aLiteral:
			s, ok = strings.CutPrefix(s, t[i].literal)
		case aClient:
			if nameless {
				s, ok = l.cutAddress(s)
			} else {
				s, ok = l.cutClient(s)
			}
		case anAddress:
			n := strings.Index(s, ": ")
			if n < 0 {
				n = len(s)
			}
			l.Address, ok = parseAddress(s[:n])
			s = s[n:]
		case aWhere:
			s, ok = cutWhere(s)
		case aName:
			n := hostLength(s)
			s, ok = s[n:], n > 0
		case aNumber:
			n := numberLength(s)
			s, ok = s[n:], n > 0
		case aTail:
			return s, s == "" || s[0] == ' ' || s[0] == ':'
		case aRest:
			return s, true
		}
		if !ok {
			return "", false
		}
	}
	return "", s == ""
}

func numberLength(s string) int {
	n := 0
	for n < len(s) && (isDigit(s[n]) || s[n] == '.') {
		n++
	}
	return n
}

// cutWhere reads where in a session something happened: Postfix's state->where,
// the last command it knew, and since 2.5 how much data came after DATA.
func cutWhere(s string) (rest string, ok bool) {
	n := 0
	for n < len(s) && (isUpper(s[n]) || s[n] == '-') {
		n++
	}
	if !isWhere(s[:n]) {
		return "", false
	}
	s = strings.TrimPrefix(s[n:], " content") // of DATA and BDAT
	after, ok := strings.CutPrefix(s, " (")
	if !ok {
		return s, true
	}
	digits := numberLength(after)
	return strings.CutPrefix(after[digits:], " bytes)")
}

func isWhere(s string) bool {
	switch s {
	case "CONNECT", "HELO", "EHLO", "MAIL", "RCPT", "DATA", "BDAT", "END-OF-MESSAGE", "VRFY", "ETRN",
		"AUTH", "STARTTLS", "UNKNOWN", "RSET", "NOOP", "QUIT", "HELP", "XCLIENT", "XFORWARD":
		return true
	}
	return false
}
