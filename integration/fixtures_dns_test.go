package integration

import (
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	blockList = "dnsbl.example.test"
	whyListed = "listed for testing; see https://example.org/why"
)

type records map[dnsmessage.Type]dnsmessage.ResourceBody

// zone holds every name that exists.
var zone = map[string]records{
	"client.example.test.": address("198.51.100.1"),
	"example.org.":         address("198.51.100.2"),
	"named.example.org.":   address(named.String()),
	"named6.example.org.":  address(named6.String()),
	"other.example.org.":   address("198.51.100.99"),
	reverse(named):         pointer("named.example.org."),
	reverse(named6):        pointer("named6.example.org."),
	reverse(misnamed):      pointer("other.example.org."),
	reverse(misnamedToo):   pointer("other.example.org."),
	reverse(deadNamed):     pointer("dead.example.org."),

	onBlockList(listed):        listing(),
	onBlockList(listedWarned):  listing(),
	onBlockList(listedAtEntry): listing(),
	onBlockList(listedCutOff):  listing(),

	"spam.example.org.":                   address("198.51.100.3"),
	"spam.example.org." + blockList + ".": listing(),
}

func address(text string) records {
	a := netip.MustParseAddr(text)
	if a.Is6() {
		return records{dnsmessage.TypeAAAA: &dnsmessage.AAAAResource{AAAA: a.As16()}}
	}
	return records{dnsmessage.TypeA: &dnsmessage.AResource{A: a.As4()}}
}

func pointer(name string) records {
	return records{dnsmessage.TypePTR: &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(name)}}
}

func listing() records {
	r := address("127.0.0.2")
	r[dnsmessage.TypeTXT] = &dnsmessage.TXTResource{TXT: []string{whyListed}}
	return r
}

func reverse(a netip.Addr) string {
	if a.Is4() {
		return backwards(strings.Split(a.String(), ".")) + ".in-addr.arpa."
	}
	return backwards(strings.Split(hex.EncodeToString(a.AsSlice()), "")) + ".ip6.arpa."
}

func onBlockList(a netip.Addr) string {
	return backwards(strings.Split(a.String(), ".")) + "." + blockList + "."
}

func backwards(labels []string) string {
	slices.Reverse(labels)
	return strings.Join(labels, ".")
}

// serveNames answers the server's questions about names until the test ends.
func serveNames(t *testing.T, netns string) {
	t.Helper()
	var conn net.PacketConn
	err := inNetns(netns, func() (err error) {
		conn, err = net.ListenPacket("udp", "127.0.0.1:53")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		for {
			question := make([]byte, 512)
			n, from, err := conn.ReadFrom(question)
			if err != nil {
				return // closed
			}
			go func() {
				if reply, err := answer(question[:n]); err == nil {
					conn.WriteTo(reply, from) // who gets no answer asks again
				}
			}()
		}
	}()
}

// answer makes the reply to a question: a record, or that the name does not
// exist, or that it has no such record.
func answer(question []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Response, m.Authoritative, m.RecursionAvailable = true, true, true
	m.Additionals = nil
	q := m.Questions[0]
	name := strings.ToLower(q.Name.String())
	if name == reverse(slowNamed) || name == reverse(slowNamedToo) {
		time.Sleep(time.Second)
	}
	found, exists := zone[name]
	if !exists {
		m.RCode = dnsmessage.RCodeNameError
	}
	if body := found[q.Type]; body != nil {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
			Body:   body,
		}}
	}
	return m.Pack()
}
