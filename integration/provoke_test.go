package integration

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A provocation is what a client does to make Postfix write lines about it.
type provocation struct {
	class string     // what the lines tell, one of classes
	from  netip.Addr // an address that nobody else comes from
	do    func(client) error
	logs  logs
}

// logs are messages in the form that pattern explains.
type logs []string

// innocent is the class of lines from which nothing follows against the client.
const innocent = ""

// harmless are classes that smtpban has no name for, since they are nothing to
// hold against a client either.
var harmless = []string{innocent, "address-syntax", "no-guess", "server-fault"}

// classes are all but the innocent one. Each has a provocation, or the test fails.
var classes = []string{
	"address-syntax",
	"auth-rate-limit",
	"auth-unlogged",
	"bare-newline",
	"client-reject",
	"dnsbl",
	"dnsbl-rank",
	"hangup",
	"helo-reject",
	"login",
	"lost-connection",
	"lost-connection-after-auth",
	"milter-reject",
	"no-guess",
	"non-smtp",
	"pipelining",
	"policy-reject",
	"postscreen-limit",
	"pregreet",
	"rate-limit",
	"rdns-mismatch",
	"relay-denied",
	"sasl-auth",
	"sender-reject",
	"server-fault",
	"tls-error",
	"too-many-errors",
	"user-unknown",
}

// anyone is replaced by the next free address of 203.0.113.0/24.
var anyone netip.Addr

// The clients about whom somebody knows something.
var (
	named         = netip.MustParseAddr("198.51.100.110")        // has a name that resolves to it
	named6        = netip.MustParseAddr("2001:db8:bad:ffff::11") // so does this one
	misnamed      = netip.MustParseAddr("198.51.100.120")        // has the name of somebody else
	misnamedToo   = netip.MustParseAddr("198.51.100.121")
	deadNamed     = netip.MustParseAddr("198.51.100.122") // has a name without any address
	slowNamed     = netip.MustParseAddr("198.51.100.123") // its name takes a while to find
	slowNamedToo  = netip.MustParseAddr("198.51.100.124")
	listed        = netip.MustParseAddr("198.51.100.130") // is on the block list
	listedWarned  = netip.MustParseAddr("198.51.100.131")
	listedAtEntry = netip.MustParseAddr("198.51.100.132")
	listedCutOff  = netip.MustParseAddr("198.51.100.133")
	unwanted      = netip.MustParseAddr("198.51.100.140") // is in smtpd's access list
	filtered      = netip.MustParseAddr("198.51.100.141") // in the milter's
	denied        = netip.MustParseAddr("198.51.100.142") // in postscreen's
	deniedCutOff  = netip.MustParseAddr("198.51.100.143")
	allowed       = netip.MustParseAddr("198.51.100.144")
	host6         = netip.MustParseAddr("2001:db8:bad:1::1")
	neighbor6     = netip.MustParseAddr("2001:db8:bad:1::2")
	other6        = netip.MustParseAddr("2001:db8:bad:2::1")
	relaying6     = netip.MustParseAddr("2001:db8:bad:3::1")
	leaving6      = netip.MustParseAddr("2001:db8:bad:4::1")
	talking6      = netip.MustParseAddr("2001:db8:bad:5::1")
)

// provocations returns all that work with a release of Postfix.
func provocations(release string) []provocation {
	all := slices.Concat(wrongPasswords, rightLogins, unloggedLogins, lostLogins, faultyLogins,
		forbidden, unwelcome, overruled, unserved,
		misbehaving, excessive, unencrypted, departed, talkative, screened, welcome)
	if release != "3.7" {
		all = append(all, noted...)
	}
	free := netip.MustParseAddr("203.0.113.0")
	for i := range all {
		if all[i].from == anyone {
			free = free.Next()
			all[i].from = free
		}
	}
	return all
}

// provoke lets everything happen, several at a time.
func provoke(t *testing.T, n network, all []provocation) {
	t.Helper()
	const atOnce = 24 // most of them wait
	var (
		workers sync.WaitGroup
		places  = make(chan struct{}, atOnce)
	)
	for _, p := range all {
		workers.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			if err := p.do(client{n, p.from}); err != nil {
				t.Errorf("provoking %q from %s: %v", p.class, p.from, err)
			}
		})
	}
	workers.Wait()
}

const (
	ehlo      = "EHLO client.example.test"
	someone   = "someone@example.org"
	elsewhere = "victim@example.org"
	mailbox   = alice + "@" + mailHost
	nobody    = "nosuch@" + mailHost
	hello     = "Subject: hello\r\n\r\nhello\r\n."

	httpRequest = "GET / HTTP/1.1\r\nHost: mx.example.test\r\n\r\n"
)

// longLine is longer than a command may be.
var longLine = "NOOP " + strings.Repeat("x", 3000)

// letter is what a client says to send a mail; more goes before QUIT.
func letter(from, to string, more ...string) []string {
	lines := []string{ehlo, "MAIL FROM:<" + from + ">", "RCPT TO:<" + to + ">"}
	return append(append(lines, more...), "QUIT")
}

// says returns a deed: to wait for the greeting, to send each line when the one
// before is answered, and to hang up. Who wants to leave politely says QUIT.
func says(port uint16, lines ...string) func(client) error {
	return func(c client) error { return c.talk(port, lines...) }
}

// repeats returns a deed: to talk several times.
func repeats(n int, port uint16, lines ...string) func(client) error {
	return func(c client) error {
		for range n {
			if err := c.talk(port, lines...); err != nil {
				return err
			}
		}
		return nil
	}
}

// stays returns a deed: to talk and then to say nothing until the server hangs up.
func stays(port uint16, lines ...string) func(client) error {
	return func(c client) error {
		s := c.open(port)
		s.hear()
		s.ask(lines...)
		s.drain()
		return s.close()
	}
}

// shouts returns a deed: to send everything at once after some talk, whatever
// the server says, until it hangs up.
func shouts(port uint16, talk []string, text string) func(client) error {
	return func(c client) error {
		s := c.open(port)
		s.hear()
		s.ask(talk...)
		s.send(text)
		s.drain()
		return s.close()
	}
}

// blurts returns a deed: to send everything without waiting for the greeting.
func blurts(port uint16, text string) func(client) error {
	return func(c client) error {
		s := c.open(port)
		s.send(text)
		s.drain()
		return s.close()
	}
}

// inOneBreath is a session that does not wait for any reply.
func inOneBreath(lines []string) string { return strings.Join(lines, "\r\n") + "\r\n" }

// times repeats a line after a first one.
func times(n int, first, line string) []string {
	return append([]string{first}, slices.Repeat([]string{line}, n)...)
}
