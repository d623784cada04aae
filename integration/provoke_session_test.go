package integration

import (
	"crypto/tls"
	"errors"
	"fmt"
)

// misbehaving clients do not speak SMTP as they should.
var misbehaving = []provocation{
	{"pipelining", anyone, shouts(plainPort, nil, inOneBreath(letter(someone, elsewhere))), logs{
		`improper command pipelining after EHLO from CLIENT: MAIL FROM:<someone@example\.org>\\r\\nRCPT TO:.*`,
	}},
	// Postfix looks once, when it has found the name and before it greets.
	{"pipelining", slowNamed, blurts(plainPort, inOneBreath(letter(someone, elsewhere))), logs{
		`improper command pipelining after CONNECT from CLIENT: EHLO client\.example\.test\\r\\nMAIL FROM:.*`,
	}},
	{"pipelining", slowNamedToo, blurts(atOncePort, inOneBreath(letter(someone, elsewhere))), logs{
		refusal("CONNECT", `<unknown\[ADDRESS\]>: Client host rejected: Improper use of SMTP command pipelining; proto=SMTP`),
	}},
	// Text that imitates a line about somebody else.
	{"pipelining", anyone, shouts(plainPort, nil,
		"HELO client.example.test\r\nfrom evil[192.0.2.77]: warning: a[192.0.2.77]: SASL LOGIN authentication failed: x\r\nQUIT\r\n"), logs{
		`improper command pipelining after HELO from CLIENT: from evil\[192\.0\.2\.77\]: .*`,
	}},
	{"pipelining", anyone, shouts(pipePort, letter(someone, mailbox)[:3], "DATA\r\n"+hello+"\r\nQUIT\r\n"), logs{
		refusal("DATA", `<DATA>: Data command rejected: Improper use of SMTP command pipelining`+envelope),
	}},

	{"non-smtp", anyone, shouts(plainPort, nil, httpRequest), logs{`warning: non-SMTP command from CLIENT: GET / HTTP/1\.1`}},
	{"non-smtp", anyone, says(plainPort, ehlo, "CONNECT 192.0.2.77:443 HTTP/1.0"), logs{
		`warning: non-SMTP command from CLIENT: CONNECT 192\.0\.2\.77:443 HTTP/1\.0`,
	}},
	{"non-smtp", anyone, says(submissionPort, "Subject: unknown[192.0.2.77]: sent by a form"), logs{
		`warning: non-SMTP command from CLIENT: Subject: unknown\[192\.0\.2\.77\]: sent by a form`,
	}},
	// The first bytes of a TLS session.
	{"non-smtp", anyone, says(plainPort, "\x16\x03\x01\x02"), logs{`warning: non-SMTP command from CLIENT: \\026\\003\\001\\002`}},

	{"bare-newline", anyone, says(barePort, letter(someone, mailbox, "DATA", "Subject: hello\n\nhello\r\n.")...), logs{
		`[0-9A-F]+: reject: END-OF-MESSAGE from CLIENT: bare <LF> received` + envelope,
	}},
	{"bare-newline", anyone, shouts(barePort, nil, ehlo+"\n"), logs{`NOQUEUE: reject: CONNECT from CLIENT: bare <LF> received; proto=SMTP`}},
	{innocent, anyone, says(plainPort, letter(someone, mailbox, "DATA", "Subject: hello\n\nhello\r\n.")...), logs{
		`disconnect from CLIENT ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5`,
	}},

	{"address-syntax", anyone, says(plainPort, ehlo, "MAIL FROM:<a b[192.0.2.77]>", "MAIL FROM:<"+someone+">", "RCPT TO:<>", "QUIT"), logs{
		`warning: Illegal address syntax from CLIENT in MAIL command: <a b\[192\.0\.2\.77\]>`,
		`warning: Illegal address syntax from CLIENT in RCPT command: <>`,
	}},
	{innocent, anyone, shouts(hastyPort, []string{ehlo}, longLine+"\r\n"), logs{
		`warning: CLIENT: request longer than 2048: NOOP x+\.\.\.`,
	}},
	{"too-many-errors", anyone, says(plainPort, times(25, ehlo, "XYZZY")...), logs{
		`(NOQUEUE: )?too many errors after UNKNOWN from CLIENT`, `disconnect from CLIENT ehlo=1 unknown=0/20 commands=1/21`,
	}},
}

// noted is what Postfix 3.7 does not know how to mention.
var noted = []provocation{
	{innocent, anyone, says(notingPort, letter(someone, mailbox, "DATA", "Subject: hello\n\nhello\r\n.")...), logs{
		`disconnect from CLIENT ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5 notes=bare_lf`,
	}},
}

// excessive clients do what is allowed, but too often.
var excessive = []provocation{
	{"rate-limit", anyone, repeats(5, limitPort, ehlo, "QUIT"), logs{limited("Connection rate", 5)}},
	{"rate-limit", anyone, crowded, logs{limited("Connection concurrency", 3)}},
	{"rate-limit", anyone, says(limitPort, ehlo, "MAIL FROM:<"+someone+">", "RSET", "MAIL FROM:<"+someone+">", "QUIT"), logs{
		limited("Message delivery request rate", 2),
	}},
	{"rate-limit", anyone, says(limitPort, letter(someone, mailbox, "RCPT TO:<"+mailbox+">", "RCPT TO:<"+mailbox+">")...), logs{
		limited("Recipient address rate", 3),
	}},
	{"rate-limit", anyone, encrypts(3, limitPort, func(s *chat) { s.hear(); s.startTLS() }), logs{
		limited("New TLS session rate", 2),
		fmt.Sprintf(`warning: Refusing STARTTLS request from CLIENT for service %d`, limitPort),
	}},
	{"rate-limit", anyone, encrypts(3, wrappedPort, func(s *chat) { s.encrypt(); s.hear() }), logs{
		fmt.Sprintf(`warning: Refusing TLS service request from CLIENT for service %d`, wrappedPort),
	}},
}

// encrypts returns a deed: to begin several encrypted sessions.
func encrypts(n int, port uint16, begin func(*chat)) func(client) error {
	return func(c client) error {
		for range n {
			s := c.open(port)
			begin(s)
			s.ask("QUIT")
			s.close() // which session is refused, and how, is up to the server
		}
		return nil
	}
}

// limited is the line of an exceeded limit.
func limited(what string, n int) string {
	return fmt.Sprintf(`warning: %s limit exceeded: %d from CLIENT for service %d`, what, n, limitPort)
}

// crowded has one connection more at a time than is allowed.
func crowded(c client) error {
	var errs []error
	for range 3 {
		s := c.open(limitPort)
		s.hear()
		defer s.close()
		errs = append(errs, s.err)
	}
	return errors.Join(errs...)
}

// unencrypted sessions should have been encrypted.
var unencrypted = []provocation{
	{"tls-error", anyone, shouts(plainPort, []string{ehlo, "STARTTLS"}, "this is no ClientHello\r\n"), logs{
		`SSL_accept error from CLIENT: -1`, lostAfter("STARTTLS"), `disconnect from CLIENT ehlo=1 starttls=0/1 commands=1/2`,
	}},
	{"tls-error", anyone, says(plainPort, ehlo, "STARTTLS"), logs{
		`SSL_accept error from CLIENT: lost connection`, lostAfter("STARTTLS"), `disconnect from CLIENT ehlo=1 starttls=0/1 commands=1/2`,
	}},
	{"tls-error", anyone, blurts(wrappedPort, httpRequest), logs{`SSL_accept error from CLIENT: -1`, lostAfter("CONNECT")}},
	// A client that does not trust the certificate.
	{"tls-error", anyone, func(c client) error {
		s := c.open(plainPort)
		s.hear()
		s.ask(ehlo, "STARTTLS")
		if s.err == nil && tls.Client(s.conn, &tls.Config{ServerName: mailHost}).Handshake() == nil {
			s.err = errors.New("a certificate that nobody signed is trusted")
		}
		return s.close()
	}, logs{`SSL_accept error from CLIENT: -1`, lostAfter("STARTTLS")}},
	{"tls-error", anyone, leaves(wrappedPort), logs{`SSL_accept error from CLIENT: lost connection`, lostAfter("CONNECT")}},
}

// leaves returns a deed: to connect and go.
func leaves(port uint16) func(client) error {
	return func(c client) error { return c.open(port).close() }
}

// lostAfter is the line of a session that the client did not end properly.
func lostAfter(where string) string { return `(QID: )?lost connection after ` + where + ` from CLIENT` }

// breaksOff returns a deed: to leave in the middle of something.
func breaksOff(talk []string, text string) func(client) error {
	return func(c client) error {
		s := c.open(plainPort)
		s.hear()
		s.ask(talk...)
		s.send(text)
		return s.close()
	}
}

// departed clients left without a goodbye, as probes and broken networks do.
var departed = []provocation{
	{"lost-connection", anyone, says(plainPort), logs{lostAfter("CONNECT"), `disconnect from CLIENT commands=0/0`}},
	{"lost-connection", leaving6, says(plainPort), logs{lostAfter("CONNECT"), `disconnect from CLIENT commands=0/0`}},
	{"lost-connection", anyone, says(plainPort, ehlo), logs{lostAfter("EHLO")}},
	{"lost-connection", anyone, says(plainPort, "HELO client.example.test"), logs{lostAfter("HELO")}},
	{"lost-connection", anyone, says(plainPort, letter(someone, mailbox)[:2]...), logs{lostAfter("MAIL")}},
	{"lost-connection", anyone, says(plainPort, letter(someone, mailbox)[:3]...), logs{lostAfter("RCPT")}},
	{"lost-connection", anyone, says(plainPort, letter(someone, mailbox, "DATA")[:4]...), logs{lostAfter(`DATA \(0 bytes\)`)}},
	{"lost-connection", anyone, breaksOff(letter(someone, mailbox, "DATA")[:4], "Subject: hello\r\n\r\nhel"), logs{
		lostAfter(`DATA \([0-9]+ bytes\)`),
	}},
	{"lost-connection", anyone, breaksOff(letter(someone, mailbox)[:3], "BDAT 100\r\nSubject: hel"), logs{
		lostAfter(`BDAT \([0-9]+ bytes\)`),
	}},
	{"lost-connection", anyone, says(plainPort, ehlo, "RSET"), logs{lostAfter("RSET")}},
	{"lost-connection", anyone, says(plainPort, ehlo, "XYZZY"), logs{lostAfter("UNKNOWN")}},
	{"lost-connection", anyone, says(loggedPort, ehlo), logs{`(NOQUEUE: )?lost connection after EHLO from CLIENT:[0-9]+`}},
	{"lost-connection", anyone, stays(hastyPort), logs{`(NOQUEUE: )?timeout after CONNECT from CLIENT`}},
	{"lost-connection", anyone, stays(hastyPort, ehlo), logs{`(NOQUEUE: )?timeout after EHLO from CLIENT`}},
	{"lost-connection", anyone, stays(hastyPort, letter(someone, mailbox, "DATA")[:4]...), logs{
		`(QID: )?timeout after DATA \(0 bytes\) from CLIENT`,
	}},
	// Nothing is logged of one that leaves when its mail is accepted.
	{innocent, anyone, says(plainPort, letter(someone, mailbox, "DATA", hello)[:5]...), logs{
		`disconnect from CLIENT ehlo=1 mail=1 rcpt=1 data=1 commands=4`,
	}},
}
