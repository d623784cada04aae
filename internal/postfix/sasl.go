package postfix

import (
	"strings"

	"smtpban/internal/ban"
)

// serverFaults are the reasons that blame the server: the password was not even
// looked at. A client that asks for a broken mechanism gets its answer also
// where the authentication server is well.
var serverFaults = []struct {
	text, reason string
	dead         bool // the authentication server
}{
	{"Connection lost to authentication server", isServerFault, true}, // xsasl_dovecot_server.c
	{"no mechanism available", isServerFault, false},                  // Cyrus: known to Postfix, not to the library
	{"Invalid authentication mechanism", isNoMechanism, false},        // smtpd_sasl_proto.c, since 2.5.2
}

// judgeSASL reads what follows ": SASL ":
//
//	LOGIN authentication failed: REASON, sasl_username=USER
//	LOGIN authentication aborted
//
// The mechanism is the client's own word and may be anything, but one that is
// not made as RFC 4422 section 3.1 says (in any case: Postfix compares so) was
// never tried.
func (l *Line) judgeSASL(rest string) bool {
	l.told = true
	mechanism, what, ok := strings.Cut(rest, " authentication ")
	failed := strings.HasPrefix(what, "failed") && (len(what) == len("failed") || what[len("failed")] == ':')
	switch {
	case !ok:
		return false
	case isMechanism(mechanism) && what == "aborted":
		l.Class, l.Reason = 0, isAborted
		return true
	case !isMechanism(mechanism), !failed && strings.Contains(what, " authentication "): // Postfix's own words come later
		l.Class, l.Reason = 0, isNoMechanism
		return strings.Contains(rest, " authentication failed") || strings.HasSuffix(rest, " authentication aborted")
	case !failed:
		return false
	}
	l.mechanism = mechanism
	why := strings.TrimPrefix(strings.TrimPrefix(what[len("failed"):], ":"), " ")
	for _, fault := range serverFaults {
		if strings.HasPrefix(why, fault.text) {
			l.Class, l.Reason, l.dead = 0, fault.reason, fault.dead
			return true
		}
	}
	l.generic = strings.HasPrefix(why, "generic failure")
	l.User = cutUser(why)
	return true
}

func isMechanism(s string) bool {
	for i := range len(s) {
		b := s[i]
		if !('a' <= b && b <= 'z' || isUpper(b) || isDigit(b) || b == '-' || b == '_') {
			return false
		}
	}
	return s != ""
}

// cutUser returns the login name at the end of a SASL line. The name may hold
// anything, its own ", sasl_username=" included: it is for display only.
func cutUser(s string) string {
	const label = ", sasl_username="
	at := strings.LastIndex(s, label)
	if at < 0 {
		return ""
	}
	user := s[at+len(label):]
	if user == "(unavailable)" {
		return ""
	}
	return user
}

// judgeClient reads what follows the client where mail is accepted:
//
//	, sasl_method=LOGIN, sasl_username=USER, sasl_sender=…, orig_client=…
func (l *Line) judgeClient(rest string) bool {
	at := strings.Index(rest, ", sasl_username=")
	switch {
	case rest != "" && rest[0] != ',':
		return false
	case at < 0:
		l.Reason = isNoLogin
		return true
	}
	l.Class = ban.Login
	l.User = rest[at+len(", sasl_username="):]
	for _, next := range []string{", sasl_sender=", ", orig_queue_id=", ", orig_client="} {
		l.User, _, _ = strings.Cut(l.User, next)
	}
	return true
}

// maxFailed is as many failures as can matter: no maxretry is greater. Postfix
// itself cuts off earlier, but a file may say anything.
const maxFailed = 1000

// judgeDisconnect reads the statistics of a session, since 3.0:
//
//	ehlo=1 auth=1/3 mail=1 quit=1 commands=4/6
//
// A command has its successes and, if there are more, its total after a slash.
func (l *Line) judgeDisconnect(rest string) bool {
	succeeded, failed := statistic(rest, " auth=")
	clients, _ := statistic(rest, " xclient=")
	switch {
	case clients > 1:
		l.Reason = isMixed
	case succeeded > 0:
		l.Class = ban.Login
	case failed > 0:
		l.Class, l.failed = ban.AuthUnlogged, min(failed, maxFailed)
	default:
		l.Reason = isEnd
	}
	return true
}

// statistic returns how often a command succeeded and failed, by its label.
func statistic(rest, label string) (succeeded, failed int) {
	at := strings.Index(rest, label)
	if at < 0 {
		return 0, 0
	}
	succeeded, rest = cutNumber(rest[at+len(label):])
	if after, ok := strings.CutPrefix(rest, "/"); ok {
		total, _ := cutNumber(after)
		failed = max(0, total-succeeded)
	}
	return succeeded, failed
}
