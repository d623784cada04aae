package integration

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// The services that Postfix asks, all on the server's loopback.
const (
	policyService  = "127.0.0.1:10031"
	milterService  = "127.0.0.1:10032"
	dovecotService = "127.0.0.1:10033"
	noService      = "127.0.0.1:10039" // nobody is there
)

// serve lets a function handle every connection to an address in a network
// namespace until the test ends.
func serve(t *testing.T, netns, address string, handle func(net.Conn)) {
	t.Helper()
	var l net.Listener
	err := inNetns(netns, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
}

// policy is a policy service, SMTPD_POLICY_README: lines of name=value, up to
// an empty one, are a question. It decides on the recipient.
func policy(conn net.Conn) {
	action := "DUNNO"
	for in := bufio.NewScanner(conn); in.Scan(); {
		switch in.Text() {
		case "recipient=refused@" + mailHost:
			action = "REJECT refused by policy; ask postmaster@example.test"
		case "recipient=greylisted@" + mailHost:
			action = "DEFER_IF_PERMIT Greylisted, see https://example.org/greylisting"
		case "":
			fmt.Fprintf(conn, "action=%s\n\n", action)
			action = "DUNNO"
		}
	}
}

// milterVerdicts are what the milter answers to a command, given by its letter,
// that holds the text.
var milterVerdicts = []struct {
	command byte
	holds   string
	verdict string
}{
	{'C', filtered.String(), "y550 5.7.1 no connection for you\x00"},
	{'H', "refused.example.test", "y550 5.7.1 no greeting for you\x00"},
	{'M', "<refused@example.org>", "r"},
	{'R', "<alice+refused@" + mailHost + ">", "y550 5.7.1 no recipient for you; from=<a[192.0.2.1]: x>\x00"},
	{'R', "<alice+later@" + mailHost + ">", "t"},
	{'L', "refused", "y550 5.7.1 no such subject\x00"},
	{'B', "refused text", "y554 5.7.1 that looks like spam\x00"},
	{'B', "discarded text", "d"},
	{'B', "odd text", "y451 4.7.1 try again later\x00"},
}

// milter speaks the protocol of mail filters: a length, a letter, data. See
// libmilter/mfdef.h in Sendmail.
func milter(conn net.Conn) {
	for {
		var length uint32
		if binary.Read(conn, binary.BigEndian, &length) != nil || length == 0 || length > 1<<20 {
			return
		}
		packet := make([]byte, length)
		if _, err := io.ReadFull(conn, packet); err != nil {
			return
		}
		reply := "c"
		switch packet[0] {
		case 'D', 'A': // macros, abort: no reply
			continue
		case 'Q':
			return
		case 'O': // version 6, no changes, every step
			reply = "O\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00"
		}
		for _, v := range milterVerdicts {
			if packet[0] == v.command && strings.Contains(string(packet), v.holds) {
				reply = v.verdict
			}
		}
		if binary.Write(conn, binary.BigEndian, uint32(len(reply))) != nil {
			return
		}
		io.WriteString(conn, reply)
	}
}

// dovecot is an authentication server as Dovecot's, of which see the protocol's
// description in doc/auth-protocol.txt. What it says depends on the mechanism.
func dovecot(conn net.Conn) {
	const hello = "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nMECH\tX-REASON\nMECH\tX-CRASH\n" +
		"SPID\t1\nCUID\t1\nCOOKIE\t0123456789abcdef0123456789abcdef\nDONE\n"
	io.WriteString(conn, hello)
	for in := bufio.NewScanner(conn); in.Scan(); {
		f := strings.Split(in.Text(), "\t")
		switch {
		case f[0] != "AUTH":
		case f[2] == "X-CRASH":
			return
		case f[2] == "X-REASON":
			fmt.Fprintf(conn, "FAIL\t%s\tuser=%s\treason=account is locked\n", f[1], alice)
		default:
			fmt.Fprintf(conn, "FAIL\t%s\tuser=%s\n", f[1], alice)
		}
	}
}
