package integration

import "encoding/base64"

// encoded is how AUTH carries everything.
func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

var (
	wrongLogin = "AUTH PLAIN " + encoded("\x00"+alice+"\x00wrong")
	rightLogin = "AUTH PLAIN " + encoded("\x00"+alice+"\x00"+password)
)

// guess returns a deed: to try a wrong password by each mechanism in turn.
func guess(port uint16, mechanisms ...string) func(client) error {
	return guessFor(port, alice, mechanisms...)
}

func guessFor(port uint16, user string, mechanisms ...string) func(client) error {
	return func(c client) error {
		s := c.open(port)
		s.hear()
		s.ask(ehlo)
		for _, m := range mechanisms {
			if s.err == nil {
				_, s.err = authenticate(s.text, login{m, user, "wrong"})
			}
		}
		s.ask("QUIT")
		return s.close()
	}
}

// failure is the line of a login that did not work.
func failure(mechanism, reason string) string {
	return `warning: CLIENT: SASL ` + mechanism + ` authentication failed: ` + reason + `, sasl_username=.+`
}

const (
	byCyrus   = `authentication failure`
	byDovecot = `\(reason unavailable\)`
)

// wrongPasswords are logins that fail because of the client.
var wrongPasswords = []provocation{
	{"sasl-auth", anyone, guess(plainPort, "LOGIN"), logs{
		failure("LOGIN", byCyrus), `disconnect from CLIENT ehlo=1 auth=0/1 quit=1 commands=2/3`,
	}},
	{"sasl-auth", anyone, guess(plainPort, "PLAIN"), logs{failure("PLAIN", byCyrus)}},
	{"sasl-auth", anyone, guess(plainPort, "CRAM-MD5"), logs{failure("CRAM-MD5", byCyrus)}},
	{"sasl-auth", anyone, guess(submissionPort, "LOGIN"), logs{failure("LOGIN", byCyrus)}},
	{"sasl-auth", anyone, guess(submissionPort, "PLAIN"), logs{failure("PLAIN", byCyrus)}},
	{"sasl-auth", anyone, guess(submissionPort, "CRAM-MD5"), logs{failure("CRAM-MD5", byCyrus)}},
	{"sasl-auth", host6, guess(plainPort, "LOGIN"), logs{failure("LOGIN", byCyrus)}},
	{"sasl-auth", neighbor6, guess(plainPort, "PLAIN"), logs{failure("PLAIN", byCyrus)}},
	{"sasl-auth", other6, guess(submissionPort, "CRAM-MD5"), logs{failure("CRAM-MD5", byCyrus)}},
	{"sasl-auth", anyone, guess(renamedPort, "LOGIN"), logs{failure("LOGIN", byCyrus)}},
	{"sasl-auth", anyone, guess(instancePort, "LOGIN"), logs{failure("LOGIN", byCyrus)}},
	{"sasl-auth", anyone, guess(loggedPort, "LOGIN"), logs{
		`connect from CLIENT:[0-9]+`,
		`warning: CLIENT:[0-9]+: SASL LOGIN authentication failed: authentication failure, sasl_username=.*`,
		`disconnect from CLIENT:[0-9]+ .*auth=0/1 .*`,
	}},
	{"sasl-auth", anyone, guessFor(plainPort, "nosuch", "LOGIN", "PLAIN", "CRAM-MD5"), logs{
		failure("LOGIN", byCyrus), failure("PLAIN", byCyrus), failure("CRAM-MD5", byCyrus),
	}},
	{"sasl-auth", anyone, func(c client) error {
		s := c.open(wrappedPort)
		s.encrypt()
		s.hear()
		s.ask(ehlo, wrongLogin, "QUIT")
		return s.close()
	}, logs{failure("PLAIN", byCyrus)}},
	// One wrong password, tried in every way that a mail program knows.
	{"sasl-auth", anyone, guess(submissionPort, "LOGIN", "PLAIN", "CRAM-MD5"), logs{
		failure("LOGIN", byCyrus), failure("PLAIN", byCyrus), failure("CRAM-MD5", byCyrus),
		`disconnect from CLIENT ehlo=1 auth=0/3 quit=1 commands=2/5`,
	}},
	{"sasl-auth", anyone, says(dovecotPort, ehlo, "AUTH LOGIN", wrongLogin, "QUIT"), logs{
		failure("LOGIN", byDovecot), failure("PLAIN", byDovecot),
	}},
	{"sasl-auth", anyone, says(dovecotPort, ehlo, "AUTH X-REASON", "QUIT"), logs{failure("X-REASON", "account is locked")}},
	// Postfix repeats the mechanism as it was spelt.
	{"sasl-auth", anyone, says(plainPort, ehlo, "auth login", encoded(alice), encoded("wrong"), "QUIT"), logs{
		failure("login", byCyrus),
	}},
	// A user name that imitates a line about somebody else.
	{"sasl-auth", anyone, says(submissionPort, ehlo, "AUTH LOGIN",
		encoded("unknown[192.0.2.77]: SASL LOGIN authentication failed: x"), encoded("wrong"), "QUIT"), logs{
		failure("LOGIN", byCyrus),
	}},
	// Somebody who tries everything.
	{"sasl-auth", anyone, says(plainPort, ehlo, wrongLogin,
		"MAIL FROM:<"+someone+">", "RCPT TO:<"+elsewhere+">", "RCPT TO:<"+nobody+">", "XYZZY"), logs{
		failure("PLAIN", byCyrus), refusal("RCPT", `.*: Relay access denied; .*`), refusal("RCPT", `.*: User unknown in .*`),
		lostAfter("UNKNOWN"), `disconnect from CLIENT ehlo=1 auth=0/1 mail=1 rcpt=0/2 unknown=0/1 commands=2/6`,
	}},
	// An empty one, and none.
	{"sasl-auth", anyone, says(plainPort, ehlo, "AUTH LOGIN", "", "", "AUTH PLAIN "+encoded("\x00\x00"), "QUIT"), logs{
		`warning: CLIENT: SASL LOGIN authentication failed: .*`, `disconnect from CLIENT .*auth=0/[0-9] .*`,
	}},
	{"no-guess", anyone, says(plainPort, ehlo, "AUTH LOGIN", "*", "QUIT"), logs{
		`warning: CLIENT: SASL LOGIN authentication aborted`, `disconnect from CLIENT .*auth=0/1 .*`,
	}},
	{"sasl-auth", anyone, says(plainPort, ehlo, "AUTH PLAIN "+encoded("nonsense"), "AUTH PLAIN not-base64!", "QUIT"), logs{
		failure("PLAIN", "bad protocol / cancel"),
	}},
	{"no-guess", anyone, says(dovecotPort, ehlo, "AUTH NTLM", "QUIT"), logs{
		failure("NTLM", "Invalid authentication mechanism.*"),
	}},
	// Mechanisms that the server did not offer.
	{"no-guess", anyone, says(plainPort, ehlo, "AUTH NTLM", `AUTH "a b[192.0.2.77]:"`, "QUIT"), logs{
		failure("NTLM", "no mechanism available"), failure(`"a b\[192\.0\.2\.77\]:"`, "no mechanism available"),
	}},
	{"auth-rate-limit", anyone, says(limitPort, append(times(4, ehlo, wrongLogin), "QUIT")...), logs{
		limited("AUTH command rate", 3), `disconnect from CLIENT ehlo=1 auth=0/4 quit=1 commands=2/6`,
	}},
	{"too-many-errors", anyone, says(submissionPort, times(25, ehlo, wrongLogin)...), logs{
		`(NOQUEUE: )?too many errors after AUTH from CLIENT`, `disconnect from CLIENT ehlo=1 auth=0/20 commands=1/21`,
	}},
}

// rightLogins are those that work, and what a session with one can look like.
var rightLogins = []provocation{
	{"login", anyone, says(submissionPort, ehlo, rightLogin,
		"MAIL FROM:<"+mailbox+">", "RCPT TO:<"+elsewhere+">", "DATA", hello, "QUIT"), logs{
		`[0-9A-F]+: client=CLIENT, sasl_method=PLAIN, sasl_username=alice@mx\.example\.test`,
		`disconnect from CLIENT ehlo=1 auth=1 mail=1 rcpt=1 data=1 quit=1 commands=6`,
	}},
	{"login", anyone, says(submissionPort, ehlo, rightLogin, "QUIT"), logs{`disconnect from CLIENT ehlo=1 auth=1 quit=1 commands=3`}},
	{"login", anyone, says(submissionPort, ehlo, wrongLogin, wrongLogin, rightLogin, "QUIT"), logs{
		failure("PLAIN", byCyrus), `disconnect from CLIENT ehlo=1 auth=1/3 quit=1 commands=3/5`,
	}},
	{"login", anyone, func(c client) error {
		s := c.open(tlsFirstPort)
		s.hear()
		s.startTLS()
		s.ask(ehlo, rightLogin, "QUIT")
		return s.close()
	}, logs{`disconnect from CLIENT ehlo=2 starttls=1 auth=1 quit=1 commands=5`}},
	{"login", anyone, says(submissionPort, ehlo, rightLogin), logs{
		`(NOQUEUE: )?lost connection after AUTH from CLIENT`, `disconnect from CLIENT ehlo=1 auth=1 commands=2`,
	}},
}

// unloggedLogins are refused before anybody looks at the password. Only the
// statistics tell.
var unloggedLogins = []provocation{
	{"auth-unlogged", anyone, says(tlsFirstPort, ehlo, wrongLogin, rightLogin, "QUIT"), logs{
		`disconnect from CLIENT ehlo=1 auth=0/2 quit=1 commands=2/4`,
	}},
	{"auth-unlogged", anyone, says(noLoginPort, ehlo, wrongLogin, "AUTH LOGIN", "QUIT"), logs{
		`disconnect from CLIENT ehlo=1 auth=0/2 quit=1 commands=2/4`,
	}},
	// Already logged in.
	{"login", anyone, says(submissionPort, ehlo, rightLogin, rightLogin, "QUIT"), logs{
		`disconnect from CLIENT ehlo=1 auth=1/2 quit=1 commands=3/4`,
	}},
	// In the middle of a mail; and without a mechanism.
	{"auth-unlogged", anyone, says(submissionPort, ehlo, "MAIL FROM:<"+someone+">", wrongLogin, "AUTH", "QUIT"), logs{
		`disconnect from CLIENT ehlo=1 auth=0/2 mail=1 quit=1 commands=3/5`,
	}},
}

// lostLogins end in the middle of the dialogue or right after it.
var lostLogins = []provocation{
	{"lost-connection-after-auth", anyone, says(submissionPort, ehlo, "AUTH LOGIN"), logs{
		lostAfter("AUTH"), `disconnect from CLIENT ehlo=1 auth=0/1 commands=1/2`,
	}},
	{"lost-connection-after-auth", anyone, says(submissionPort, ehlo, "AUTH LOGIN", encoded(alice)), logs{
		lostAfter("AUTH"), `disconnect from CLIENT ehlo=1 auth=0/1 commands=1/2`,
	}},
	{"lost-connection-after-auth", anyone, says(submissionPort, ehlo, wrongLogin, wrongLogin), logs{
		failure("PLAIN", byCyrus), lostAfter("AUTH"), `disconnect from CLIENT ehlo=1 auth=0/2 commands=1/3`,
	}},
	{"lost-connection-after-auth", anyone, says(noLoginPort, ehlo, wrongLogin), logs{
		lostAfter("AUTH"), `disconnect from CLIENT ehlo=1 auth=0/1 commands=1/2`,
	}},
	{"lost-connection", anyone, stays(hastyPort, ehlo, "AUTH LOGIN"), logs{
		`(NOQUEUE: )?timeout after AUTH from CLIENT`, `disconnect from CLIENT ehlo=1 auth=0/1 commands=1/2`,
	}},
}

// faultyLogins fail because of the server.
var faultyLogins = []provocation{
	{"server-fault", anyone, says(noMechPort, ehlo, "AUTH CRAM-MD5", "QUIT"), logs{
		failure("CRAM-MD5", "no mechanism available"),
	}},
	{"server-fault", anyone, guess(daemonPort, "LOGIN", "PLAIN"), logs{
		`warning: SASL authentication failure: cannot connect to saslauthd server: .+`,
		failure("LOGIN", "generic failure"), failure("PLAIN", "generic failure"),
	}},
	{"server-fault", anyone, says(crashPort, ehlo, "AUTH X-CRASH", "QUIT"), logs{
		failure("X-CRASH", "Connection lost to authentication server"),
	}},
}
