package ban

import (
	"fmt"
	"strconv"
	"strings"
)

// Class is a kind of abuse, or a success that speaks for a client. Its number is
// stored and never changes its meaning; a number that this version does not
// know is kept as it is.
type Class uint8

// The classes known to this version.
const (
	SASLAuth                Class = 1  // a password was refused
	RelayDenied             Class = 2  // mail for elsewhere was refused
	UserUnknown             Class = 3  // a recipient does not exist
	DNSBL                   Class = 4  // a DNS block list names the client, or what it said of itself
	HeloReject              Class = 5  // the name in HELO or EHLO was refused
	ClientReject            Class = 6  // its name or address was refused
	SenderReject            Class = 7  // the sender address was refused
	PolicyReject            Class = 8  // an access table or policy service refused, in the operator's words
	MilterReject            Class = 9  // a milter refused
	Pipelining              Class = 10 // it did not wait for replies where it must
	NonSMTP                 Class = 11 // it does not speak SMTP
	TooManyErrors           Class = 12 // cut off after smtpd_hard_error_limit
	LostConnectionAfterAuth Class = 13 // gone during AUTH, and nothing else tells of the attempt
	LostConnection          Class = 14 // gone, or silent, in mid-session
	RateLimit               Class = 15 // over one of anvil's limits, except the next
	AuthRateLimit           Class = 16 // over smtpd_client_auth_rate_limit
	TLSError                Class = 17 // the TLS handshake failed
	BareNewline             Class = 18 // a line ended in LF alone
	Pregreet                Class = 19 // it spoke before it was greeted
	DNSBLRank               Class = 20 // its rank at postscreen's DNS block lists is high
	PostscreenLimit         Class = 21 // over one of postscreen's limits on commands
	Hangup                  Class = 22 // it hung up during postscreen's tests
	RDNSMismatch            Class = 23 // its host name does not resolve to its address
	AuthUnlogged            Class = 24 // an AUTH command failed that no line of its own tells of
	Login                   Class = 25 // a password was right; never counts
)

// classNames lists every class in the order in which people should see them.
var classNames = []struct {
	class Class
	name  string
}{
	{SASLAuth, "sasl-auth"},
	{AuthUnlogged, "auth-unlogged"},
	{AuthRateLimit, "auth-rate-limit"},
	{LostConnectionAfterAuth, "lost-connection-after-auth"},
	{RelayDenied, "relay-denied"},
	{UserUnknown, "user-unknown"},
	{DNSBL, "dnsbl"},
	{HeloReject, "helo-reject"},
	{ClientReject, "client-reject"},
	{SenderReject, "sender-reject"},
	{PolicyReject, "policy-reject"},
	{MilterReject, "milter-reject"},
	{NonSMTP, "non-smtp"},
	{Pipelining, "pipelining"},
	{BareNewline, "bare-newline"},
	{TooManyErrors, "too-many-errors"},
	{LostConnection, "lost-connection"},
	{RateLimit, "rate-limit"},
	{TLSError, "tls-error"},
	{RDNSMismatch, "rdns-mismatch"},
	{Pregreet, "pregreet"},
	{DNSBLRank, "dnsbl-rank"},
	{PostscreenLimit, "postscreen-limit"},
	{Hangup, "hangup"},
	{Login, "login"},
}

// Classes returns every known class.
func Classes() []Class {
	all := make([]Class, 0, len(classNames))
	for _, c := range classNames {
		all = append(all, c.class)
	}
	return all
}

// Offences returns the classes that may be given a weight: all but successes.
func Offences() []Class {
	all := Classes()
	return all[:len(all)-1] // Login is the last
}

// ParseClass finds an offence by its name. The error lists the known ones.
func ParseClass(name string) (Class, error) {
	if name == Login.String() {
		return 0, fmt.Errorf("a login is a success and never counts")
	}
	known := make([]string, 0, len(classNames))
	for _, c := range Offences() {
		if c.String() == name {
			return c, nil
		}
		known = append(known, c.String())
	}
	return 0, fmt.Errorf("unknown class %q; known: %s", name, strings.Join(known, ", "))
}

// ReadClass finds a class by what String returns: successes, and those that this
// version has no name for, included.
func ReadClass(name string) (Class, error) {
	for _, k := range classNames {
		if k.name == name {
			return k.class, nil
		}
	}
	if digits, ok := strings.CutPrefix(name, numbered); ok {
		if n, err := strconv.ParseUint(digits, 10, 8); err == nil && n > 0 {
			return Class(n), nil
		}
	}
	return 0, fmt.Errorf("unknown class %q", name)
}

// numbered begins the name of a class that this version has none for.
const numbered = "class-"

// String returns the class's name, "" for none.
func (c Class) String() string {
	if c == 0 {
		return ""
	}
	for _, k := range classNames {
		if k.class == c {
			return k.name
		}
	}
	return numbered + strconv.Itoa(int(c))
}
