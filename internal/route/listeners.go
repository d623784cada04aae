package route

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// listening is the state of sockets that wait for clients (TCP_LISTEN).
const listening = 1 << 10

// socketIDLocal is the offset of idiag_src.
const socketIDLocal = 4

// Listeners returns where programs wait for clients at the local ports, in the
// network namespace of this thread. It needs no privilege.
func Listeners(ports []uint16) (all []netip.AddrPort, err error) {
	if len(ports) == 0 {
		return nil, nil
	}
	s, err := openSocket(unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("listing listeners: %w", err)
	}
	defer s.close()
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		body := appendAttr(diagRequest(family, listening, socketID{}), requestBytecode, toPorts(ports))
		found, err := dump(s, request{kind: nl.SOCK_DIAG_BY_FAMILY, body: body}, family, parseListener)
		if err != nil {
			return nil, fmt.Errorf("listing listeners: %w", explainDiag(err))
		}
		all = append(all, found...)
	}
	return all, nil
}

// parseListener reads an inet_diag_msg.
func parseListener(data []byte) (netip.AddrPort, bool, error) {
	if len(data) < diagMessageSize {
		return netip.AddrPort{}, false, fmt.Errorf("socket of %d bytes is too short", len(data))
	}
	id, length := socketID(data[diagMessageHeader:]), 16
	if data[0] == unix.AF_INET {
		length = 4
	}
	address, ok := netip.AddrFromSlice(id[socketIDLocal : socketIDLocal+length])
	return netip.AddrPortFrom(address, binary.BigEndian.Uint16(id[:])), ok, nil
}

// TryEnding asks the kernel to end a connection that cannot exist, and returns
// ErrNoDestroy if it can't end any. It needs no privilege, since the kernel asks
// for that only where there is something to end.
func TryEnding() error {
	// A kernel that has no inet_diag answers that no such connection exists, too.
	if _, err := Listeners([]uint16{1}); err != nil {
		return err
	}
	s, err := openSocket(unix.NETLINK_INET_DIAG)
	if err != nil {
		return fmt.Errorf("ending a connection: %w", err)
	}
	defer s.close()
	// No socket has the cookie 0.
	nobody := request{kind: nl.SOCK_DESTROY, body: diagRequest(unix.AF_INET, 0, socketID{})}
	answer := s.exchange([]request{nobody})[0]
	if answer == nil || errors.Is(answer, unix.ENOENT) || errors.Is(answer, unix.ESTALE) {
		return nil
	}
	return fmt.Errorf("ending a connection: %w", explainDiag(answer))
}
