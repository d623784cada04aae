package integration

import (
	"errors"
	"maps"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// timer hands the work over to the units, with the one command that an admin
// types, and a faster pace than shipped.
func (s *story) timer(t *testing.T) {
	s.write(t, "etc/systemd/system/smtpban-block.timer.d/fast.conf", "[Timer]\nOnUnitInactiveSec=1s\nAccuracySec=100ms\n")
	s.run(t, "systemctl", "daemon-reload")
	s.run(t, "systemctl", "enable", "--now", "smtpban-block.timer")
	s.run(t, "systemctl", "is-enabled", "smtpban-restore.service")
	s.run(t, "systemctl", "is-active", "smtpban-block.timer", "smtpban-expire.timer")
	s.outlast(t, 0x100, "203.0.113.230", func() {})
}

func (s *story) journaldRestart(t *testing.T) {
	s.outlast(t, 0x200, "203.0.113.240", func() {
		s.run(t, "systemctl", "restart", "systemd-journald")
	})
}

// outlast lets new clients guess without pause, from the IPv4 address first on
// and from the IPv6 networks network on, until all of them are shut out. The
// replies of a connection that was cut are lost, so what smtpban has counted is
// compared with the journal.
func (s *story) outlast(t *testing.T, network int, first string, meanwhile func()) {
	t.Helper()
	clients := sustained(network, first)
	var attackers sync.WaitGroup
	errs := make([]error, len(clients))
	for i, from := range clients {
		attackers.Go(func() { errs[i] = s.net.guessUntilShutOut(from) })
	}
	meanwhile()
	attackers.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	s.shutOut = append(s.shutOut, clients...)

	counted := failuresInJournal(t, s.system)
	for client, n := range s.refused {
		if counted[client] != n {
			t.Fatalf("%s was refused %d times and is now in the journal %d times", client, n, counted[client])
		}
	}
	s.refused = counted
	s.run(t, "smtpban", "block") // the timer may not have come to the last lines
	s.checkReport(t)
	s.checkBans(t)
	s.net.checkDoors(t, s.shutOut, s.letIn)
}

// sustained returns the clients of one sustained attack.
func sustained(network int, first string) []netip.Addr {
	var clients []netip.Addr
	for a := netip.MustParseAddr(first); len(clients) < 8; a = a.Next() {
		clients = append(clients, a)
	}
	base := netip.MustParseAddr("2001:db8:bad::1").As16()
	for i := range 3 {
		base[6], base[7] = byte(network>>8), byte(network+i)
		clients = append(clients, netip.AddrFrom16(base))
	}
	return clients
}

// guessUntilShutOut opens session after session until one is not answered.
func (n network) guessUntilShutOut(from netip.Addr) error {
	const patience = 30 * time.Second
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		_, err := n.logIn(from, submissionPort, guesses(3, 0)...)
		if isTimeout(err) {
			return nil
		}
		if err != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New(from.String() + " is not shut out after " + patience.String())
}

// withoutIPv6 takes IPv6 away from the running server, which makes the kernel
// forget its IPv6 routes.
func (s *story) withoutIPv6(t *testing.T) {
	const off = "net.ipv6.conf.all.disable_ipv6"
	s.run(t, "systemctl", "stop", "smtpban-block.timer")
	if err := sysctl(s.net.server, off, "1"); err != nil {
		t.Fatal(err)
	}
	client := netip.AddrFrom4([4]byte{203, 0, 113, 250})
	maps.Copy(s.refused, s.net.attack(t, []session{{client, smtpPort, guesses(maxRetry, 0)}}))
	s.run(t, "journalctl", "--sync")
	s.run(t, "smtpban", "block")
	s.net.checkDoors(t, []netip.Addr{client, s.shutOut[0]}, []netip.Addr{friend})

	if err := sysctl(s.net.server, off, "0"); err != nil {
		t.Fatal(err)
	}
	s.run(t, "smtpban", "block")
	s.shutOut = append(s.shutOut, client)
	s.checkBans(t)
	s.run(t, "systemctl", "start", "smtpban-block.timer")
}

// reboot turns the server off and on while banned and unbanned clients hammer
// at it. Its network namespace is a new one, so every route in it afterwards
// came out of smtpban's store.
func (s *story) reboot(t *testing.T) {
	banned4 := s.net.hammer(s.shutOut[0])
	banned6 := s.net.hammer(netip.MustParseAddr("2001:db8:bad:1::abcd"))
	welcome := s.net.hammer(friend)
	s.powerOff(t)
	s.boot(t)
	time.Sleep(time.Second) // Postfix listens; so let them knock

	for _, banned := range []*hammer{banned4, banned6} {
		if got, tries := banned.stop(); len(got) > 0 || tries < 10 {
			t.Errorf("a banned client got %d connections in %d tries over the reboot: %v", len(got), tries, got[:min(3, len(got))])
		}
	}
	if got, tries := welcome.stop(); len(got) == 0 {
		t.Errorf("an unbanned client got no connection in %d tries over the reboot", tries)
	}
	s.inOrder(t,
		moment{"smtpban-restore.service", "ExecMainExitTimestampMonotonic"},
		moment{"network-pre.target", "ActiveEnterTimestampMonotonic"})
	s.inOrder(t,
		moment{"smtpban-restore.service", "ExecMainExitTimestampMonotonic"},
		moment{s.postfixUnit(t), "InactiveExitTimestampMonotonic"})
	s.refused = failuresInJournal(t, s.system)
	s.checkBans(t)
	s.net.checkDoors(t, s.shutOut, s.letIn)
}

// A moment is a property of a unit that holds a time of this boot.
type moment struct{ unit, property string }

// inOrder fails the test unless both happened, one after the other.
func (s *story) inOrder(t *testing.T, earlier, later moment) {
	t.Helper()
	var at [2]int
	for i, m := range []moment{earlier, later} {
		text := strings.TrimSpace(s.run(t, "systemctl", "show", "-P", m.property, m.unit))
		µs, err := strconv.Atoi(text)
		if err != nil || µs == 0 {
			t.Fatalf("%s of %s is %q", m.property, m.unit, text)
		}
		at[i] = µs
	}
	if at[0] >= at[1] {
		t.Errorf("%v came at %d µs, not before %v at %d µs", earlier, at[0], later, at[1])
	}
}

// postfixUnit is the unit of Postfix's master. Debian 13 still has the template
// that ran it before, unused.
func (s *story) postfixUnit(t *testing.T) string {
	t.Helper()
	const instance = "postfix@-.service"
	if _, _, code := s.try(t, "systemctl", "is-active", instance); code == 0 {
		return instance
	}
	return "postfix.service"
}
