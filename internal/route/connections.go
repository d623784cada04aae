package route

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ErrNoDestroy means that this kernel can't end the connections of others.
var ErrNoDestroy = errors.New("the kernel can't end connections (it has no CONFIG_INET_DIAG_DESTROY)")

// Connection is a TCP connection that a client has to this machine.
type Connection struct {
	Prefix netip.Prefix // the one asked for that holds the client
	Port   uint16       // of ours

	family uint8    // of the socket: AF_INET6 also for an IPv4 client of a dual-stack one
	id     socketID // as the kernel gave it, with the cookie that no later socket has
}

// socketID is an inet_diag_sockid.
type socketID [48]byte

// Layouts of inet_diag_req_v2 and inet_diag_msg, see sock_diag(7). In both a
// header is followed by a socketID: two ports in network order, then
// two addresses of 16 bytes, of which IPv4 uses the first 4.
const (
	diagMessageHeader = 4
	diagMessageSize   = 72
	socketIDRemote    = 20 // offset of idiag_dst
)

// States of the connections in which a client is served or will be: as in the
// kernel's net/tcp_states.h.
const servedStates = 1<<1 /* TCP_ESTABLISHED */ | 1<<3 /* TCP_SYN_RECV */ | 1<<8 /* TCP_CLOSE_WAIT */

// Connections returns the connections of all clients in the prefixes to the
// local ports. It needs no privilege. However many prefixes there are, the
// kernel is asked once for each family, and picks the ports itself.
func Connections(prefixes []netip.Prefix, ports []uint16) ([]Connection, error) {
	if len(prefixes) == 0 || len(ports) == 0 {
		return nil, nil
	}
	s, err := openSocket(unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("listing connections: %w", err)
	}
	defer s.close()
	wanted := sync.OnceValue(func() map[netip.Prefix]bool { return setOf(prefixes) }) // often there is no connection
	parse := func(data []byte) (Connection, bool, error) { return parseConnection(data, wanted()) }
	var all []Connection
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		body := appendAttr(diagRequest(family, servedStates, socketID{}), requestBytecode, toPorts(ports))
		found, err := dump(s, request{kind: nl.SOCK_DIAG_BY_FAMILY, body: body}, family, parse)
		if err != nil {
			return nil, fmt.Errorf("listing connections: %w", explainDiag(err))
		}
		all = append(all, found...)
	}
	return all, nil
}

// EndConnections ends connections at once, for both sides, and returns how many
// there still were to end. It needs CAP_NET_ADMIN. The error may be ErrNoDestroy.
func EndConnections(connections []Connection) (ended int, err error) {
	if len(connections) == 0 {
		return 0, nil
	}
	s, err := openSocket(unix.NETLINK_INET_DIAG)
	if err != nil {
		return 0, fmt.Errorf("ending connections: %w", err)
	}
	defer s.close()
	requests := make([]request, len(connections))
	for i, c := range connections {
		requests[i] = request{kind: nl.SOCK_DESTROY, body: diagRequest(c.family, 0, c.id)}
	}
	return countEnded(connections, s.exchange(requests))
}

// countEnded judges the answers to the requests to end the connections. One that
// went by itself meanwhile is no failure.
func countEnded(connections []Connection, answers []error) (ended int, err error) {
	for i, answer := range answers {
		switch {
		case answer == nil:
			ended++
		case errors.Is(answer, unix.ENOENT), errors.Is(answer, unix.ESTALE):
		case err == nil:
			c := connections[i]
			err = fmt.Errorf("ending a connection of %v to port %d: %w", c.Prefix, c.Port, explainDiag(answer))
		}
	}
	return ended, err
}

// explainDiag says what an answer of the kernel's means. ENOENT is that of one
// which has no inet_diag, or not the module at hand.
func explainDiag(err error) error {
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOENT):
		return ErrNoDestroy
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w (this needs CAP_NET_ADMIN)", err)
	}
	return err
}

// parseConnection reads an inet_diag_msg and keeps what is a wanted client's.
func parseConnection(data []byte, wanted map[netip.Prefix]bool) (Connection, bool, error) {
	if len(data) < diagMessageSize {
		return Connection{}, false, fmt.Errorf("socket of %d bytes is too short", len(data))
	}
	family, id := data[0], socketID(data[diagMessageHeader:])
	length := 16
	if family == unix.AF_INET {
		length = 4
	}
	client, _ := netip.AddrFromSlice(id[socketIDRemote : socketIDRemote+length])
	client = client.Unmap()
	prefix, ok := covering(wanted, netip.PrefixFrom(client, client.BitLen()))
	return Connection{Prefix: prefix, Port: binary.BigEndian.Uint16(id[:]), family: family, id: id}, ok, nil
}

// diagRequest builds an inet_diag_req_v2.
func diagRequest(family uint8, states uint32, id socketID) []byte {
	b := binary.NativeEndian.AppendUint32([]byte{family, unix.IPPROTO_TCP, 0, 0}, states)
	return append(b, id[:]...)
}

// requestBytecode is the attribute that holds a filter, INET_DIAG_REQ_BYTECODE.
const requestBytecode = 1

// Operations of the filter language of inet_diag, see linux/inet_diag.h.
const (
	bytecodeJump      = 1  // INET_DIAG_BC_JMP
	bytecodeLocalPort = 11 // INET_DIAG_BC_S_EQ
	bytecodeSize      = 4  // of an inet_diag_bc_op
)

// toPorts returns the filter that only connections to one of the local ports
// pass. An operation says how many bytes to go forward if it holds and if not.
// Who comes to the end just so passes, who goes beyond it does not.
func toPorts(ports []uint16) []byte {
	const test, each = 2 * bytecodeSize, 3 * bytecodeSize // the port is an operand of its own
	end := len(ports)*each - bytecodeSize                 // no jump is needed after the last test
	var b []byte
	for _, port := range ports {
		b = appendOperation(b, bytecodeLocalPort, test, each)
		b = appendOperation(b, 0, 0, port)
		if rest := end - len(b); rest > 0 {
			b = appendOperation(b, bytecodeJump, bytecodeSize, uint16(rest))
		}
	}
	return b
}

func appendOperation(b []byte, code, yes uint8, no uint16) []byte {
	return binary.NativeEndian.AppendUint16(append(b, code, yes), no)
}
