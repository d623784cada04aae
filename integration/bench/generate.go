package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// generatorVersion changes whenever the generator makes something else of a seed.
const generatorVersion = 2

// plan says how large a journal is to be.
type plan struct {
	Seed    uint64
	Entries int // about three tenths of them Postfix's
	Clients int // that fail, a tenth of them IPv6
}

// The machine whose journal it is.
const (
	postfixUID = 101
	bootID     = "b0000000000000000000000000000001"
	machineID  = "a0000000000000000000000000000001"
	span       = 7 * 24 * time.Hour
	findTime   = 24 * time.Hour
	maxRetry   = 5
)

// began is when the journal begins, and end when it ends.
func began() time.Time { return time.Date(2026, time.March, 2, 0, 0, 0, 0, time.UTC) }
func end() time.Time   { return began().Add(span) }

// line is an entry of the journal: what changes from one to the next.
type line struct {
	at      time.Duration // since the beginning
	program int           // see programs
	pid     int
	text    string
}

// Truth is what there is to be found in a journal.
type Truth struct {
	Entries int
	Postfix int // written by Postfix's own user
	// Of these, by smtpd, postscreen and cleanup.
	ClientFacing int
	Clients      map[string]Client // by address, or by /64
}

// Client is what is to be found of one client.
type Client struct {
	Classes map[string]int // events of each class
	Banned  bool           // five of them within a day
}

// generator makes a journal and keeps what is true of it.
type generator struct {
	*rand.Rand
	lines   []line
	truth   Truth
	hits    map[string][]time.Duration
	nextPID int
}

// generate makes the entries in the order in which they are logged.
func generate(p plan) ([]line, Truth) {
	g := &generator{
		Rand:  rand.New(rand.NewPCG(p.Seed, generatorVersion)),
		truth: Truth{Entries: p.Entries, Clients: map[string]Client{}},
		hits:  map[string][]time.Duration{},
	}
	for len(g.lines) < p.Entries*3/10 {
		g.session(p.Clients)
	}
	for _, l := range g.lines {
		if programs[l.program].uid != postfixUID {
			continue
		}
		g.truth.Postfix++
		if l.program <= cleanup {
			g.truth.ClientFacing++
		}
	}
	for len(g.lines) < p.Entries {
		g.noise()
	}
	g.lines = g.lines[:p.Entries]
	slices.SortStableFunc(g.lines, func(a, b line) int { return int(a.at - b.at) })
	g.judge()
	return g.lines, g.truth
}

// client returns one of those that fail, some much more often than others.
func (g *generator) client(clients int) netip.Addr {
	n := g.IntN(clients)
	if g.IntN(3) == 0 {
		n = g.IntN(clients/20 + 1)
	}
	if n%10 == 9 {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(n >> 8), byte(n), 15: 1})
	}
	return netip.AddrFrom4([4]byte{198, 18 + byte(n&1), byte(n >> 9), byte(n >> 1)})
}

// key is how a client is counted: an IPv6 one by its network.
func key(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	return netip.PrefixFrom(a, 64).Masked().String()
}

// found notes an event.
func (g *generator) found(a netip.Addr, at time.Duration, class string) {
	k := key(a)
	c := g.truth.Clients[k]
	if c.Classes == nil {
		c.Classes = map[string]int{}
	}
	c.Classes[class]++
	g.truth.Clients[k] = c
	g.hits[k] = append(g.hits[k], at)
}

// judge finds out who is to be banned.
func (g *generator) judge() {
	for k, hits := range g.hits {
		slices.Sort(hits)
		c := g.truth.Clients[k]
		for i := maxRetry - 1; i < len(hits); i++ {
			if hits[i]-hits[i-maxRetry+1] < findTime {
				c.Banned = true
				break
			}
		}
		g.truth.Clients[k] = c
	}
}

func (g *generator) pid() int {
	g.nextPID++
	return 300 + g.nextPID%30000
}

// session adds what Postfix writes of one client from its coming to its going.
func (g *generator) session(clients int) {
	// All sessions are over when the journal ends.
	at := time.Duration(g.Int64N(int64(span - time.Hour)))
	switch n := g.IntN(100); {
	case n < 40:
		g.guesses(at, g.client(clients))
	case n < 55:
		g.mail(at)
	case n < 56:
		g.forgery(at, g.client(clients))
	default:
		g.offence(at, g.client(clients), offences[g.IntN(len(offences))])
	}
}

// add writes a line of a process a little later.
func (g *generator) add(at *time.Duration, program, pid int, format string, args ...any) {
	*at += time.Duration(1 + g.Int64N(int64(500*time.Millisecond)))
	g.lines = append(g.lines, line{at.Truncate(time.Microsecond), program, pid, fmt.Sprintf(format, args...)})
}

// guesses adds a session in which passwords are guessed, and now and then one
// whose user names imitate the failure of somebody else.
func (g *generator) guesses(at time.Duration, a netip.Addr) {
	program, pid := smtpd, g.pid()
	if g.IntN(3) == 0 {
		program = submission
	}
	client := g.name(a)
	g.add(&at, program, pid, "connect from %s", client)
	n := 1 + g.IntN(6)
	for i := range n {
		user := fmt.Sprintf("user%d@example.org", g.IntN(5000)*10+i)
		if g.IntN(20) == 0 {
			user = fmt.Sprintf("unknown[192.0.2.%d]: SASL LOGIN authentication failed: x%d", g.IntN(250), i)
		}
		g.add(&at, program, pid, "warning: %s: SASL %s authentication failed: authentication failure, sasl_username=%s",
			client, []string{"LOGIN", "PLAIN", "CRAM-MD5"}[g.IntN(3)], user)
		g.found(a, at, "sasl-auth")
	}
	g.add(&at, program, pid, "disconnect from %s ehlo=1 auth=0/%d commands=1/%d", client, n, n+1)
}

// mail adds a session in which mail is accepted, some of it after a login.
func (g *generator) mail(at time.Duration) {
	pid := g.pid()
	client := fmt.Sprintf("mail%d.example.net[203.0.113.%d]", g.IntN(200), g.IntN(250))
	id := fmt.Sprintf("%010X", g.Uint64()>>24)
	g.add(&at, smtpd, pid, "connect from %s", client)
	login := ""
	if g.IntN(4) == 0 {
		login = fmt.Sprintf(", sasl_method=PLAIN, sasl_username=user%d@example.org", g.IntN(500))
	}
	g.add(&at, smtpd, pid, "%s: client=%s%s", id, client, login)
	g.add(&at, cleanup, pid+1, "%s: message-id=<%x@example.net>", id, g.Uint64())
	g.add(&at, qmgr, 290, "%s: from=<somebody%d@example.net>, size=%d, nrcpt=1 (queue active)", id, g.IntN(900), g.IntN(90000))
	g.add(&at, smtpd, pid, "disconnect from %s ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5", client)
	g.add(&at, local, pid+2, "%s: to=<user%d@example.org>, relay=local, delay=0.2, delays=0.1/0/0/0.1, dsn=2.0.0, status=sent (delivered to mailbox)", id, g.IntN(500))
	g.add(&at, qmgr, 290, "%s: removed", id)
}

// forgery adds what a local user writes who pretends to be Postfix.
func (g *generator) forgery(at time.Duration, a netip.Addr) {
	g.add(&at, forged, g.pid(), "warning: unknown[%s]: SASL LOGIN authentication failed: authentication failure, sasl_username=root", a)
}

// offence adds a session with an offence of another kind.
func (g *generator) offence(at time.Duration, a netip.Addr, o offence) {
	pid, client, program := g.pid(), g.name(a), smtpd
	if o.postscreen {
		client, program = fmt.Sprintf("[%s]:%d", a, 1024+g.IntN(60000)), postscreen
	}
	for _, text := range o.lines {
		count, text := text[0] == '!', text
		if count {
			text = text[1:]
		}
		g.add(&at, program, pid, "%s", fill(text, client, a.String()))
		if count {
			g.found(a, at, o.class)
		}
	}
}

// name writes a client as smtpd does.
func (g *generator) name(a netip.Addr) string {
	if g.IntN(4) > 0 {
		return fmt.Sprintf("unknown[%s]", a)
	}
	return fmt.Sprintf("host-%d.example.com[%s]", g.IntN(100000), a)
}

// noise adds an entry of somebody else's.
func (g *generator) noise() {
	at := time.Duration(g.Int64N(int64(span)))
	n := g.IntN(len(noises))
	g.add(&at, firstNoise+n, 400+g.IntN(40), noises[n], g.IntN(1000), g.IntN(200))
}
