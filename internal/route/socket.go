package route

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// batchSize is how many requests go to the kernel at once. Each may be answered
// by a packet that counts for about 1 kB in the receive buffer, 208 kB by default.
const batchSize = 200

// dumpAttempts is how often a dump is begun anew that was interrupted.
const dumpAttempts = 5

// request is a netlink message without its place in a conversation.
type request struct {
	kind  uint16 // RTM_… or SOCK_…
	flags uint16 // NLM_F_… beyond NLM_F_REQUEST
	body  []byte // family header and attributes
}

// socket is one conversation with a netlink family.
type socket struct {
	handle *nl.SocketHandle
	kernel unix.SockaddrNetlink
	buffer []byte
}

func openSocket(family int) (*socket, error) {
	conn, err := nl.Subscribe(family) // to no group: an ordinary socket
	if err != nil {
		return nil, fmt.Errorf("opening netlink socket: %w", err)
	}
	for _, option := range []int{
		unix.NETLINK_CAP_ACK,        // an error does not repeat the request
		unix.NETLINK_GET_STRICT_CHK, // dumps are filtered in the kernel
	} {
		if err := unix.SetsockoptInt(conn.GetFd(), unix.SOL_NETLINK, option, 1); err != nil {
			conn.Close()
			return nil, fmt.Errorf("opening netlink socket: setting option %d (needs Linux 4.20): %w", option, err)
		}
	}
	return &socket{
		handle: &nl.SocketHandle{Socket: conn},
		kernel: unix.SockaddrNetlink{Family: unix.AF_NETLINK},
		buffer: make([]byte, 32<<10), // as much as the kernel puts into a packet of a dump
	}, nil
}

func (s *socket) close() { s.handle.Close() }

// exchange has the kernel work on the requests in order, many at a time, and
// returns one error for each, nil where it was done. What the kernel refuses is
// a syscall.Errno. The requests must be harmless to repeat.
func (s *socket) exchange(requests []request) []error {
	errs := make([]error, 0, len(requests))
	for batch := range slices.Chunk(requests, batchSize) {
		errs = append(errs, s.batch(batch)...)
	}
	return errs
}

// batch is exchange for one batch. When answers were lost because they overran
// the receive buffer, nobody knows whose: both halves are asked again.
func (s *socket) batch(requests []request) []error {
	// gofail: var betweenRoutes string
	// return slices.Repeat([]error{errors.New(betweenRoutes)}, len(requests))
	errs, err := s.sendBatch(requests)
	if err == nil {
		return errs
	}
	if half := len(requests) / 2; half > 0 && errors.Is(err, unix.ENOBUFS) {
		return append(s.batch(requests[:half]), s.batch(requests[half:])...)
	}
	return slices.Repeat([]error{err}, len(requests))
}

// sendBatch sends the requests in one message. Only the last asks for an
// acknowledgement: refusals come back unasked, each with the sequence number of
// its request, and the last answer closes the batch.
func (s *socket) sendBatch(requests []request) ([]error, error) {
	first := s.handle.Seq + 1
	s.handle.Seq += uint32(len(requests))
	var packet []byte
	for i, r := range requests {
		if i == len(requests)-1 {
			r.flags |= unix.NLM_F_ACK
		}
		packet = appendMessage(packet, r, first+uint32(i))
	}
	if err := unix.Sendto(s.handle.Socket.GetFd(), packet, 0, &s.kernel); err != nil {
		return nil, fmt.Errorf("sending to the kernel: %w", err)
	}
	return s.receiveBatch(first, len(requests))
}

// appendMessage appends a request with its place in the conversation.
func appendMessage(b []byte, r request, sequence uint32) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.SizeofNlMsghdr+len(r.body)))
	b = binary.NativeEndian.AppendUint16(b, r.kind)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|r.flags)
	b = binary.NativeEndian.AppendUint32(b, sequence)
	b = binary.NativeEndian.AppendUint32(b, 0) // from: the kernel knows
	return append(b, r.body...)
}

// receiveBatch reads the answers to n requests, the first of which bore the
// sequence number first. The kernel does the work within sendto, so every answer
// is there by now: reading never waits, and it goes on until the queue is empty,
// which also ends the congestion after an overrun. The error is ENOBUFS if
// answers were lost.
func (s *socket) receiveBatch(first uint32, n int) ([]error, error) {
	errs := make([]error, n)
	closed, lost := false, false
	for {
		size, from, err := unix.Recvfrom(s.handle.Socket.GetFd(), s.buffer, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if errors.Is(err, unix.ENOBUFS) {
			lost = true
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("receiving from the kernel: %w", err)
		}
		if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != nl.PidKernel {
			continue
		}
		messages, err := syscall.ParseNetlinkMessage(s.buffer[:size])
		if err != nil {
			return nil, fmt.Errorf("reading the kernel's answer: %w", err)
		}
		for _, m := range messages {
			i := m.Header.Seq - first
			if m.Header.Type != unix.NLMSG_ERROR || i >= uint32(n) || len(m.Data) < 4 {
				continue // what was asked for, or the answer to an older question
			}
			if errno := -int32(binary.NativeEndian.Uint32(m.Data)); errno != 0 {
				errs[i] = syscall.Errno(errno)
			}
			closed = closed || i == uint32(n-1)
		}
	}
	if lost || !closed {
		return nil, fmt.Errorf("answers of the kernel were lost: %w", unix.ENOBUFS)
	}
	return errs, nil
}

// dump returns what the kernel holds of one kind in one family, as far as parse
// wants to keep it. Without IPv6 in the kernel (ipv6.disable=1) that is nothing.
// The kernel then answers for all other families instead, so each message's own
// family is looked at.
func dump[T any](s *socket, r request, family uint8, parse func([]byte) (T, bool, error)) ([]T, error) {
	return uninterrupted(func() ([]T, error) {
		var all []T
		var bad error
		err := s.dump(r, func(data []byte) {
			if bad != nil || len(data) == 0 || data[0] != family { // every header begins with it
				return
			}
			item, keep, err := parse(data)
			if keep {
				all = append(all, item)
			}
			bad = err
		})
		if family == unix.AF_INET6 && noIPv6(err) {
			return nil, nil
		}
		return all, errors.Join(err, bad)
	})
}

// dump asks for all of one kind and calls do with each message, which is valid
// until do returns. The error is nl.ErrDumpInterrupted if the kernel's tables
// changed meanwhile.
func (s *socket) dump(r request, do func(data []byte)) error {
	s.handle.Seq++
	r.flags |= unix.NLM_F_DUMP
	if err := unix.Sendto(s.handle.Socket.GetFd(), appendMessage(nil, r, s.handle.Seq), 0, &s.kernel); err != nil {
		return fmt.Errorf("sending to the kernel: %w", err)
	}
	interrupted := false
	for {
		size, err := s.receive()
		if err != nil {
			return err
		}
		for messages := s.buffer[:size]; len(messages) > 0; {
			header, data, rest, err := cutMessage(messages)
			if err != nil {
				return err
			}
			messages = rest
			if header.Seq != s.handle.Seq {
				continue // the answer to an older question
			}
			interrupted = interrupted || header.Flags&unix.NLM_F_DUMP_INTR != 0
			switch header.Type {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				if errno := -int32(number(data)); errno != 0 {
					return syscall.Errno(errno)
				}
				if interrupted {
					return nl.ErrDumpInterrupted
				}
				return nil
			}
			do(data)
		}
	}
}

// cutMessage takes the first of several messages apart.
func cutMessage(b []byte) (header unix.NlMsghdr, data, rest []byte, err error) {
	if len(b) < unix.SizeofNlMsghdr {
		return header, nil, nil, fmt.Errorf("message of %d bytes is too short", len(b))
	}
	native := binary.NativeEndian
	header = unix.NlMsghdr{Len: native.Uint32(b), Type: native.Uint16(b[4:]), Flags: native.Uint16(b[6:]), Seq: native.Uint32(b[8:]), Pid: native.Uint32(b[12:])}
	size := int(header.Len)
	if size < unix.SizeofNlMsghdr || size > len(b) {
		return header, nil, nil, fmt.Errorf("message of %d bytes among %d", size, len(b))
	}
	end := min(len(b), (size+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1))
	return header, b[unix.SizeofNlMsghdr:size], b[end:], nil
}

// receive waits for a packet of the kernel's and reads it into the buffer.
func (s *socket) receive() (size int, err error) {
	fd := s.handle.Socket.GetFd()
	for {
		size, from, err := unix.Recvfrom(fd, s.buffer, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		case err == nil:
			if sender, ok := from.(*unix.SockaddrNetlink); ok && sender.Pid == nl.PidKernel {
				return size, nil
			}
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, fmt.Errorf("receiving from the kernel: %w", err)
		}
	}
}

// uninterrupted runs a dump until the kernel's tables did not change under it:
// an interrupted one may lack entries, and who takes those for gone deletes or
// forgets what is there.
func uninterrupted[T any](dump func() ([]T, error)) ([]T, error) {
	for range dumpAttempts {
		all, err := dump()
		if err == nil {
			return all, nil
		}
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("interrupted %d times by changes to the table: %w", dumpAttempts, nl.ErrDumpInterrupted)
}

// noIPv6 reports whether the error says that the kernel knows no IPv6.
func noIPv6(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT)
}
