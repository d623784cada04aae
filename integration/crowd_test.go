package integration

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
)

// A session is one SMTP connection of a client that tries to log in.
type session struct {
	from   netip.Addr
	port   uint16
	logins []login
}

var mechanisms = []string{"LOGIN", "PLAIN", "CRAM-MD5"}

// guesses returns n logins with wrong passwords, the nth client's by another
// mechanism than the one's before. By several in turn they would look like one
// password that a mail program tries in every way: see walk.
func guesses(n, nth int) []login {
	var logins []login
	for i := range n {
		logins = append(logins, login{mechanisms[nth%len(mechanisms)], alice, fmt.Sprintf("guess %d", i)})
	}
	return logins
}

// walk returns what a mail program does with a wrong password.
func walk(password string) []login {
	var logins []login
	for _, m := range mechanisms {
		logins = append(logins, login{m, alice, password})
	}
	return logins
}

// crowd returns the sessions of attackers who all deserve a ban: count IPv4
// clients, from 203.0.113.1 on, and clients of as many IPv6 /64s as networks,
// each of which changes its address there after every session.
func crowd(count, networks int) []session {
	var all []session
	for i := 1; i <= count; i++ {
		from := netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
		all = append(all,
			session{from, smtpPort, guesses(3, i)},
			session{from, submissionPort, guesses(2+i%4, i)})
	}
	for i := 1; i <= networks; i++ {
		for host := 1; host <= 3; host++ {
			from := netip.MustParseAddr(fmt.Sprintf("2001:db8:bad:%x::%x", i, host))
			all = append(all, session{from, submissionPort, guesses(2, i+host)})
		}
	}
	return all
}

// attack lets the sessions happen, several at a time, and returns for each
// client how many passwords the server refused with 535, the reply that RFC 4954
// has for it. No other verdict and no lost connection is expected.
func (n network) attack(t *testing.T, sessions []session) map[string]int {
	t.Helper()
	const atOnce = 16
	var (
		queue   = make(chan session)
		workers sync.WaitGroup
		mu      sync.Mutex
		refused = map[string]int{}
		errs    []error
	)
	for range atOnce {
		workers.Go(func() {
			for s := range queue {
				replies, err := n.logIn(s.from, s.port, s.logins...)
				if err == nil && replies[535] != len(s.logins) {
					err = fmt.Errorf("%d wrong passwords from %s got the replies %v", len(s.logins), s.from, replies)
				}
				mu.Lock()
				refused[clientOf(s.from)] += replies[535]
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	for _, s := range sessions {
		queue <- s
	}
	close(queue)
	workers.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return refused
}

// logInRight logs alice in from an address, on both ports and by every
// mechanism, as a user who knows the password does.
func (n network) logInRight(t *testing.T, from netip.Addr) {
	t.Helper()
	for _, port := range []uint16{smtpPort, submissionPort} {
		for _, m := range mechanisms {
			replies, err := n.logIn(from, port, login{m, alice, password})
			if err != nil || replies[235] != 1 {
				t.Fatalf("%s with the right password on port %d from %s: replies %v, error %v", m, port, from, replies, err)
			}
		}
	}
}

// checkDoors knocks at both ports for all of these clients at the same time,
// and fails the test unless just those who should be are shut out.
func (n network) checkDoors(t *testing.T, shutOut, letIn []netip.Addr) {
	t.Helper()
	var knocks sync.WaitGroup
	knock := func(from netip.Addr, want bool) {
		for _, port := range []uint16{smtpPort, submissionPort} {
			knocks.Go(func() {
				got, err := n.blocked(from, port)
				if err != nil {
					t.Errorf("connecting from %s to port %d: %v", from, port, err)
				} else if got != want {
					t.Errorf("%s blocked on port %d: %v, want %v", from, port, got, want)
				}
			})
		}
	}
	for _, a := range shutOut {
		knock(a, true)
	}
	for _, a := range letIn {
		knock(a, false)
	}
	knocks.Wait()
	if t.Failed() {
		t.FailNow()
	}
}
