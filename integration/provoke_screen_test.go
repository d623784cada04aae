package integration

import "time"

// aMoment makes postscreen count more than no time.
const aMoment = 300 * time.Millisecond

// talkative clients begin before the server does.
var talkative = []provocation{
	{"pregreet", anyone, func(c client) error {
		s := c.open(screenPort)
		time.Sleep(aMoment)
		s.send(ehlo + "\r\n")
		s.hearTeaser()
		s.hear()
		s.ask(letter(someone, mailbox)[1:]...)
		return s.close()
	}, logs{
		`CONNECT from PEER to \[192\.0\.2\.10\]:25`,
		`PREGREET 26 after [0-9]\.[0-9]+ from PEER: EHLO client\.example\.test\\r\\n`,
		screenRefusal(`550 5\.5\.1 Protocol error`),
		`DISCONNECT PEER`,
	}},
	// Text that imitates a line about somebody else.
	{"pregreet", anyone, blurts(greetPort, "HELO from evil[192.0.2.77]:25: x\r\n"), logs{
		`PREGREET 34 after [0-9.]+ from PEER: HELO from evil\[192\.0\.2\.77\]:25: x\\r\\n`,
	}},
	{"pregreet", talking6, blurts(greetPort, httpRequest), logs{`PREGREET 41 after [0-9.]+ from PEER: GET / HTTP/1\.1\\r\\nHost: .*`}},
	{"pregreet", anyone, blurts(greetPort, "\x16\x03\x01\x02\x00"), logs{`PREGREET 5 after [0-9.]+ from PEER: \\026\\003\\001\\002\\000`}},
}

// screenRefusal is the line of a recipient that postscreen refused.
func screenRefusal(reply string) string {
	return `NOQUEUE: reject: RCPT from PEER: ` + reply +
		`; from=<someone@example\.org>, to=<(alice@mx\.example\.test|victim@example\.org)>, proto=ESMTP, helo=<client\.example\.test>`
}

// screened clients do not get past postscreen.
var screened = []provocation{
	{"dnsbl", listedAtEntry, says(screenPort, letter(someone, mailbox)...), logs{
		`DNSBL rank 1 for PEER`,
		screenRefusal(`550 5\.7\.1 Service unavailable; client \[ADDRESS\] blocked using dnsbl\.example\.test`),
	}},
	{"dnsbl-rank", listedCutOff, blurts(greetPort, ""), logs{`DNSBL rank 1 for PEER`}},

	{"pipelining", anyone, shouts(screenPort, nil, inOneBreath(letter(someone, elsewhere))), logs{
		`COMMAND PIPELINING from PEER after EHLO: MAIL FROM:<someone@example\.org>\\r\\nRCPT TO:.*`, screenRefusal(`550 5\.5\.1 Protocol error`),
	}},
	{"non-smtp", anyone, shouts(screenPort, nil, httpRequest), logs{`NON-SMTP COMMAND from PEER after CONNECT: GET / HTTP/1\.1`}},
	{"non-smtp", anyone, says(screenPort, ehlo, "POST / HTTP/1.1"), logs{`NON-SMTP COMMAND from PEER after EHLO: POST / HTTP/1\.1`}},
	{"bare-newline", anyone, func(c client) error {
		s := c.open(screenPort)
		s.hear()
		s.send(ehlo + "\n")
		s.hear()
		s.ask(letter(someone, mailbox)[1:]...)
		return s.close()
	}, logs{`BARE NEWLINE from PEER after EHLO client\.example\.test`, screenRefusal(`550 5\.5\.1 Protocol error`)}},

	{"postscreen-limit", anyone, stays(screenPort, ehlo), logs{`COMMAND TIME LIMIT from PEER after EHLO`}},
	{"postscreen-limit", anyone, says(screenPort, times(25, ehlo, "NOOP")...), logs{`COMMAND COUNT LIMIT from PEER after NOOP`}},
	{"postscreen-limit", anyone, shouts(screenPort, nil, longLine+"\r\n"), logs{`COMMAND LENGTH LIMIT from PEER after CONNECT`}},
	{"postscreen-limit", anyone, shouts(screenPort, letter(someone, mailbox)[:2], "DATA\r\n"), logs{`DATA without valid RCPT from PEER`}},

	{"hangup", anyone, leaves(screenPort), logs{`HANGUP after [0-9.]+ from PEER in tests before SMTP handshake`}},
	{"hangup", anyone, func(c client) error {
		s := c.open(screenPort)
		time.Sleep(aMoment)
		return s.close()
	}, logs{`HANGUP after [0-9]\.[0-9]+ from PEER in tests before SMTP handshake`}},
	{"hangup", anyone, says(screenPort), logs{`HANGUP after [0-9.]+ from PEER in tests after SMTP handshake`}},
	{"hangup", anyone, says(screenPort, ehlo), logs{`HANGUP after [0-9.]+ from PEER in tests after SMTP handshake`}},

	{innocent, denied, says(screenPort, letter(someone, mailbox)...), logs{`DENYLISTED PEER`, screenRefusal(`550 5\.3\.2 Service currently unavailable`)}},
	{innocent, deniedCutOff, blurts(greetPort, ""), logs{`BLACKLISTED PEER`}},
}

// welcome clients do nothing wrong, whatever their names are.
var welcome = []provocation{
	{innocent, anyone, says(plainPort, letter(someone, mailbox, "DATA", hello)...), logs{
		`connect from CLIENT`, `[0-9A-F]+: client=CLIENT`, `disconnect from CLIENT ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5`,
	}},
	{innocent, named, says(plainPort, letter(someone, mailbox, "DATA", hello)...), logs{`[0-9A-F]+: client=named\.example\.org\[ADDRESS\]`}},
	{innocent, named6, says(plainPort, letter(someone, mailbox)...), logs{`connect from named6\.example\.org\[ADDRESS\]`}},
	{innocent, anyone, says(plainPort, "QUIT"), logs{`disconnect from CLIENT quit=1 commands=1`}},
	{innocent, anyone, func(c client) error {
		s := c.open(plainPort)
		s.hear()
		s.startTLS()
		s.ask(letter(someone, mailbox)...)
		return s.close()
	}, logs{`disconnect from CLIENT ehlo=2 starttls=1 mail=1 rcpt=1 quit=1 commands=6`}},
	// Passes the deep tests, is asked to come again, and comes.
	{innocent, anyone, func(c client) error {
		if err := c.talk(screenPort, letter(someone, mailbox)...); err != nil {
			return err
		}
		return c.talk(screenPort, letter(someone, mailbox, "DATA", hello)...)
	}, logs{
		screenRefusal(`450 4\.3\.2 Service currently unavailable`), `PASS NEW PEER`, `PASS OLD PEER`,
		`connect from CLIENT`, `[0-9A-F]+: client=CLIENT`,
	}},
	{innocent, anyone, says(greetPort, letter(someone, mailbox)...), logs{`PASS NEW PEER`, `connect from CLIENT`}},
	{innocent, allowed, says(screenPort, letter(someone, mailbox)...), logs{`ALLOWLISTED PEER`, `connect from CLIENT`}},

	{"rdns-mismatch", misnamed, says(plainPort, ehlo, "QUIT"), logs{
		`warning: hostname other\.example\.org does not resolve to address ADDRESS`, `connect from unknown\[ADDRESS\]`,
	}},
	{"rdns-mismatch", deadNamed, says(plainPort, ehlo, "QUIT"), logs{
		`warning: hostname dead\.example\.org does not resolve to address ADDRESS: .+`, `connect from unknown\[ADDRESS\]`,
	}},
}
