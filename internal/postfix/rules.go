package postfix

import (
	"strings"

	"smtpban/internal/ban"
)

// rule says how one kind of line looks: text, client, text, and then something
// that the rule itself must accept. A new class of abuse is a new row here plus
// its sample lines in testdata.
type rule struct {
	program string
	before  string // from the first byte of the message up to the client
	after   string // directly after the client
	class   ban.Class

	// accept judges the rest of the line and returns the login name in it.
	accept func(rest string) (user string, ok bool)
}

var rules = []rule{
	// smtpd_sasl_glue.c, smtpd_sasl_authenticate(), since Postfix 2.3;
	// the user name since 3.9, 3.8.3, 3.7.8, 3.6.12 and 3.5.22:
	//
	//	warning: NAME[ADDR]: SASL LOGIN authentication failed: REASON, sasl_username=USER
	{"smtpd", "warning: ", ": SASL ", ban.SASLAuth, acceptSASL},
}

// serverFaults are the reasons that blame the server: the password was not even
// looked at.
var serverFaults = []string{
	"Connection lost to authentication server", // xsasl_dovecot_server.c
	"no mechanism available",                   // Cyrus: known to Postfix, not to the library
	"Invalid authentication mechanism",         // smtpd_sasl_proto.c, since 2.5.2
}

// acceptSASL judges what follows ": SASL ". The mechanism is the client's own
// word and may be anything, but one that is not made as RFC 4422 section 3.1
// says (in any case: Postfix compares so) was never tried.
func acceptSASL(rest string) (user string, ok bool) {
	mechanism, rest, ok := strings.Cut(rest, " authentication failed")
	if !ok || !isMechanism(mechanism) {
		return "", false
	}
	if rest == "" {
		return "", true // up to 2.2, and where there is no reason
	}
	rest, ok = strings.CutPrefix(rest, ":")
	if !ok {
		return "", false
	}
	reason := strings.TrimPrefix(rest, " ")
	for _, fault := range serverFaults {
		if strings.HasPrefix(reason, fault) {
			return "", false
		}
	}
	return cutUser(reason), true
}

func isMechanism(s string) bool {
	for i := range len(s) {
		b := s[i]
		if !('a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '-' || b == '_') {
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
