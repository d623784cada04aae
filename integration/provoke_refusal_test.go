package integration

import "slices"

// refusal is the line of a command that smtpd refused.
func refusal(where, text string) string {
	return `QID: reject: ` + where + ` from CLIENT: [45][0-9]{2} [45]\.[0-9.]+ ` + text
}

// envelope is how every line about a letter from someone to alice ends.
const envelope = `; from=<someone@example\.org> to=<alice@mx\.example\.test> proto=ESMTP helo=<client\.example\.test>`

// forbidden mail goes nowhere, or to nobody.
var forbidden = []provocation{
	{"relay-denied", anyone, says(plainPort, letter(someone, elsewhere)...), logs{
		refusal("RCPT", `<victim@example\.org>: Relay access denied; from=<someone@example\.org> to=<victim@example\.org> proto=ESMTP helo=<client\.example\.test>`),
	}},
	{"relay-denied", anyone, says(submissionPort, letter(someone, elsewhere)...), logs{refusal("RCPT", `<victim@example\.org>: Relay access denied; .*`)}},
	{"relay-denied", relaying6, says(plainPort, letter(someone, elsewhere)...), logs{refusal("RCPT", `<victim@example\.org>: Relay access denied; .*`)}},
	{"relay-denied", anyone, says(loggedPort, letter(someone, elsewhere)...), logs{
		`NOQUEUE: reject: RCPT from CLIENT:[0-9]+: 554 5\.7\.1 <victim@example\.org>: Relay access denied; .*`,
	}},
	// A recipient that imitates a line about somebody else.
	{"relay-denied", anyone, says(plainPort, letter(someone, `"a> x[192.0.2.77]: 554 5.7.1 <b"@example.org`)...), logs{
		refusal("RCPT", `<.*>: Relay access denied; .*`),
	}},

	{"user-unknown", anyone, says(plainPort, letter(someone, nobody)...), logs{
		refusal("RCPT", `<nosuch@mx\.example\.test>: Recipient address rejected: User unknown in local recipient table; .*`),
	}},
	{"user-unknown", anyone, says(plainPort, letter(someone, "nosuch@virtual.example.test")...), logs{
		refusal("RCPT", `<.*>: Recipient address rejected: User unknown in virtual mailbox table; .*`),
	}},
	{"user-unknown", anyone, says(plainPort, letter(someone, "nosuch@alias.example.test")...), logs{
		refusal("RCPT", `<.*>: Recipient address rejected: User unknown in virtual alias table; .*`),
	}},
	{"user-unknown", anyone, says(plainPort, letter(someone, "nosuch@relay.example.test")...), logs{
		refusal("RCPT", `<.*>: Recipient address rejected: User unknown in relay recipient table; .*`),
	}},
	// With a recipient that exists the mail has got a number.
	{"user-unknown", anyone, says(plainPort, letter(someone, mailbox, "RCPT TO:<"+nobody+">")...), logs{
		`[0-9A-F]+: reject: RCPT from CLIENT: 550 5\.1\.1 <.*>: Recipient address rejected: User unknown in local recipient table; .*`,
	}},
	{"user-unknown", anyone, says(softPort, letter(someone, nobody)...), logs{
		`NOQUEUE: reject: RCPT from CLIENT: 450 4\.1\.1 <.*>: Recipient address rejected: User unknown in local recipient table; .*`,
	}},
	{"user-unknown", anyone, says(plainPort, ehlo, "VRFY "+nobody, "QUIT"), logs{
		refusal("VRFY", `<.*>: Recipient address rejected: User unknown in local recipient table; .*`),
	}},
	{"too-many-errors", anyone, says(plainPort, append(letter(someone, nobody)[:2], slices.Repeat([]string{"RCPT TO:<" + nobody + ">"}, 25)...)...), logs{
		`(NOQUEUE: )?too many errors after RCPT from CLIENT`, `disconnect from CLIENT .*rcpt=0/[0-9]+ .*`,
	}},
}

// unwelcome are the senders of mail that would be delivered if it came from
// somebody else.
var unwelcome = []provocation{
	{"dnsbl", listed, says(plainPort, letter(someone, mailbox)...), logs{
		refusal("RCPT", `Service unavailable; Client host \[ADDRESS\] blocked using dnsbl\.example\.test; listed for testing; see https://example\.org/why`+envelope),
	}},
	{"dnsbl", anyone, says(plainPort, letter("someone@spam.example.org", mailbox)...), logs{
		refusal("RCPT", `Service unavailable; Sender address \[someone@spam\.example\.org\] blocked using dnsbl\.example\.test; .*`),
	}},

	{"helo-reject", anyone, introducing("EHLO mx.example.test"), logs{
		refusal("RCPT", `<mx\.example\.test>: Helo command rejected: that is my name; .*`),
	}},
	{"helo-reject", anyone, introducing("HELO ylmf-pc"), logs{
		refusal("RCPT", `<ylmf-pc>: Helo command rejected: need fully-qualified hostname; .* proto=SMTP helo=<ylmf-pc>`),
	}},
	{"helo-reject", anyone, introducing("EHLO missing.example.test"), logs{
		refusal("RCPT", `<missing\.example\.test>: Helo command rejected: Host not found; .*`),
	}},
	{"helo-reject", anyone, introducing("EHLO in_valid[192.0.2.77]:"), logs{
		refusal("RCPT", `<in_valid\[192\.0\.2\.77\]:>: Helo command rejected: Invalid name; .*`),
	}},
	{"helo-reject", anyone, says(atOncePort, "EHLO bad name[192.0.2.77]: 554", "QUIT"), logs{
		refusal("EHLO", `<bad name\[192\.0\.2\.77\]: 554>: Helo command rejected: Invalid name; proto=SMTP helo=<.*>`),
	}},

	{"client-reject", unwanted, says(plainPort, letter(someone, mailbox)...), logs{
		refusal("RCPT", `<unknown\[ADDRESS\]>: Client host rejected: no mail from this network`+envelope),
	}},
	{"client-reject", anyone, says(namesPort, letter(someone, mailbox)...), logs{
		refusal("RCPT", `Client host rejected: cannot find your reverse hostname, \[ADDRESS\]`+envelope),
	}},
	{"client-reject", misnamedToo, says(namesPort, letter(someone, mailbox)...), logs{
		refusal("RCPT", `Client host rejected: cannot find your hostname, \[ADDRESS\]`+envelope),
	}},

	{"sender-reject", anyone, says(plainPort, letter("refused@example.org", mailbox)...), logs{
		refusal("RCPT", `<refused@example\.org>: Sender address rejected: no mail from this sender; .*`),
	}},
	{"sender-reject", anyone, says(plainPort, letter("someone@missing.example.test", mailbox)...), logs{
		refusal("RCPT", `<someone@missing\.example\.test>: Sender address rejected: Domain not found; .*`),
	}},
	{"sender-reject", anyone, says(plainPort, letter("someone", mailbox)...), logs{
		refusal("RCPT", `<someone>: Sender address rejected: need fully-qualified address; .*`),
	}},
	{"sender-reject", anyone, says(ownerPort, letter("owned@"+mailHost, mailbox)...), logs{
		refusal("RCPT", `<owned@mx\.example\.test>: Sender address rejected: not logged in; .*`),
	}},
	{"sender-reject", anyone, says(ownerPort, ehlo, rightLogin, "MAIL FROM:<owned@"+mailHost+">", "RCPT TO:<"+mailbox+">", "QUIT"), logs{
		refusal("RCPT", `<owned@mx\.example\.test>: Sender address rejected: not owned by user alice@mx\.example\.test; .*`),
	}},
}

// introducing returns a deed: to send a good letter after this first line.
func introducing(hello string) func(client) error {
	return says(plainPort, append([]string{hello}, letter(someone, mailbox)[1:]...)...)
}

// overruled mail is refused in the words of the operator, of a policy service or
// of a milter, who may just as well mean "not now".
var overruled = []provocation{
	{"policy-reject", anyone, says(plainPort, letter(someone, "refused@"+mailHost)...), logs{
		refusal("RCPT", `<refused@mx\.example\.test>: Recipient address rejected: refused by policy; ask postmaster@example\.test; from=.*`),
	}},
	{"policy-reject", anyone, says(plainPort, letter(someone, "closed@"+mailHost)...), logs{
		refusal("RCPT", `<closed@mx\.example\.test>: Recipient address rejected: this mailbox is closed; .*`),
	}},
	{innocent, anyone, says(plainPort, letter(someone, "greylisted@"+mailHost)...), logs{
		`NOQUEUE: reject: RCPT from CLIENT: 450 4\.7\.1 <greylisted@mx\.example\.test>: Recipient address rejected: Greylisted, see .*`,
	}},
	{innocent, anyone, says(plainPort, letter(someone, "busy@"+mailHost)...), logs{
		`NOQUEUE: reject: RCPT from CLIENT: 450 4\.2\.1 <busy@mx\.example\.test>: Recipient address rejected: come back tomorrow; .*`,
	}},

	{"milter-reject", filtered, says(filteredPort, letter(someone, mailbox)...), logs{
		`NOQUEUE: milter-reject: EHLO from CLIENT: 550 5\.7\.1 no connection for you; proto=SMTP helo=<client\.example\.test>`,
	}},
	{"milter-reject", anyone, says(filteredPort, "EHLO refused.example.test", "MAIL FROM:<"+someone+">", "QUIT"), logs{
		`NOQUEUE: milter-reject: EHLO from CLIENT: 550 5\.7\.1 no greeting for you; proto=SMTP helo=<refused\.example\.test>`,
	}},
	{"milter-reject", anyone, says(filteredPort, letter("refused@example.org", mailbox)...), logs{
		`NOQUEUE: milter-reject: MAIL from CLIENT: 550 5\.7\.1 Command rejected; .*`,
	}},
	{"milter-reject", anyone, says(filteredPort, letter(someone, "alice+refused@"+mailHost)...), logs{
		`QID: milter-reject: RCPT from CLIENT: 550 5\.7\.1 no recipient for you; .*`,
	}},
	{"milter-reject", anyone, says(filteredPort, letter(someone, mailbox, "DATA", "Subject: refused\r\n\r\nhello\r\n.")...), logs{
		`[0-9A-F]+: milter-reject: END-OF-MESSAGE from CLIENT: 5\.7\.1 no such subject` + envelope,
	}},
	{"milter-reject", anyone, says(filteredPort, letter(someone, mailbox, "DATA", "Subject: hello\r\n\r\nrefused text\r\n.")...), logs{
		`[0-9A-F]+: milter-reject: END-OF-MESSAGE from CLIENT: 5\.7\.1 that looks like spam` + envelope,
	}},
	{innocent, anyone, says(filteredPort, letter(someone, "alice+later@"+mailHost)...), logs{
		`QID: milter-reject: RCPT from CLIENT: 451 4\.7\.1 Service unavailable - try again later; .*`,
	}},
	{innocent, anyone, says(filteredPort, letter(someone, mailbox, "DATA", "Subject: hello\r\n\r\nodd text\r\n.")...), logs{
		`[0-9A-F]+: milter-reject: END-OF-MESSAGE from CLIENT: 4\.7\.1 try again later` + envelope,
	}},

	// Refusals that the operator only wants to see. The first one is for real
	// as well, by another restriction.
	{"relay-denied", anyone, says(warnPort, letter(someone, elsewhere)...), logs{
		`NOQUEUE: reject_warning: RCPT from CLIENT: 554 5\.7\.1 <victim@example\.org>: Relay access denied; .*`,
	}},
	{innocent, listedWarned, says(warnPort, letter(someone, mailbox)...), logs{
		`NOQUEUE: reject_warning: RCPT from CLIENT: 554 5\.7\.1 Service unavailable; Client host \[ADDRESS\] blocked using .*`,
	}},
	// What else an access list can do, and a milter.
	{innocent, anyone, says(plainPort, letter("warned@example.org", mailbox)...), logs{
		`NOQUEUE: warn: RCPT from CLIENT: this sender is watched; .*`,
	}},
	{innocent, anyone, says(plainPort, letter("held@example.org", mailbox)...), logs{
		`NOQUEUE: hold: RCPT from CLIENT: <held@example\.org>: .*`,
	}},
	{innocent, anyone, says(plainPort, letter("discarded@example.org", mailbox)...), logs{
		`NOQUEUE: discard: RCPT from CLIENT: <discarded@example\.org>: .*`,
	}},
	{innocent, anyone, says(filteredPort, letter(someone, mailbox, "DATA", "Subject: hello\r\n\r\ndiscarded text\r\n.")...), logs{
		`[0-9A-F]+: milter-discard: END-OF-MESSAGE from CLIENT: milter triggers DISCARD action` + envelope,
	}},
	// Text of the sender's that comes before the client.
	{innocent, anyone, says(plainPort, letter(someone, mailbox, "DATA", "Subject: forbidden from evil[192.0.2.77]: 554\r\n\r\nhello\r\n.")...), logs{
		`[0-9A-F]+: reject: header Subject: forbidden from evil\[192\.0\.2\.77\]: 554 from CLIENT` + envelope + `: 5\.7\.1 .*`,
	}},
}

// unserved mail is refused because of the server.
var unserved = []provocation{
	{"server-fault", anyone, says(noPolicyPort, letter(someone, mailbox)...), logs{
		`NOQUEUE: reject: RCPT from CLIENT: 451 4\.3\.5 <.*>: Recipient address rejected: Server configuration (error|problem)` + envelope,
	}},
	{"server-fault", anyone, says(noTablePort, letter(someone, mailbox)...), logs{
		`NOQUEUE: reject: RCPT from CLIENT: 451 4\.3\.0 <alice@mx\.example\.test>: Temporary lookup failure` + envelope,
	}},
	{"server-fault", anyone, says(noMilterPort, letter(someone, mailbox)...), logs{
		`NOQUEUE: milter-reject: .* from CLIENT: 4[0-9]{2} 4\.[0-9.]+ Service unavailable - try again later; .*`,
	}},
	{innocent, anyone, says(plainPort, ehlo, "MAIL FROM:<"+someone+"> SIZE=123456789", "QUIT"), logs{
		`NOQUEUE: reject: MAIL from CLIENT: 552 5\.3\.4 Message size exceeds fixed limit; from=<.*> proto=ESMTP helo=<.*>`,
	}},
}
