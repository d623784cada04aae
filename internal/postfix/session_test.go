package postfix

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
)

var epoch = time.Date(2026, time.March, 1, 8, 0, 0, 0, time.UTC)

// logged is a line of a process, so many seconds after the epoch.
func logged(second float64, process, message string) journal.Entry {
	identifier, pid, _ := strings.Cut(process, "[")
	e := entry(identifier, message)
	fmt.Sscan(strings.TrimSuffix(pid, "]"), &e.PID)
	e.Time = epoch.Add(time.Duration(second * float64(time.Second)))
	return e
}

// fold tells what the lines of a log, "SECOND PROCESS MESSAGE" each, mean: a
// class for each event and "-" for a line without any.
func fold(t *testing.T, sessions *Sessions, log string) (findings []string) {
	t.Helper()
	for line := range strings.Lines(log) {
		fields := strings.SplitN(strings.TrimSpace(line), " ", 3)
		if len(fields) < 3 {
			continue
		}
		var second float64
		if _, err := fmt.Sscan(fields[0], &second); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		e := logged(second, "postfix/"+fields[1], fields[2])
		f := sessions.Add(e, Parse(e))
		found := "-"
		if f.Times > 0 {
			found = f.Event.Class.String()
		}
		if f.Times > 1 {
			found += fmt.Sprintf(" x%d", f.Times)
		}
		findings = append(findings, found)
	}
	return findings
}

func TestOneAttemptCountsOnce(t *testing.T) {
	for name, tc := range map[string]struct{ log, want string }{
		"a refused password and the statistics of its session": {`
			0 smtpd[1] connect from unknown[203.0.113.9]
			1 smtpd[1] warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: UGFzc3dvcmQ6
			2 smtpd[1] lost connection after AUTH from unknown[203.0.113.9]
			2 smtpd[1] disconnect from unknown[203.0.113.9] ehlo=1 auth=0/1 commands=1/2`,
			"-, sasl-auth, -, -"},
		"AUTH commands of which the statistics alone tell": {`
			0 smtpd[1] connect from unknown[203.0.113.9]
			2 smtpd[1] disconnect from unknown[203.0.113.9] ehlo=1 auth=0/3 quit=1 commands=2/5`,
			"-, auth-unlogged x3"},
		"more failures by the statistics than lines": {`
			1 smtpd[1] warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x
			2 smtpd[1] disconnect from unknown[203.0.113.9] ehlo=1 auth=0/3 quit=1 commands=2/5`,
			"sasl-auth, auth-unlogged x2"},
		"more lines than failures by the statistics": {`
			1 smtpd[1] warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x
			1 smtpd[1] warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x
			2 smtpd[1] disconnect from unknown[203.0.113.9] ehlo=1 auth=0/1 quit=1 commands=2/5`,
			"sasl-auth, sasl-auth, -"},
		"a mistake and then the right password": {`
			1 submission/smtpd[1] warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x
			2 submission/smtpd[1] disconnect from unknown[203.0.113.9] ehlo=1 auth=1/2 quit=1 commands=2/5`,
			"sasl-auth, login"},
		"who knows the password in the end is excused for what was not even looked at": {`
			2 smtpd[1] disconnect from unknown[203.0.113.9] ehlo=1 auth=1/3 quit=1 commands=2/5`,
			"login"},
		"statistics of several clients accuse none": {`
			0 smtpd[1] connect from proxy.example.org[192.0.2.1]
			1 smtpd[1] warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x
			2 smtpd[1] disconnect from unknown[203.0.113.10] ehlo=1 xclient=2 auth=0/1 commands=1/2`,
			"-, sasl-auth, -"},
		"the server's own faults are in the statistics, too": {`
			1 smtpd[1] warning: unknown[203.0.113.9]: SASL CRAM-MD5 authentication failed: no mechanism available, sasl_username=(unavailable)
			1 smtpd[1] warning: unknown[203.0.113.9]: SASL PLAIN authentication failed: Connection lost to authentication server
			2 smtpd[1] disconnect from unknown[203.0.113.9] ehlo=1 auth=0/3 quit=1 commands=2/5`,
			"-, -, auth-unlogged"},
		"and so are aborted dialogues": {`
			1 smtpd[1] warning: unknown[203.0.113.9]: SASL LOGIN authentication aborted
			2 smtpd[1] disconnect from unknown[203.0.113.9] ehlo=1 auth=0/1 quit=1 commands=2/3`,
			"-, -"},
		"and AUTH commands over the rate limit": {`
			1 smtpd[1] warning: AUTH command rate limit exceeded: 3 from unknown[203.0.113.9] for service smtp
			1 smtpd[1] warning: AUTH command rate limit exceeded: 4 from unknown[203.0.113.9] for service smtp
			2 smtpd[1] disconnect from unknown[203.0.113.9] ehlo=1 auth=0/2 quit=1 commands=2/3`,
			"auth-rate-limit, auth-rate-limit, -"},
		"saslauthd does not answer": {`
			1 smtpd[1] warning: SASL authentication failure: cannot connect to saslauthd server: No such file or directory
			1 smtpd[1] warning: unknown[203.0.113.9]: SASL PLAIN authentication failed: generic failure
			2 smtpd[1] warning: unknown[203.0.113.9]: SASL PLAIN authentication failed: generic failure
			3 smtpd[1] disconnect from unknown[203.0.113.9] ehlo=1 auth=0/2 quit=1 commands=2/3`,
			"-, -, sasl-auth, -"},
		"another process's saslauthd is no excuse": {`
			1 smtpd[2] warning: SASL authentication failure: cannot connect to saslauthd server: No such file or directory
			1 smtpd[1] warning: unknown[203.0.113.9]: SASL PLAIN authentication failed: generic failure`,
			"-, sasl-auth"},
		"nor is an outage before the client came": {`
			1 smtpd[1] warning: SASL authentication failure: cannot connect to saslauthd server: No such file or directory
			2 smtpd[1] connect from unknown[203.0.113.9]
			3 smtpd[1] warning: unknown[203.0.113.9]: SASL PLAIN authentication failed: generic failure`,
			"-, -, sasl-auth"},
		"a connection lost in AUTH, before Postfix had statistics": {`
			1 smtpd[1] lost connection after AUTH from unknown[203.0.113.9]
			2 smtpd[1] disconnect from unknown[203.0.113.9]`,
			"-, lost-connection-after-auth"},
		"the same after a refused password": {`
			0 smtpd[1] warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x
			1 smtpd[1] lost connection after AUTH from unknown[203.0.113.9]
			2 smtpd[1] disconnect from unknown[203.0.113.9]`,
			"sasl-auth, -, -"},
		"a connection lost in AUTH, with statistics": {`
			1 smtpd[1] NOQUEUE: lost connection after AUTH from unknown[203.0.113.9]
			2 smtpd[1] disconnect from unknown[203.0.113.9] ehlo=1 auth=0/1 commands=1/2`,
			"-, auth-unlogged"},
		"a connection lost after the right password": {`
			1 smtpd[1] lost connection after AUTH from unknown[203.0.113.9]
			2 smtpd[1] disconnect from unknown[203.0.113.9] ehlo=1 auth=1 commands=2`,
			"-, login"},
		"relaying until it was too much": {`
			1 smtpd[1] NOQUEUE: reject: RCPT from unknown[203.0.113.9]: 554 5.7.1 <a@example.org>: Relay access denied; from=<b@example.org>
			2 smtpd[1] too many errors after RCPT from unknown[203.0.113.9]
			3 smtpd[1] disconnect from unknown[203.0.113.9] ehlo=1 mail=1 rcpt=0/1 commands=2/3`,
			"relay-denied, -, -"},
		"our own outage until it was too much": {`
			1 smtpd[1] NOQUEUE: reject: RCPT from lists.example.org[198.51.100.70]: 451 4.3.0 <a@example.org>: Temporary lookup failure; from=<b@example.org>
			2 smtpd[1] too many errors after RCPT from lists.example.org[198.51.100.70]`,
			"-, -"},
		"greylisting, block lists and unknown users until it was too much": {`
			1 smtpd[1] NOQUEUE: reject: RCPT from lists.example.org[198.51.100.70]: 450 4.2.0 <a@example.org>: Recipient address rejected: Greylisted; from=<b@example.org>
			2 smtpd[1] too many errors after RCPT from lists.example.org[198.51.100.70]
			3 smtpd[2] NOQUEUE: reject: RCPT from lists.example.org[198.51.100.70]: 554 5.7.1 Service unavailable; Client host [198.51.100.70] blocked using dnsbl.example.net; from=<b@example.org>
			4 smtpd[2] too many errors after RCPT from lists.example.org[198.51.100.70]
			5 smtpd[3] NOQUEUE: reject: RCPT from lists.example.org[198.51.100.70]: 550 5.1.1 <a@example.org>: Recipient address rejected: User unknown; from=<b@example.org>
			6 smtpd[3] too many errors after RCPT from lists.example.org[198.51.100.70]`,
			"-, -, dnsbl, -, user-unknown, -"},
		"the server's fault until it was too much": {`
			1 smtpd[1] warning: unknown[203.0.113.9]: SASL CRAM-MD5 authentication failed: no mechanism available, sasl_username=(unavailable)
			2 smtpd[1] too many errors after AUTH from unknown[203.0.113.9]`,
			"-, -"},
		"junk until it was too much": {`
			2 smtpd[1] too many errors after UNKNOWN from unknown[203.0.113.9]
			3 smtpd[1] disconnect from unknown[203.0.113.9] ehlo=1 unknown=0/20 commands=1/21`,
			"too-many-errors, -"},
		"passwords until it was too much": {`
			1 smtpd[1] warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x
			2 smtpd[1] too many errors after AUTH from unknown[203.0.113.9]`,
			"sasl-auth, -"},
		"the next session of the process is another one": {`
			1 smtpd[1] warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x
			2 smtpd[1] disconnect from unknown[203.0.113.9] ehlo=1 auth=0/1 commands=1/2
			3 smtpd[1] connect from unknown[203.0.113.9]
			4 smtpd[1] too many errors after AUTH from unknown[203.0.113.9]`,
			"sasl-auth, -, -, too-many-errors"},
		"even if the end of the first was lost": {`
			1 smtpd[1] warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x
			3 smtpd[1] connect from unknown[203.0.113.9]
			4 smtpd[1] too many errors after AUTH from unknown[203.0.113.9]`,
			"sasl-auth, -, too-many-errors"},
		"a failed handshake": {`
			1 smtpd[1] SSL_accept error from unknown[203.0.113.9]: lost connection
			2 smtpd[1] lost connection after STARTTLS from unknown[203.0.113.9]`,
			"tls-error, -"},
		"pipelining, and its rejects": {`
			1 smtpd[1] improper command pipelining after HELO from unknown[203.0.113.9]: MAIL
			2 smtpd[1] NOQUEUE: reject: DATA from unknown[203.0.113.9]: 503 5.5.0 <DATA>: Data command rejected: Improper use of SMTP command pipelining; from=<a>`,
			"pipelining, -"},
		"another offence in a session with one": {`
			1 smtpd[1] improper command pipelining after HELO from unknown[203.0.113.9]: MAIL
			2 smtpd[1] NOQUEUE: reject: RCPT from unknown[203.0.113.9]: 554 5.7.1 <a@example.org>: Relay access denied; from=<b@example.org>`,
			"pipelining, relay-denied"},
		"a test of postscreen, its rejects and the end": {`
			0 postscreen[1] CONNECT from [203.0.113.9]:4711 to [192.0.2.10]:25
			1 postscreen[1] PREGREET 11 after 0.05 from [203.0.113.9]:4711: EHLO x
			2 postscreen[1] NOQUEUE: reject: RCPT from [203.0.113.9]:4711: 550 5.5.1 Protocol error; from=<a>, to=<b>
			2 postscreen[1] NOQUEUE: reject: RCPT from [203.0.113.9]:4711: 550 5.5.1 Protocol error; from=<a>, to=<c>
			3 postscreen[1] HANGUP after 1.2 from [203.0.113.9]:4711 in tests after SMTP handshake
			4 postscreen[1] DISCONNECT [203.0.113.9]:4711`,
			"-, pregreet, -, -, -, -"},
		"content sent too early is taken for commands": {`
			1 smtpd[1] improper command pipelining after DATA from unknown[203.0.113.9]: Subject: hello
			2 smtpd[1] warning: non-SMTP command from unknown[203.0.113.9]: Subject: hello`,
			"pipelining, -"},
		"one postscreen, two connections of a client": {`
			1 postscreen[1] PREGREET 11 after 0.05 from [203.0.113.9]:4711: EHLO x
			1 postscreen[1] PREGREET 11 after 0.05 from [203.0.113.9]:4712: EHLO x
			2 postscreen[1] NOQUEUE: reject: RCPT from [203.0.113.9]:4713: 550 5.5.1 Protocol error; from=<a>, to=<b>`,
			"pregreet, pregreet, pregreet"},
		"XCLIENT changes the client in mid-session": {`
			0 smtpd[1] connect from proxy.example.org[192.0.2.1]
			1 smtpd[1] warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x
			2 smtpd[1] disconnect from unknown[203.0.113.9] ehlo=1 auth=0/1 commands=1/2`,
			"-, sasl-auth, -"},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(fold(t, NewSessions(), tc.log), ", ")
			if got != tc.want {
				t.Errorf("found %s\nwant  %s", got, tc.want)
			}
		})
	}
}

// by returns a refused password of a user, by a mechanism.
func by(second float64, mechanism, user string) string {
	return fmt.Sprintf("%v submission/smtpd[1] warning: unknown[203.0.113.9]: SASL %s authentication failed: x, sasl_username=%s\n", second, mechanism, user)
}

func TestOnePasswordByAllMechanismsIsOneFailure(t *testing.T) {
	long := strings.Repeat("a", 65)
	for name, tc := range map[string]struct{ log, want string }{
		"within ten seconds": {by(0, "LOGIN", "alice") + by(1, "PLAIN", "alice") + by(10, "CRAM-MD5", "alice"), "sasl-auth, -, -"},
		"later":              {by(0, "LOGIN", "alice") + by(10.1, "PLAIN", "alice"), "sasl-auth, sasl-auth"},
		"the same mechanism again, however it is written": {
			by(0, "LOGIN", "alice") + by(1, "login", "alice") + by(2, "PLAIN", "alice") + by(3, "Plain", "alice"),
			"sasl-auth, sasl-auth, -, sasl-auth"},
		"other users":             {by(0, "LOGIN", "alice") + by(1, "PLAIN", "bob") + by(2, "PLAIN", "alice"), "sasl-auth, sasl-auth, -"},
		"no user name":            {by(0, "LOGIN", "(unavailable)") + by(1, "PLAIN", "(unavailable)"), "sasl-auth, sasl-auth"},
		"too long a name to tell": {by(0, "LOGIN", long) + by(1, "PLAIN", long), "sasl-auth, sasl-auth"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(fold(t, NewSessions(), tc.log), ", "); got != tc.want {
				t.Errorf("found %s\nwant  %s", got, tc.want)
			}
		})
	}
}

// A rejected recipient does not say which test has failed. Whatever points that
// one has, the recipient adds nothing.
func TestARejectedRecipientIsOneWithTheTestOfPostscreen(t *testing.T) {
	const log = `
		1 postscreen[1] BARE NEWLINE from [203.0.113.9]:4711 after EHLO x
		2 postscreen[1] NOQUEUE: reject: RCPT from [203.0.113.9]:4711: 550 5.5.1 Protocol error; from=<a>, to=<b>
		3 postscreen[1] DISCONNECT [203.0.113.9]:4711
		4 postscreen[1] NOQUEUE: reject: RCPT from [203.0.113.9]:4711: 550 5.5.1 Protocol error; from=<a>, to=<b>`
	if got, want := strings.Join(fold(t, NewSessions(), log), ", "), "bare-newline, -, -, pregreet"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
}

// Which lines belong together is not known then, so that only those count which
// tell of an attempt of their own.
func TestWithoutAProcessNothingCountsTwice(t *testing.T) {
	var got []string
	sessions := NewSessions()
	for _, message := range []string{
		"warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x",
		"lost connection after AUTH from unknown[203.0.113.9]",
		"disconnect from unknown[203.0.113.9] ehlo=1 auth=0/1 commands=1/2",
		"disconnect from unknown[203.0.113.9] ehlo=1 auth=1/3 commands=2/4",
		"disconnect from unknown[203.0.113.9]",
		"warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: x",
	} {
		e := entry("postfix/smtpd", message)
		e.PID = 0
		f := sessions.Add(e, Parse(e))
		got = append(got, fmt.Sprintf("%v %d", f.Event.Class, f.Times))
	}
	want := []string{"sasl-auth 1", "lost-connection-after-auth 0", "auth-unlogged 0", "login 1", " 0", "sasl-auth 1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if changes := sessions.Changes(); len(changes) > 0 {
		t.Errorf("%d sessions of nobody", len(changes))
	}
}

func TestEventKeepsWhatFindsItsLineAgain(t *testing.T) {
	in := logged(7, "postfix/submission/smtpd[244]", "warning: mail.example.org[203.0.113.9]: SASL LOGIN authentication failed: x, sasl_username=alice")
	got := NewSessions().Add(in, Parse(in))
	want := Finding{Times: 1, Event: ban.Event{
		Time: in.Time, Boot: in.Boot, Identifier: in.Identifier, PID: 244,
		Service: "submission", Class: ban.SASLAuth, Address: netip.MustParseAddr("203.0.113.9"),
		Name: "mail.example.org", User: "alice",
	}}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The owner of a domain puts what he likes before its name, but not after it: of a
// long name the end is kept, so that it is still seen whose it is.
func TestEventKeepsTheEndOfALongName(t *testing.T) {
	const domain = ".example.org"
	for _, name := range []string{
		strings.Repeat("a", ban.MaxName-len(domain)) + domain,
		strings.Repeat("a", ban.MaxName-len(domain)+1) + domain,
		"mail.example.com." + strings.Repeat("long.", 40) + "evil.test",
	} {
		in := logged(7, "postfix/smtpd[244]", "warning: "+name+"[203.0.113.9]: SASL LOGIN authentication failed: x")
		if got, want := NewSessions().Add(in, Parse(in)).Event.Name, name[len(name)-ban.MaxName:]; got != want {
			t.Errorf("of %s is kept %q, want %q", name, got, want)
		}
	}
}

// The attempt is the one at which the connection was lost, not at the end.
func TestLostConnectionIsDatedByItsOwnLine(t *testing.T) {
	sessions := NewSessions()
	lost := logged(1, "postfix/smtpd[1]", "lost connection after AUTH from unknown[203.0.113.9]")
	end := logged(9, "postfix/smtpd[1]", "disconnect from unknown[203.0.113.9]")
	sessions.Add(lost, Parse(lost))
	if got := sessions.Add(end, Parse(end)).Event; got.Class != ban.LostConnectionAfterAuth || !got.Time.Equal(lost.Time) {
		t.Errorf("found %v at %v", got.Class, got.Time)
	}
}

// A client gets "no mechanism available" by asking for a mechanism that is broken,
// however well the authentication server is.
func TestFaultIsWhenTheAuthenticationServerDidNotAnswer(t *testing.T) {
	var got []string
	sessions := NewSessions()
	for second, message := range []string{
		"warning: unknown[203.0.113.9]: SASL PLAIN authentication failed: Connection lost to authentication server",
		"warning: SASL authentication failure: cannot connect to saslauthd server: No such file or directory",
		"warning: unknown[203.0.113.9]: SASL PLAIN authentication failed: generic failure",
		"warning: unknown[203.0.113.9]: SASL PLAIN authentication failed: generic failure",
		"warning: unknown[203.0.113.9]: SASL CRAM-MD5 authentication failed: no mechanism available",
		"warning: unknown[203.0.113.9]: SASL X authentication failed: Invalid authentication mechanism: 'X'",
		"warning: unknown[203.0.113.9]: SASL PLAIN authentication failed: x, sasl_username=Connection lost to authentication server",
	} {
		in := logged(float64(second), "postfix/smtpd[1]", message)
		f := sessions.Add(in, Parse(in))
		when := "no fault"
		if !f.Fault.IsZero() {
			when = f.Fault.Sub(epoch).String()
		}
		got = append(got, fmt.Sprintf("%s, counts %d times", when, f.Times))
	}
	want := []string{
		"0s, counts 0 times", "no fault, counts 0 times", "2s, counts 0 times", "no fault, counts 1 times",
		"no fault, counts 0 times", "no fault, counts 0 times", "no fault, counts 1 times",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
