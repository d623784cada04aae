package torture_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"smtpban/integration/torture"
	"smtpban/internal/ban"
	"smtpban/internal/journal/journaltest"
	"smtpban/internal/store"
)

// What no run may exceed.
const (
	mostMemory = 64 // MiB of anonymous memory
	mostTime   = 60 * time.Second
)

// TestTortureAddresses lets a great many addresses attack, as fast as a Postfix
// takes it, with a run of block every half minute. In even rounds each IPv4
// address has five attempts. In odd ones an attacker rotates through IPv6: each
// address has one attempt, half of them in networks of five, the others in a
// network of their own. Then come the runs that end it all.
func TestTortureAddresses(t *testing.T) {
	private(t)
	binary := build(t)
	torture.Run(t, torture.Row{
		Title: "1,000,000 attacking addresses, IPv4 and rotating IPv6",
		Goal:  "anonymous memory at most 64 MiB, routes at most the cap, no run over 60 s",
		Short: 2, Full: 2,
		Figure: func(y torture.Tally) string {
			var verbs []string
			for _, verb := range []string{"block", "expire", "restore", "report"} {
				verbs = append(verbs, fmt.Sprintf("%s %.0f MiB and %.0f s", verb, y.Worst[verb+" MiB"], y.Worst[verb+" s"]))
			}
			return fmt.Sprintf("%d addresses, %d runs, %d bans; at most %.0f IPv4 and %.0f IPv6 routes, %s of CPU",
				y.Counts["addresses"], y.Counts["runs"], y.Counts["bans"], y.Worst["IPv4"], y.Worst["IPv6"], strings.Join(verbs, ", "))
		},
	}, func(r *torture.Round) error {
		m := newMachine(t, binary, r.Dir(t))
		defer m.table.Close()
		f := &flood{Round: r, machine: m, t: t, addresses: 10_000, limits: ban.Limits{IPv4: 2000, IPv6: 500}, perRun: 20_000}
		if torture.Full() {
			f.addresses, f.limits, f.perRun = 1_000_000, ban.Limits{IPv4: 200_000, IPv6: 50_000}, 78_000
		}
		return f.tell()
	})
}

// flood is a round: an attack from that many addresses.
type flood struct {
	*torture.Round
	*machine
	t         *testing.T
	addresses int
	limits    ban.Limits
	perRun    int // attempts between two runs: Postfix took up to 2,600 a second
}

// The rules: bans that end within a day after the attack, and nobody who is
// remembered for longer than the report needs.
const floodPolicy = `[policy]
maxretry = 5
bantime = "6h"
bantime_factor = 1
forget = "1h"
[journal]
postfix_user = "%d"
[route]
max_ipv4 = %d
max_ipv6 = %d
`

func (f *flood) tell() error {
	text := fmt.Sprintf(floodPolicy, postfixUID, f.limits.IPv4, f.limits.IPv6)
	if err := os.WriteFile(f.config(), []byte(text), 0o644); err != nil {
		return err
	}
	ipv6 := f.N%2 == 1
	clients, bans := f.addresses, f.addresses
	if ipv6 {
		bans = f.addresses / 10
		clients = f.addresses/2 + bans
	}
	now, err := f.attack(ipv6)
	if err := errors.Join(err, f.count(clients, bans), f.routed(bans)); err != nil {
		return err
	}
	f.Count("addresses", f.addresses)
	f.Count("bans", bans)
	err = errors.Join(f.run(now, nil, "report", "-o", "json"), f.run(now.Add(time.Minute), nil, "expire"))
	if err := errors.Join(err, f.routed(bans)); err != nil {
		return err
	}
	if err := f.dropRoutes(); err != nil {
		return err
	}
	if err := errors.Join(f.run(now.Add(2*time.Minute), nil, "restore"), f.routed(bans)); err != nil {
		return err
	}
	now = now.Add(7 * time.Hour)
	if err := errors.Join(f.run(now, nil, "expire"), f.routed(0), f.count(clients, 0)); err != nil {
		return err
	}
	for range 9 { // a jump of more than a day would put the clock in doubt
		now = now.Add(23 * time.Hour)
		if err := f.run(now, nil, "expire"); err != nil {
			return err
		}
	}
	return f.count(0, 0)
}

// attack has all sessions happen, in random order, and returns when it was over.
func (f *flood) attack(ipv6 bool) (time.Time, error) {
	clock, attempts := began, 0
	var text bytes.Buffer
	sessions := f.Rand.Perm(f.addresses)
	for i, nth := range sessions {
		address, tries := floodIPv4(nth), 5
		if ipv6 {
			address, tries = floodIPv6(nth), 1
		}
		clock = floodSession(&text, clock, f.Rand, address, tries)
		attempts += tries
		if attempts < f.perRun && i < len(sessions)-1 {
			continue
		}
		if err := f.run(clock, &text, "block", "--entries", "-"); err != nil {
			return clock, err
		}
		attempts = 0
		text.Reset()
	}
	return clock, nil
}

// floodIPv4 returns the nth address of the attack. They are scattered.
func floodIPv4(n int) netip.Addr {
	n *= 17
	return netip.AddrFrom4([4]byte{11 + byte(n>>24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// floodIPv6 returns the nth address: every ten are five of one network and five
// of a network each.
func floodIPv6(n int) netip.Addr {
	group, member := n/10, n%10
	network := group*6 + max(member-4, 0)
	b := [16]byte{0x20, 0x01, 0x0d, 0xb8, byte(network >> 24), byte(network >> 16), byte(network >> 8), byte(network), 15: byte(1 + member)}
	return netip.AddrFrom16(b)
}

// floodSession appends what Postfix logs of a session in which so many passwords
// are refused, and returns when it ended.
func floodSession(text *bytes.Buffer, clock time.Time, r *rand.Rand, address netip.Addr, tries int) time.Time {
	pid := 1000 + r.IntN(100)
	messages := []string{fmt.Sprintf("connect from unknown[%s]", address)}
	for range tries {
		messages = append(messages, fmt.Sprintf("warning: unknown[%s]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=info", address))
	}
	messages = append(messages, fmt.Sprintf("disconnect from unknown[%s] ehlo=1 auth=0/%d quit=1 commands=2/%d", address, tries, tries+2))
	for _, message := range messages {
		clock = clock.Add(275 * time.Microsecond) // 7 for 5 attempts: 2,600 attempts a second
		text.Write(journaltest.Export(journaltest.Entry{
			Boot: journaltest.Boot(1), Time: clock, Monotonic: clock.Sub(began), UID: postfixUID,
			Identifier: "postfix/smtpd", PID: pid, Message: message,
		}))
	}
	return clock
}

// run runs a command and looks at what it needs. Its time is that of the CPU: what
// else the machine does must not decide.
func (f *flood) run(now time.Time, input *bytes.Buffer, args ...string) error {
	r := f.command(now, append(args, "--state", f.state(), "-q")...)
	if input != nil {
		r.Stdin = input
	}
	if args[0] == "report" {
		r.Stdout = nil
	}
	use, err := r.measured()
	if err != nil {
		return err
	}
	f.Count("runs", 1)
	f.Worst(args[0]+" MiB", use.memory)
	f.Worst(args[0]+" s", use.cpu.Seconds())
	f.Worst(args[0]+" s of wall clock", use.wall.Seconds())
	if use.memory > mostMemory && args[0] != "report" {
		return fmt.Errorf("%v: %.1f MiB of anonymous memory\n%s", args, use.memory, use.detail)
	}
	if use.cpu > mostTime {
		return fmt.Errorf("%v: took %v", args, use.cpu)
	}
	return nil
}

// routed checks that of so many bans as many have a route as may.
func (f *flood) routed(bans int) error {
	var ipv4, ipv6 int
	for _, p := range f.routes(f.t) {
		if p.Addr().Is4() {
			ipv4++
		} else {
			ipv6++
		}
	}
	f.Worst("IPv4", float64(ipv4))
	f.Worst("IPv6", float64(ipv6))
	got, want := ban.Limits{IPv4: ipv4, IPv6: ipv6}, ban.Limits{IPv4: min(bans, f.limits.IPv4)}
	if f.N%2 == 1 {
		want = ban.Limits{IPv6: min(bans, f.limits.IPv6)}
	}
	if got != want {
		return fmt.Errorf("routes: %+v, want %+v", got, want)
	}
	return nil
}

// count checks how many clients and bans the state has.
func (f *flood) count(clients, bans int) error {
	gotClients, gotBans := 0, 0
	err := store.New(f.state()).View(func(tx *store.Tx) error {
		for _, err := range tx.Clients() {
			if err != nil {
				return err
			}
			gotClients++
		}
		for _, err := range tx.Bans() {
			if err != nil {
				return err
			}
			gotBans++
		}
		return nil
	})
	if err == nil && (gotClients != clients || gotBans != bans) {
		err = fmt.Errorf("%d clients and %d bans, want %d and %d", gotClients, gotBans, clients, bans)
	}
	return err
}

// dropRoutes empties the kernel as a reboot does.
func (f *flood) dropRoutes() error {
	var changes []ban.Change
	for _, p := range f.routes(f.t) {
		changes = append(changes, ban.Change{Prefix: p, Delete: true})
	}
	return errors.Join(f.table.Apply(changes)...)
}
