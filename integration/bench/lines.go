package main

import "strings"

// program is who writes an entry, with the fields that are the same for all that
// it writes.
type program struct {
	uid                       int
	priority, facility        int
	tag, comm, exe, unit, how string // how: _TRANSPORT
}

// Indexes into programs.
const (
	smtpd = iota
	submission
	postscreen
	cleanup
	qmgr
	local
	forged
	firstNoise
)

const postfixUnit = "postfix@-.service"

var programs = []program{
	smtpd:      {postfixUID, 6, 2, "postfix/smtpd", "smtpd", "/usr/lib/postfix/sbin/smtpd", postfixUnit, "syslog"},
	submission: {postfixUID, 6, 2, "postfix/submission/smtpd", "smtpd", "/usr/lib/postfix/sbin/smtpd", postfixUnit, "syslog"},
	postscreen: {postfixUID, 6, 2, "postfix/postscreen", "postscreen", "/usr/lib/postfix/sbin/postscreen", postfixUnit, "syslog"},
	cleanup:    {postfixUID, 6, 2, "postfix/cleanup", "cleanup", "/usr/lib/postfix/sbin/cleanup", postfixUnit, "syslog"},
	qmgr:       {postfixUID, 6, 2, "postfix/qmgr", "qmgr", "/usr/lib/postfix/sbin/qmgr", postfixUnit, "syslog"},
	local:      {postfixUID, 6, 2, "postfix/local", "local", "/usr/lib/postfix/sbin/local", postfixUnit, "syslog"},
	forged:     {1001, 4, 2, "postfix/smtpd", "logger", "/usr/bin/logger", "session-7.scope", "syslog"},

	{0, 6, 4, "sshd", "sshd", "/usr/sbin/sshd", "ssh.service", "syslog"},
	{0, 6, 9, "CRON", "cron", "/usr/sbin/cron", "cron.service", "syslog"},
	{0, 6, 3, "systemd", "systemd", "/usr/lib/systemd/systemd", "init.scope", "journal"},
	{33, 6, 3, "apache2", "apache2", "/usr/sbin/apache2", "apache2.service", "stdout"},
	{110, 6, 3, "rspamd", "rspamd", "/usr/bin/rspamd", "rspamd.service", "stdout"},
	{0, 4, 0, "kernel", "kworker", "/usr/bin/true", "system.slice", "kernel"},
}

// noises has a text for each program that has nothing to do with Postfix, in the
// same order.
var noises = []string{
	"Failed password for invalid user u%d from 192.0.2.77 port %d ssh2",
	"(root) CMD (/usr/lib/job%d --slot %d)",
	"Started run-r%d.service - Job %d.",
	`192.0.2.14 - - "GET /page/%d HTTP/1.1" 200 %d`,
	"(normal) <%d>; task; rspamd_task_write_log: ip: 192.0.2.23, len: %d",
	"[UFW BLOCK] IN=eth0 ID=%d PROTO=TCP SPT=%d",
}

// offence is a session other than of guessing. A line that begins with ! tells of
// an event of the class that counts.
type offence struct {
	class      string
	postscreen bool
	lines      []string
}

// What a line has in the place of the client and its address.
const (
	theClient  = "{client}"
	theAddress = "{address}"
)

func fill(text, client, address string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, theClient, client), theAddress, address)
}

const (
	comes     = "connect from {client}"
	goes      = "disconnect from {client} ehlo=1 mail=1 rcpt=0/1 quit=1 commands=3/4"
	envelope  = "; from=<a@example.com> to=<b@example.org> proto=ESMTP helo=<x.example.com>"
	imitation = "; from=<a@example.com> to=<b@example.org> proto=ESMTP helo=<unknown[192.0.2.9]: SASL LOGIN authentication failed: x>"
)

// refusal is an offence of one refused recipient.
func refusal(class, text string) offence {
	return offence{class: class, lines: []string{comes, "!NOQUEUE: reject: RCPT from {client}: " + text, goes}}
}

var offences = []offence{
	refusal("relay-denied", "554 5.7.1 <b@example.org>: Relay access denied"+envelope),
	refusal("relay-denied", "554 5.7.1 <b@example.org>: Relay access denied"+imitation), // a decoy
	refusal("user-unknown", "550 5.1.1 <b@example.org>: Recipient address rejected: User unknown in local recipient table"+envelope),
	refusal("dnsbl", "554 5.7.1 Service unavailable; Client host [{address}] blocked using bl.example.net"+envelope),
	refusal("helo-reject", "504 5.5.2 <x>: Helo command rejected: need fully-qualified hostname"+envelope),
	refusal("client-reject", "550 5.7.25 Client host rejected: cannot find your hostname, [{address}]"+envelope),
	refusal("sender-reject", "553 5.7.1 <a@example.com>: Sender address rejected: not logged in"+envelope),
	refusal("policy-reject", "554 5.7.1 <b@example.org>: Recipient address rejected: Access denied"+envelope),
	{class: "milter-reject", lines: []string{comes, "!NOQUEUE: milter-reject: RCPT from {client}: 550 5.7.1 Spam message rejected" + envelope, goes}},
	{class: "non-smtp", lines: []string{comes, "!warning: non-SMTP command from {client}: GET / HTTP/1.1", "disconnect from {client} unknown=0/1 commands=0/1"}},
	{class: "pipelining", lines: []string{comes, "!improper command pipelining after EHLO from {client}: QUIT", "disconnect from {client} ehlo=1 quit=1 commands=2"}},
	{class: "bare-newline", lines: []string{comes, "!bare <LF> received after DATA from {client}", "disconnect from {client} ehlo=1 data=0/1 commands=1/2"}},
	{class: "too-many-errors", lines: []string{comes, "!too many errors after MAIL from {client}", "disconnect from {client} ehlo=1 mail=0/20 commands=1/21"}},
	{class: "lost-connection", lines: []string{comes, "!lost connection after EHLO from {client}", "disconnect from {client} ehlo=1 commands=1"}},
	{class: "lost-connection-after-auth", lines: []string{comes, "!lost connection after AUTH from {client}", "disconnect from {client} ehlo=1 commands=1"}},
	{class: "auth-unlogged", lines: []string{comes, "!disconnect from {client} ehlo=1 auth=0/1 commands=1/2"}},
	{class: "auth-rate-limit", lines: []string{comes, "!warning: AUTH command rate limit exceeded: 11 from {client} for service smtp", "disconnect from {client} ehlo=1 auth=0/1 commands=1/2"}},
	{class: "rate-limit", lines: []string{comes, "!warning: Connection rate limit exceeded: 51 from {client} for service smtp", "disconnect from {client} commands=0/0"}},
	{class: "tls-error", lines: []string{comes, "!SSL_accept error from {client}: -1", "lost connection after STARTTLS from {client}", "disconnect from {client} ehlo=1 starttls=0/1 commands=1/2"}},
	{class: "rdns-mismatch", lines: []string{"!warning: hostname mail.example.org does not resolve to address {address}", comes, "disconnect from {client} ehlo=1 quit=1 commands=2"}},
	{class: "pregreet", postscreen: true, lines: []string{"CONNECT from {client} to [192.0.2.1]:25", `!PREGREET 14 after 0.07 from {client}: EHLO example\r\n`, "DISCONNECT {client}"}},
	{class: "dnsbl-rank", postscreen: true, lines: []string{"CONNECT from {client} to [192.0.2.1]:25", "!DNSBL rank 3 for {client}", "DISCONNECT {client}"}},
	{class: "postscreen-limit", postscreen: true, lines: []string{"CONNECT from {client} to [192.0.2.1]:25", "!COMMAND TIME LIMIT from {client} after CONNECT", "DISCONNECT {client}"}},
	{class: "hangup", postscreen: true, lines: []string{"CONNECT from {client} to [192.0.2.1]:25", "!HANGUP after 0.2 from {client} in tests before SMTP handshake", "DISCONNECT {client}"}},
}
