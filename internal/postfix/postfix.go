// Package postfix reads the lines that Postfix's smtpd and postscreen write
// about their clients. It works on one line at a time, from its first byte and
// without regular expressions: only what Postfix itself prints at a fixed place
// decides, and whatever a client can put into a line never supplies an address.
package postfix

import (
	"net/netip"
	"strings"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
)

// Parse returns the event that an entry tells of. It returns false for an entry
// that is not of smtpd or postscreen, names no client address, or is nothing
// that could count.
func Parse(e journal.Entry) (ban.Event, bool) {
	service, program, ok := splitIdentifier(e.Identifier)
	if !ok {
		return ban.Event{}, false
	}
	for _, r := range rules {
		if r.program != program {
			continue
		}
		rest, ok := strings.CutPrefix(e.Message, r.before)
		if !ok {
			continue
		}
		name, addr, rest, ok := cutClient(rest)
		if !ok {
			continue
		}
		rest, ok = strings.CutPrefix(rest, r.after)
		if !ok {
			continue
		}
		user, ok := r.accept(rest)
		if !ok {
			continue
		}
		return ban.Event{
			Time: e.Time, Boot: e.Boot, Identifier: e.Identifier, PID: e.PID,
			Service: service, Class: r.class, Address: addr, Name: clip(name), User: clip(user),
		}, true
	}
	return ban.Event{}, false
}

// maxText bounds what a client can make us remember of its names, in bytes.
const maxText = 64

func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "")
}

// splitIdentifier takes a syslog tag apart. Postfix makes it of syslog_name and
// the name of the program (mail_task(3)): postfix/smtpd, and with
// "-o syslog_name=postfix/submission" postfix/submission/smtpd. The service is
// the part in the middle, or the program where there is none.
func splitIdentifier(tag string) (service, program string, ok bool) {
	slash := strings.LastIndexByte(tag, '/')
	if slash < 0 {
		return "", "", false
	}
	program = tag[slash+1:]
	if program != "smtpd" && program != "postscreen" {
		return "", "", false
	}
	if _, service, ok = strings.Cut(tag[:slash], "/"); ok && service != "" {
		return service, program, true
	}
	return program, program, true
}

// cutClient reads the client at the start of s as smtpd prints it,
//
//	NAME[ADDRESS]
//	NAME[ADDRESS]:PORT        with smtpd_client_port_logging
//
// and returns what follows. NAME is a host name that resolves back to ADDRESS,
// or "unknown"; valid_hostname(3) keeps brackets and blanks out of it, so the
// first bracket is Postfix's own.
func cutClient(s string) (name string, addr netip.Addr, rest string, ok bool) {
	open := 0
	for open < len(s) && isHostByte(s[open]) {
		open++
	}
	if open == 0 || open == len(s) || s[open] != '[' {
		return "", netip.Addr{}, "", false
	}
	literal, rest, ok := strings.Cut(s[open+1:], "]")
	if !ok {
		return "", netip.Addr{}, "", false
	}
	addr, err := netip.ParseAddr(literal)
	if err != nil || addr.Zone() != "" {
		return "", netip.Addr{}, "", false // "unknown": the client had gone already
	}
	if name = s[:open]; name == "unknown" {
		name = ""
	}
	return name, addr.Unmap(), cutPort(rest), true
}

func isHostByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '.' || b == '-' || b == '_'
}

// cutPort drops a leading ":PORT", where PORT is a number or "unknown".
func cutPort(s string) string {
	port, ok := strings.CutPrefix(s, ":")
	if !ok {
		return s
	}
	if rest, ok := strings.CutPrefix(port, "unknown"); ok {
		return rest
	}
	if rest := strings.TrimLeft(port, "0123456789"); rest != port {
		return rest
	}
	return s
}
