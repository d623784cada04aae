package integration

import (
	"strings"
	"testing"
)

const (
	mailHost = "mx.example.test"
	alice    = "alice"  // has a mailbox and may log in to send
	password = "secret" // hers
)

// mainCF asks for a login on every port, without TLS: what matters here is what
// Postfix logs about it, and that does not change.
const mainCF = `
compatibility_level = 3.6
myhostname = ` + mailHost + `
mydestination = $myhostname, localhost
mynetworks = 127.0.0.0/8 [::1]/128
inet_protocols = all
alias_maps =
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated reject_unauth_destination
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = $myhostname
smtpd_tls_security_level = none
smtpd_timeout = 20s
`

// The passwords are in Cyrus's own database, which can do CRAM-MD5 as well.
const saslConf = `
pwcheck_method: auxprop
auxprop_plugin: sasldb
mech_list: PLAIN LOGIN CRAM-MD5
`

// installPostfix configures the Postfix of a system that is off: smtpd on ports
// 25 and 587, one user, and no name service to wait for.
func installPostfix(t *testing.T, s *system) {
	t.Helper()
	s.write(t, "etc/hostname", "mx\n")
	s.write(t, "etc/hosts", "127.0.0.1 localhost\n"+server4.String()+" "+mailHost+" mx\n")
	s.write(t, "etc/resolv.conf", "")
	s.write(t, "etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n")
	s.write(t, "etc/postfix/main.cf", mainCF)
	s.write(t, "etc/postfix/sasl/smtpd.conf", saslConf)
	for _, setting := range [][]string{
		{"-M", "submission/inet=submission inet n - n - - smtpd"},
		{"-P", "submission/inet/syslog_name=postfix/submission"},
		{"-F", "smtp/inet/chroot=n"}, // sees /etc/sasldb2
	} {
		output(t, s.chroot(append([]string{"postconf"}, setting...)...))
	}
	output(t, s.chroot("useradd", "--create-home", "--uid", "1001", alice))
	passwd := s.chroot("saslpasswd2", "-p", "-c", "-u", mailHost, alice)
	passwd.Stdin = strings.NewReader(password)
	output(t, passwd)
	output(t, s.chroot("chgrp", "postfix", "/etc/sasldb2"))
	output(t, s.chroot("chmod", "640", "/etc/sasldb2"))
}
