package integration

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"time"
)

// A client is an address to attack the server from.
type client struct {
	net  network
	addr netip.Addr
}

// A chat is an SMTP session of which the client decides every byte. The first
// error ends it and is what close returns; what comes after it does nothing. So
// does what comes after the server's goodbye.
type chat struct {
	conn net.Conn
	text *textproto.Conn
	over bool
	err  error
}

// open connects and does not wait for the greeting.
func (c client) open(port uint16) *chat {
	const patience = 20 * time.Second
	conn, err := c.net.dial(c.addr, port, patience)
	if err != nil {
		return &chat{err: err}
	}
	return &chat{conn: conn, text: textproto.NewConn(conn), err: conn.SetDeadline(time.Now().Add(patience))}
}

// talk holds a session in which every line gets a reply before the next.
func (c client) talk(port uint16, lines ...string) error {
	s := c.open(port)
	s.hear()
	s.ask(lines...)
	return s.close()
}

// ask sends lines, each of which may be several, and reads a reply to each.
func (s *chat) ask(lines ...string) {
	for _, line := range lines {
		s.send(line + "\r\n")
		s.hear()
	}
}

// send sends bytes as they are.
func (s *chat) send(text string) {
	if s.err == nil && !s.over {
		_, s.err = io.WriteString(s.conn, text)
	}
}

// hear reads a reply and returns its code, whichever it is. After the last one
// it waits for the server to hang up: everything about the session is logged then.
func (s *chat) hear() int {
	if s.err != nil || s.over {
		return 0
	}
	code, _, err := s.text.ReadResponse(0)
	switch {
	case err != nil:
		s.err = fmt.Errorf("reading a reply: %w", err)
	case code == 221 || code == 421 || code == 521:
		s.over = true
		s.drain()
	}
	return code
}

// hearTeaser reads the half of a greeting by which postscreen finds out who does
// not wait for the rest. Who did not never gets it.
func (s *chat) hearTeaser() {
	if s.err == nil {
		_, s.err = s.text.ReadLine()
	}
}

// drain reads until the server hangs up, in whatever way.
func (s *chat) drain() {
	if s.err != nil {
		return
	}
	if _, err := io.Copy(io.Discard, s.text.R); isTimeout(err) {
		s.err = errors.New("the server does not hang up")
	}
}

// startTLS asks for encryption and, if the server agrees, goes on encrypted.
func (s *chat) startTLS() {
	s.ask(ehlo)
	s.send("STARTTLS\r\n")
	if s.hear() == 220 {
		s.encrypt()
	}
}

// encrypt begins a TLS session with a server of which any certificate will do.
func (s *chat) encrypt() {
	if s.err != nil {
		return
	}
	encrypted := tls.Client(s.conn, &tls.Config{InsecureSkipVerify: true})
	s.err = encrypted.Handshake()
	s.conn, s.text = encrypted, textproto.NewConn(encrypted)
}

// close hangs up and returns what went wrong, if anything.
func (s *chat) close() error {
	if s.conn != nil {
		s.conn.Close() // a goodbye may get lost
	}
	return s.err
}
