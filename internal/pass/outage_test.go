package pass_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
	"smtpban/internal/pass"
	"smtpban/internal/store"
)

// The clients of an outage.
const (
	alice   = "198.51.100.1"
	bob     = "198.51.100.2"
	carol   = "198.51.100.3"
	guesser = "203.0.113.9" // never logged in
)

// customers is a log in which all of them logged in at hour 0.
func customers() tape {
	return slices.Concat(successes(alice, 0), successes(bob, 0), successes(carol, 0))
}

// outage is one in which the passwords of all three, and of a guesser, are
// refused: in the second hour nobody can know yet, in the third everybody.
func outage() tape {
	return slices.Concat(customers(), failures(alice, 2, 2, 2, 2, 2), failures(guesser, 2.5, 2.5, 2.5, 2.5, 2.5),
		failures(bob, 3, 3, 3, 3, 3), failures(carol, 3, 3, 3, 3, 3))
}

// says is another line about a client.
func says(message, address string, hour float64) journal.Entry {
	e := failure(address, at(hour))
	e.Message = strings.ReplaceAll(message, "CLIENT", "unknown["+address+"]")
	return e
}

const (
	fault  = "warning: CLIENT: SASL PLAIN authentication failed: Connection lost to authentication server"
	broken = "warning: CLIENT: SASL CRAM-MD5 authentication failed: no mechanism available"
	robot  = "warning: non-SMTP command from CLIENT: GET / HTTP/1.1"
	relay  = "NOQUEUE: reject: RCPT from CLIENT: 554 5.7.1 <a@example.org>: Relay access denied; from=<b@example.org>"
)

// heldBan is the first one of a client that the outage explains.
func heldBan(address string, start float64) ban.Ban {
	b := firstBan(address+"/32", at(start))
	b.Held, b.Until = true, at(start+24)
	return b
}

func TestBansOfThoseWhoUsedToLogInAreHeldBackInAnOutage(t *testing.T) {
	m := newMachine(t)
	read := m.read(at(4), outage())
	held := []ban.Ban{heldBan(alice, 2), heldBan(bob, 3), heldBan(carol, 3)}
	check(t, pass.Read{
		Entries: 23, First: at(0), Events: 20, Bans: []ban.Ban{firstBan(guesser+"/32", at(2.5))},
		Held: held, Cause: pass.Cause{Since: at(0), Clients: 3},
	}, read)
	check(t, append(held, read.Bans...), m.state().Bans)
	for _, b := range held {
		if hits := m.state().Evidence[b.Prefix].Hits; len(hits) != 5 {
			t.Errorf("%d hits are kept against %s", len(hits), b.Prefix)
		}
	}
	r := blocking()
	m.settle(at(4), ban.NeverBan{}, r)
	r.check(t, guesser+"/32")
}

// Before the third of them failed, nobody could know.
func TestABanOfTheBeginningIsHeldBackOnceTheOutageIsRecognised(t *testing.T) {
	m := newMachine(t)
	log := outage()
	first := m.read(at(2.6), log[:13])
	check(t, []string{alice + "/32", guesser + "/32"}, banned(first.Bans))
	check(t, []ban.Ban(nil), first.Held)
	r := blocking()
	m.settle(at(2.6), ban.NeverBan{}, r)
	r.check(t, alice+"/32", guesser+"/32")

	log = append(log[:13], failures(bob, 3)...)
	log = append(log, failures(carol, 3)...)
	second := m.read(at(3), log)
	check(t, []ban.Ban{heldBan(alice, 2)}, second.Held)
	m.settle(at(3), ban.NeverBan{}, r)
	r.check(t, guesser+"/32")
}

// What else became of the bans of the beginning stays as it is.
func TestBansThatAnAdminChangedAreNotHeldBackLater(t *testing.T) {
	m := newMachine(t)
	log := slices.Concat(failures(alice, -30, -30, -30, -30, -30), customers(), failures(alice, 1, 1, 1, 1, 1), failures(bob, 1, 1, 1, 1, 1))
	m.read(at(1), log)
	m.unban(at(1.5), alice+"/32")
	m.ban(at(1.5), manual(bob+"/32", 1.5, 2.5, ""))
	log = append(log, failures(carol, 2)...)
	check(t, []ban.Ban(nil), m.read(at(2), log).Held)
	check(t, true, m.rest().Outage.Recognised)
	check(t, []string{bob + "/32"}, banned(m.state().Bans))
	check(t, []time.Time{at(-6)}, m.state().Clients[0].Ends) // of the ban that was lifted nothing is left
}

func TestBansThatTheOutageDoesNotExplainAreNotHeldBackLater(t *testing.T) {
	m := newMachine(t)
	log := slices.Concat(customers(), failures(alice, 1), tape{says(robot, alice, 1), says(relay, alice, 1), says(robot, alice, 1)})
	check(t, []string{alice + "/32"}, banned(m.read(at(1), log).Bans))
	log = slices.Concat(log, failures(bob, 2), failures(carol, 2))
	check(t, []ban.Ban(nil), m.read(at(2), log).Held)
	check(t, true, m.rest().Outage.Recognised)
}

// Of a long log a batch is judged before the next is read.
func TestABanHeldBackByALaterBatchIsNotTakenForABan(t *testing.T) {
	log := append(customers(), failures(alice, 1, 1, 1, 1, 1)...)
	for range 50_000 {
		log = append(log, says("connect from CLIENT", guesser, 2))
	}
	read := newMachine(t).read(at(4), slices.Concat(log, failures(bob, 3), failures(carol, 3)))
	check(t, []ban.Ban(nil), read.Bans)
	check(t, []ban.Ban{heldBan(alice, 1)}, read.Held)
}

func TestAnOutageIsToldOnce(t *testing.T) {
	m := newMachine(t)
	log := outage()
	check(t, pass.Cause{Since: at(0), Clients: 3}, m.read(at(3), log[:19]).Cause)
	read := m.read(at(3), log)
	check(t, pass.Cause{}, read.Cause)
	check(t, []string{carol + "/32"}, banned(read.Held))
}

func TestAnOutageThatIsOverIsToldWithItsEnd(t *testing.T) {
	m := newMachine(t)
	read := m.read(at(5), append(outage(), successes(bob, 4)...))
	check(t, pass.Cause{Since: at(0), Until: at(4), Clients: 3}, read.Cause)
	check(t, []string{alice + "/32", bob + "/32", carol + "/32"}, banned(read.Held))
}

func TestTheServersOwnFaultMakesAnOutageOfOneVictim(t *testing.T) {
	for message, held := range map[string]bool{fault: true, broken: false} {
		m := newMachine(t)
		log := append(customers(), says(message, guesser, 1))
		log = slices.Concat(log, failures(alice, 2, 2, 2, 2, 2), failures(guesser, 2, 2, 2, 2, 2))
		read := m.read(at(3), log)
		if held {
			check(t, []string{alice + "/32"}, banned(read.Held))
			check(t, pass.Cause{Since: at(0), Clients: 1, Fault: true}, read.Cause)
			check(t, []string{guesser + "/32"}, banned(read.Bans))
		} else { // which is what everybody gets who asks for such a mechanism
			check(t, []ban.Ban(nil), read.Held)
			check(t, []string{alice + "/32", guesser + "/32"}, banned(read.Bans))
		}
	}
}

func TestOneSuccessIsEnoughToShowThatTheServerIsWell(t *testing.T) {
	m := newMachine(t)
	log := slices.Concat(customers(), failures(alice, 2, 2, 2, 2, 2), failures(bob, 2, 2, 2, 2, 2),
		successes("192.0.2.7", 2.5), failures(carol, 3, 3, 3, 3, 3))
	read := m.read(at(4), log)
	check(t, []string{alice + "/32", bob + "/32", carol + "/32"}, banned(read.Bans))
	check(t, []ban.Ban(nil), read.Held)
}

func TestAfterAnOutageItsFailuresAreForgotten(t *testing.T) {
	m := newMachine(t)
	log := slices.Concat(failures(alice, 0), customers(), failures(alice, 2, 2, 2), failures(bob, 2, 2, 2, 2, 2), failures(carol, 2),
		failures(guesser, 2, 2, 2, 2), successes(carol, 3), failures(alice, 4, 4, 4), failures(guesser, 4))
	read := m.read(at(4), log)
	check(t, []string{bob + "/32"}, banned(read.Held))
	check(t, []string{guesser + "/32"}, banned(read.Bans))

	// The password of one of them is wrong after all.
	log = slices.Concat(log, failures(alice, 5), failures(bob, 5, 5, 5, 5, 5))
	check(t, []string{alice + "/32", bob + "/32"}, banned(m.read(at(5), log).Bans))
}

func TestAbuseOfAnotherKindIsBannedInAnOutage(t *testing.T) {
	m := newMachine(t)
	log := append(outage(), says(robot, bob, 4), says(robot, bob, 4), says(robot, bob, 4))
	read := m.read(at(4), log)
	check(t, []string{bob + "/32", guesser + "/32"}, banned(read.Bans))
	check(t, []string{alice + "/32", carol + "/32"}, banned(read.Held))
	check(t, []string{bob + "/32 lapsed"}, m.ended())
}

// ended names the ended bans, and how they ended.
func (m *machine) ended() (names []string) {
	m.t.Helper()
	for _, x := range m.state().Ended {
		names = append(names, x.Prefix.String()+" "+x.How)
	}
	return names
}

func TestABanHeldBackLapsesAndDoesNotLengthenTheNext(t *testing.T) {
	m := newMachine(t)
	log := outage()
	m.read(at(4), log)
	m.wake(at(27))
	settled := m.settle(at(27), ban.NeverBan{}, blocking())
	check(t, []ban.Ban{heldBan(alice, 2), firstBan(guesser+"/32", at(2.5)), heldBan(bob, 3), heldBan(carol, 3)}, settled.Expired)
	check(t, []string{alice + "/32 lapsed", guesser + "/32 expired", bob + "/32 lapsed", carol + "/32 lapsed"}, m.ended())

	log = slices.Concat(log, successes(bob, 28), failures(alice, 29, 29, 29, 29, 29), failures(guesser, 29, 29, 29, 29, 29))
	check(t, []int{1, 2}, counts(m.read(at(29), log).Bans))
}

func TestABanHeldBackIsRenewedAsLongAsTheOutageLasts(t *testing.T) {
	m := newMachine(t)
	log := outage()
	m.read(at(4), log)
	log = append(log, failures(bob, 20, 20)...)
	m.read(at(20), log)
	want := heldBan(bob, 3)
	want.Failures = 7
	check(t, want, m.state().Bans[1])
	log = append(log, failures(bob, 20, 20, 20)...)
	read := m.read(at(20), log)
	check(t, []ban.Ban(nil), read.Held) // it is no news
	want.Failures, want.Until = 10, at(44)
	check(t, want, m.state().Bans[1])
	if hits := m.state().Evidence[want.Prefix].Hits; len(hits) != 5 || !hits[4].Time.Equal(at(20)) {
		t.Errorf("it rests on %v", hits)
	}
	check(t, []string(nil), m.ended())
}

func counts(bans []ban.Ban) (all []int) {
	for _, b := range bans {
		all = append(all, b.Count)
	}
	return all
}

func (m *machine) confirm(now float64) []ban.Ban {
	m.t.Helper()
	confirmed, err := m.at(at(now)).Confirm()
	if err != nil {
		m.t.Fatal(err)
	}
	return confirmed
}

func TestConfirmedBansTakeEffectAsIfNeverHeldBack(t *testing.T) {
	m := newMachine(t)
	log := outage()
	m.read(at(4), log[:19])
	r := blocking()
	m.settle(at(4), ban.NeverBan{}, r)
	check(t, []ban.Ban{firstBan(alice+"/32", at(2)), firstBan(bob+"/32", at(3))}, m.confirm(4))
	check(t, []ban.Ban(nil), m.confirm(4))
	m.settle(at(4), ban.NeverBan{}, r)
	r.check(t, alice+"/32", bob+"/32", guesser+"/32")

	// No more of this outage are held back, but of the next.
	read := m.read(at(4), log)
	check(t, []string{carol + "/32"}, banned(read.Bans))
	check(t, []ban.Ban(nil), read.Held)
	for _, later := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		log = append(log, successes(later, 5)...)
	}
	for _, later := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		log = append(log, failures(later, 6, 6, 6, 6, 6)...)
	}
	read = m.read(at(6), log)
	check(t, []string{"192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32"}, banned(read.Held))

	// They count for the length of the next.
	m.wake(at(28))
	log = slices.Concat(log, successes(bob, 27), failures(alice, 28, 28, 28, 28, 28))
	check(t, []int{2}, counts(m.read(at(28), log).Bans))
}

func TestUnbanAndALoginBySSHDropABanHeldBack(t *testing.T) {
	m := newMachine(t)
	m.read(at(4), outage())
	check(t, []string{alice + "/32"}, banned(m.unban(at(4), alice+"/32")))
	ended, err := m.at(at(4)).Admit([]netip.Addr{netip.MustParseAddr(bob)})
	check(t, nil, err)
	check(t, []string{bob + "/32"}, banned(ended))
	check(t, []string{carol + "/32", guesser + "/32"}, banned(m.state().Bans))
	check(t, []string{carol + "/32"}, banned(m.confirm(5)))
}

func TestABanByHandIsNotHeldBack(t *testing.T) {
	m := newMachine(t)
	m.read(at(4), outage())
	b := m.ban(at(4), manual(bob+"/32", 4, 5, "enough"))
	check(t, []any{false, at(5)}, []any{b.Held, b.Until})
	r := blocking()
	m.settle(at(4), ban.NeverBan{}, r)
	r.check(t, bob+"/32", guesser+"/32")
}

func TestTheNeverBannedAreNotBlockedByConfirming(t *testing.T) {
	m := newMachine(t)
	m.read(at(4), outage())
	m.confirm(4)
	r := blocking()
	m.settle(at(4), never(bob+"/32"), r)
	r.check(t, alice+"/32", carol+"/32", guesser+"/32")
}

func TestWhereNoBanIsToBeHeldBackNothingIsLearntEither(t *testing.T) {
	m := newMachine(t)
	p := m.at(at(4))
	p.Hold = false
	read, err := p.Read(m.open(outage()))
	check(t, nil, err)
	check(t, []string{alice + "/32", bob + "/32", carol + "/32", guesser + "/32"}, banned(read.Bans))
	check(t, []store.Login(nil), m.rest().Logins)
}

func TestTheStateKnowsWhoLoggedInLastAndWhen(t *testing.T) {
	m := newMachine(t)
	log := slices.Concat(successes("2001:db8::1", 1), successes(alice, 2), successes("2001:db8::2", 3), successes(alice, 1.5))
	m.read(at(3), log)
	check(t, []store.Login{
		{Prefix: netip.MustParsePrefix(alice + "/32"), At: at(2)},
		{Prefix: netip.MustParsePrefix("2001:db8::/64"), At: at(3)},
	}, m.rest().Logins)
	check(t, ban.Outage{Since: at(1.5)}, m.rest().Outage) // in the order of the log
}

// cheap is a botnet of clients that cost nothing: each fails five times.
func cheap(n int, start time.Time) (log tape) {
	for i := range n {
		for range 5 {
			log = append(log, failure(nth(i).Addr().String(), start.Add(time.Duration(i)*time.Second)))
		}
	}
	return log
}

func TestABotnetIsBannedAtOnceAndCanNeitherBuyNorHideAnOutage(t *testing.T) {
	const many = 10_000
	botnet := cheap(many, at(3))
	for _, tc := range []struct {
		name   string
		victim []string
	}{
		{"where two customers fail, too", []string{alice, bob}},
		{"in an outage", []string{alice, bob, carol}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMachine(t)
			log := customers()
			for _, v := range tc.victim {
				log = append(log, failures(v, 2)...)
			}
			log = append(log, botnet...)
			for _, v := range tc.victim {
				log = append(log, failures(v, 6, 6, 6, 6)...)
			}
			read := m.read(at(6), log)
			want := []int{many + len(tc.victim), 0}
			if len(tc.victim) == 3 {
				want = []int{many, 3}
			}
			check(t, want, []int{len(read.Bans) + read.MoreBans, len(read.Held)})
			r := blocking()
			m.settle(at(6), ban.NeverBan{}, r)
			check(t, want[0], len(r.blocked))
		})
	}
}

// Fault lines can be had by asking for them, where a server is odd enough.
func TestFaultsDoNotHelpThoseWhoNeverLoggedIn(t *testing.T) {
	const many = 1000
	log := customers()
	for i, e := range cheap(many, at(3)) {
		if i%5 == 0 {
			log = append(log, says(fault, guesser, 3))
		}
		log = append(log, e)
	}
	read := newMachine(t).read(at(6), log)
	check(t, []int{many, 0}, []int{len(read.Bans), len(read.Held)})
}

// A login under a clock that was ahead must not hide an outage once the clock is
// right.
func TestALoginUnderAClockAheadHidesNoOutage(t *testing.T) {
	outage := slices.Concat(failures(alice, 6, 6, 6, 6, 6), failures(bob, 6.1, 6.1, 6.1, 6.1, 6.1), failures(carol, 6.2, 6.2, 6.2, 6.2, 6.2))
	m := newMachine(t)
	log := customers()
	m.read(at(1), log)
	log = slices.Concat(log, successes(alice, 120))
	m.read(at(120), log)
	for _, hour := range []float64{120, 121.1, 4, 5.1} { // it is believed, and then set right
		if _, err := m.at(at(hour)).CheckClock(); err != nil {
			t.Fatal(err)
		}
	}
	read := m.read(at(7), slices.Concat(log, outage))
	check(t, []int{0, 3}, []int{len(read.Bans), len(read.Held)})
}
