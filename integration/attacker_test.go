package integration

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"time"
)

const (
	smtpPort       = 25
	submissionPort = 587

	// The cable is short: who needs longer is blocked. A busy Postfix may let
	// one SYN pass unanswered, which is sent again after a second.
	dialTimeout    = 1500 * time.Millisecond
	sessionTimeout = 5 * time.Second // for a whole SMTP session
)

// A login is what a client sends to get in.
type login struct {
	mechanism      string // LOGIN, PLAIN or CRAM-MD5
	user, password string
}

// dial connects the client at the address from to the server.
func (n network) dial(from netip.Addr, port uint16, timeout time.Duration) (net.Conn, error) {
	server := server4
	if from.Is6() {
		server = server6
	}
	d := net.Dialer{
		Timeout:   timeout,
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)),
	}
	var conn net.Conn
	err := inNetns(n.world, func() (err error) {
		conn, err = d.Dial("tcp", netip.AddrPortFrom(server, port).String())
		return err
	})
	return conn, err
}

// blocked reports whether the client's packets to a port vanish. A refused
// connection is an answer and therefore an error.
func (n network) blocked(from netip.Addr, port uint16) (bool, error) {
	conn, err := n.dial(from, port, dialTimeout)
	if err == nil {
		return false, conn.Close()
	}
	if isTimeout(err) {
		return true, nil
	}
	return false, err
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// logIn opens one SMTP session and tries the logins one after the other. It
// returns how often each reply code was the server's verdict; with an error,
// those before it.
func (n network) logIn(from netip.Addr, port uint16, logins ...login) (map[int]int, error) {
	replies := map[int]int{}
	conn, err := n.dial(from, port, dialTimeout)
	if err != nil {
		return replies, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(sessionTimeout)); err != nil {
		return replies, err
	}
	smtp := textproto.NewConn(conn)
	if _, _, err := smtp.ReadResponse(220); err != nil {
		return replies, fmt.Errorf("greeting of %s: %w", from, err)
	}
	if _, err := say(smtp, 250, "EHLO client.example.test"); err != nil {
		return replies, err
	}
	for _, l := range logins {
		code, err := authenticate(smtp, l)
		if err != nil {
			return replies, fmt.Errorf("AUTH %s from %s: %w", l.mechanism, from, err)
		}
		replies[code]++
	}
	_, err = say(smtp, 221, "QUIT")
	return replies, err
}

// authenticate makes one AUTH exchange, RFC 4954, and returns the final code.
func authenticate(smtp *textproto.Conn, l login) (int, error) {
	const goOn = 334
	encode := base64.StdEncoding.EncodeToString
	switch l.mechanism {
	case "PLAIN": // RFC 4616
		return verdict(smtp, "AUTH PLAIN "+encode([]byte("\x00"+l.user+"\x00"+l.password)))
	case "LOGIN":
		if _, err := say(smtp, goOn, "AUTH LOGIN"); err != nil {
			return 0, err
		}
		if _, err := say(smtp, goOn, encode([]byte(l.user))); err != nil {
			return 0, err
		}
		return verdict(smtp, encode([]byte(l.password)))
	case "CRAM-MD5": // RFC 2195
		text, err := say(smtp, goOn, "AUTH CRAM-MD5")
		if err != nil {
			return 0, err
		}
		challenge, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return 0, fmt.Errorf("challenge %q: %w", text, err)
		}
		digest := hmac.New(md5.New, []byte(l.password))
		digest.Write(challenge)
		return verdict(smtp, encode([]byte(l.user+" "+hex.EncodeToString(digest.Sum(nil)))))
	}
	return 0, fmt.Errorf("unknown mechanism %q", l.mechanism)
}

// say sends a line and returns the reply, which must have the code.
func say(smtp *textproto.Conn, code int, line string) (string, error) {
	if err := smtp.PrintfLine("%s", line); err != nil {
		return "", err
	}
	_, text, err := smtp.ReadResponse(code)
	return text, err
}

// verdict sends a line and returns the code of the reply, whichever it is.
func verdict(smtp *textproto.Conn, line string) (int, error) {
	if err := smtp.PrintfLine("%s", line); err != nil {
		return 0, err
	}
	code, _, err := smtp.ReadResponse(0)
	return code, err
}
