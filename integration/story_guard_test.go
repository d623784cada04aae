package integration

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const loginProgram = "usr/local/bin/login-by-ssh"

// loggedIn has the unit, in its sandbox, find out that a banned client is logged
// in by SSH. There is no sshd here: logind is told what pam_systemd(8) would tell
// it after a login, and writes the session's file itself.
func (s *story) loggedIn(t *testing.T) {
	admin := netip.MustParseAddr("198.51.100.77")
	prefix := prefixOf(admin.String())
	s.run(t, "smtpban", "ban", admin.String())
	s.net.checkDoors(t, []netip.Addr{admin}, nil)

	s.run(t, "systemctl", "mask", "--runtime", "--quiet", "user@0.service") // it wants libpam-systemd
	installProgram(t, s.system, "./login", loginProgram)
	s.run(t, "systemd-run", "--quiet", "--unit=login", "/"+loginProgram, admin.String())
	s.run(t, "sh", "-c", `until grep -qs STATE=active /run/systemd/sessions/*; do sleep .1; done`)
	s.run(t, "systemctl", "start", "smtpban-block.service")
	if slices.Contains(routes(t, s.system), prefix) {
		t.Fatalf("%s is still blocked; its session:\n%s", prefix, s.run(t, "find", "/run/systemd/sessions", "-type", "f", "-exec", "cat", "{}", "+"))
	}
	s.net.checkDoors(t, nil, []netip.Addr{admin})
	s.run(t, "journalctl", "--sync")
	if told := s.run(t, "journalctl", "-q", "-o", "cat", "-u", "smtpban-block.service"); !strings.Contains(told, "unbanned "+prefix+": an SSH session of it is authenticated\n") {
		t.Fatalf("the journal does not say why %s was unbanned:\n%s", prefix, lastLines(told, 20))
	}

	s.run(t, "systemctl", "start", "smtpban-block.service") // reads of the visit just made
	before := storeFiles(t, s.system)
	s.run(t, "systemctl", "start", "smtpban-block.service")
	same(t, "store after a run with a session and no ban", before, storeFiles(t, s.system))
	s.run(t, "systemctl", "stop", "login.service")
	s.run(t, "sh", "-c", `until [ -z "$(loginctl list-sessions --no-legend)" ]; do sleep .1; done`)
	s.run(t, "smtpban", "block")
	if slices.Contains(routes(t, s.system), prefix) {
		t.Fatalf("%s is blocked again after the logout", prefix)
	}
}

// ignored lets a banned guesser in by smtpban ignore. He goes on guessing and stays in,
// and nothing of that counts once he is not ignored any more.
func (s *story) ignored(t *testing.T) {
	guesser := netip.MustParseAddr("198.51.100.66")
	guess := func() {
		t.Helper()
		s.net.attack(t, []session{{guesser, smtpPort, guesses(maxRetry, 0)}})
		s.run(t, "journalctl", "--sync")
		s.run(t, "systemctl", "start", "smtpban-block.service")
	}
	guess()
	s.net.checkDoors(t, []netip.Addr{guesser}, nil)
	s.run(t, "smtpban", "ignore", "add", guesser.String(), "--for", "1w", "--reason", "a customer")
	s.net.checkDoors(t, nil, []netip.Addr{guesser})
	guess()
	s.net.checkDoors(t, nil, []netip.Addr{guesser})
	if why := s.run(t, "smtpban", "explain", guesser.String()); !strings.Contains(why, "State: protected\n Protected: "+prefixOf(guesser.String())+", ignored by smtpban ignore until ") {
		t.Errorf("explain says of who is ignored:\n%s", why)
	}
	const idIgnored = "MESSAGE_ID=5d61eb2d55f549dfac1c2bdde6e890ce" // see smtpban(8)
	if told := s.run(t, "journalctl", "-q", "-x", "-t", "smtpban", idIgnored); !strings.Contains(told, "Subject: "+prefixOf(guesser.String())+" is ignored\n") {
		t.Errorf("journalctl -x does not explain who is ignored:\n%s", told)
	}
	s.run(t, "smtpban", "ignore", "remove", guesser.String())
	s.run(t, "systemctl", "start", "smtpban-block.service")
	s.net.checkDoors(t, nil, []netip.Addr{guesser})
	guess()
	s.net.checkDoors(t, []netip.Addr{guesser}, nil)
}

// secondInstance gives Postfix another instance, which trusts a banned client. It
// is the unit that asks postconf, in its sandbox.
func (s *story) secondInstance(t *testing.T) {
	partner := netip.MustParseAddr("198.51.100.88")
	s.run(t, "smtpban", "ban", partner.String())
	s.net.checkDoors(t, []netip.Addr{partner}, nil)
	s.write(t, "etc/postfix-partner/main.cf", "mynetworks = "+partner.String()+"\n")
	s.run(t, "postconf", "-e", "multi_instance_directories = /etc/postfix-partner")
	s.run(t, "systemctl", "start", "smtpban-block.service")
	s.net.checkDoors(t, nil, []netip.Addr{partner})
	s.run(t, "postconf", "-X", "multi_instance_directories")
	s.run(t, "systemctl", "start", "smtpban-block.service")
	s.net.checkDoors(t, []netip.Addr{partner}, nil)
	s.run(t, "smtpban", "unban", partner.String())
}
