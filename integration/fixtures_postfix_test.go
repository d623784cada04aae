package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

// The doors of the server. A setting that would change what the others provoke
// has a port of its own.
const (
	screenPort   uint16 = 25 // postscreen with every test
	greetPort    uint16 = 24 // postscreen with few, which cuts off who fails
	plainPort    uint16 = 26
	renamedPort  uint16 = 27
	instancePort uint16 = 28
	loggedPort   uint16 = 29 // with the client's port
	limitPort    uint16 = 30
	wrappedPort  uint16 = 31
	filteredPort uint16 = 32
	hastyPort    uint16 = 33
	warnPort     uint16 = 34
	softPort     uint16 = 35
	namesPort    uint16 = 36
	atOncePort   uint16 = 37
	pipePort     uint16 = 38
	barePort     uint16 = 39
	tlsFirstPort uint16 = 40
	noLoginPort  uint16 = 41
	noMechPort   uint16 = 42
	daemonPort   uint16 = 43
	dovecotPort  uint16 = 44
	crashPort    uint16 = 45
	ownerPort    uint16 = 46
	noPolicyPort uint16 = 47
	noTablePort  uint16 = 48
	noMilterPort uint16 = 49
	notingPort   uint16 = 50
)

// doors are the services that run smtpd, and their settings.
var doors = []struct {
	port    uint16
	options []string
}{
	{plainPort, nil},
	{submissionPort, []string{"syslog_name=postfix/submission"}},
	{renamedPort, []string{"syslog_name=postfix/smtp-in"}},
	{instancePort, []string{"syslog_name=postfix-in"}},
	{loggedPort, []string{"smtpd_client_port_logging=yes"}},
	{limitPort, []string{
		"smtpd_client_connection_rate_limit=4",
		"smtpd_client_connection_count_limit=2",
		"smtpd_client_message_rate_limit=1",
		"smtpd_client_recipient_rate_limit=2",
		"smtpd_client_new_tls_session_rate_limit=1",
		"smtpd_client_auth_rate_limit=2",
	}},
	{wrappedPort, []string{
		"syslog_name=postfix/smtps",
		"smtpd_tls_wrappermode=yes",
		"smtpd_client_new_tls_session_rate_limit=1",
	}},
	{filteredPort, []string{"smtpd_milters=inet:" + milterService}},
	{hastyPort, []string{"smtpd_timeout=2s"}},
	{warnPort, []string{
		"smtpd_client_restrictions=warn_if_reject reject_rbl_client " + blockList,
		"smtpd_sender_restrictions=warn_if_reject reject_unauth_destination",
	}},
	{softPort, []string{"soft_bounce=yes"}},
	{namesPort, []string{"smtpd_client_restrictions=reject_unknown_reverse_client_hostname reject_unknown_client_hostname"}},
	{atOncePort, []string{
		"smtpd_delay_reject=no",
		"smtpd_forbid_unauth_pipelining=no",
		"smtpd_client_restrictions=reject_unauth_pipelining",
	}},
	{pipePort, []string{"smtpd_forbid_unauth_pipelining=no", "smtpd_data_restrictions=reject_unauth_pipelining"}},
	{barePort, []string{"smtpd_forbid_bare_newline=reject"}},
	{notingPort, []string{"smtpd_forbid_bare_newline=note"}},
	{tlsFirstPort, []string{"smtpd_tls_auth_only=yes"}},
	{noLoginPort, []string{"smtpd_sasl_auth_enable=no"}},
	{noMechPort, []string{"smtpd_sasl_path=nomech"}},
	{daemonPort, []string{"smtpd_sasl_path=daemon"}},
	{dovecotPort, []string{"smtpd_sasl_type=dovecot", "smtpd_sasl_path=inet:" + dovecotService}},
	// Of its own: the next client of the process would feel the crash too.
	{crashPort, []string{"smtpd_sasl_type=dovecot", "smtpd_sasl_path=inet:" + dovecotService}},
	{ownerPort, []string{"smtpd_sender_restrictions=reject_sender_login_mismatch"}},
	{noPolicyPort, []string{"smtpd_recipient_restrictions=check_policy_service inet:" + noService, "smtpd_policy_service_retry_delay=1s"}},
	{noTablePort, []string{"local_recipient_maps=texthash:/nonexistent"}},
	{noMilterPort, []string{"smtpd_milters=inet:" + noService}},
}

// screens are the services of postscreen and those around it.
const screens = `
smtp     inet n - n - 1 postscreen
24       inet n - n - 1 postscreen
    -o syslog_name=postfix/greet
    -o respectful_logging=no
    -o postscreen_cache_map=btree:$data_directory/greet_cache
    -o postscreen_greet_action=drop
    -o postscreen_dnsbl_action=drop
    -o postscreen_denylist_action=drop
    -o postscreen_pipelining_enable=no
    -o postscreen_non_smtp_command_enable=no
    -o postscreen_bare_newline_enable=no
smtpd    pass - - n - - smtpd
dnsblog  unix - - n - 0 dnsblog
tlsproxy unix - - n - 0 tlsproxy
`

// provocableCF refuses mail for as many reasons as it can, and sends none out.
var provocableCF = `
compatibility_level = 3.6
myhostname = ` + mailHost + `
mydestination = $myhostname, localhost
mynetworks = 127.0.0.0/8 [::1]/128
inet_protocols = all
alias_maps =
recipient_delimiter = +
default_transport = discard
relay_transport = discard
virtual_transport = discard
virtual_mailbox_domains = virtual.example.test
virtual_mailbox_maps = inline:{ known@virtual.example.test=known }
virtual_alias_domains = alias.example.test
virtual_alias_maps = inline:{ known@alias.example.test=` + mailbox + ` }
relay_domains = relay.example.test
relay_recipient_maps = inline:{ known@relay.example.test=known }
header_checks = regexp:{ { /^Subject: forbidden/ REJECT } }

smtpd_timeout = 20s
smtpd_error_sleep_time = 0s
smtpd_tls_security_level = may
smtpd_tls_chain_files = /etc/postfix/mx.pem
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = $myhostname
cyrus_sasl_config_path = /etc/postfix/sasl

smtpd_client_restrictions = permit_mynetworks
    check_client_access inline:{ { ` + unwanted.String() + ` = REJECT no mail from this network } }
    reject_rbl_client ` + blockList + `
smtpd_helo_required = yes
smtpd_helo_restrictions = permit_mynetworks
    check_helo_access inline:{ { ` + mailHost + ` = REJECT that is my name } }
    reject_invalid_helo_hostname reject_non_fqdn_helo_hostname reject_unknown_helo_hostname
smtpd_sender_login_maps = inline:{ owned@` + mailHost + `=somebody }
smtpd_sender_restrictions = permit_mynetworks
    reject_non_fqdn_sender reject_unknown_sender_domain
    check_sender_access inline:{
        { refused@example.org = REJECT no mail from this sender }
        { warned@example.org = WARN this sender is watched }
        { held@example.org = HOLD this sender waits }
        { discarded@example.org = DISCARD this sender is not read } }
    reject_rhsbl_sender ` + blockList + `
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated reject_unauth_destination
smtpd_recipient_restrictions = permit_mynetworks
    check_recipient_access inline:{
        { closed@` + mailHost + ` = REJECT this mailbox is closed }
        { busy@` + mailHost + ` = 450 4.2.1 come back tomorrow } }
    check_policy_service inet:` + policyService + `

postscreen_access_list = permit_mynetworks
    cidr:{ { ` + denied.String() + ` reject } { ` + deniedCutOff.String() + ` reject } { ` + allowed.String() + ` permit } }
postscreen_denylist_action = enforce
postscreen_greet_wait = 4s
postscreen_greet_action = enforce
postscreen_dnsbl_sites = ` + blockList + `
postscreen_dnsbl_action = enforce
postscreen_pipelining_enable = yes
postscreen_non_smtp_command_enable = yes
postscreen_bare_newline_enable = yes
postscreen_bare_newline_action = enforce
postscreen_command_time_limit = 3s
`

// installProvocable configures the Postfix of a system that is off.
func installProvocable(t *testing.T, s *system) {
	t.Helper()
	installPostfix(t, s)
	s.write(t, "etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:5 attempts:1\n")
	s.write(t, "etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n")
	s.write(t, "etc/postfix/mx.pem", certificate(t))
	s.write(t, "etc/postfix/main.cf", provocableCF)
	s.write(t, "etc/postfix/sasl/nomech.conf", "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN\n")
	s.write(t, "etc/postfix/sasl/daemon.conf", "pwcheck_method: saslauthd\nmech_list: PLAIN LOGIN\n")
	output(t, s.chroot("postconf", "-MX", "smtp/inet", "submission/inet"))
	master := output(t, s.chroot("postconf", "-M")) + screens
	for _, d := range doors {
		master += fmt.Sprintf("%d inet n - n - - smtpd\n", d.port)
		for _, option := range d.options {
			master += "    -o { " + option + " }\n"
		}
	}
	s.write(t, "etc/postfix/master.cf", strings.ReplaceAll(master, "\n587 ", "\nsubmission "))
	output(t, s.chroot("postfix", "check"))
}

// certificate returns a key and a certificate that it signed itself.
func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tomorrow := time.Now().Add(24 * time.Hour)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{mailHost}, NotAfter: tomorrow}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
}
