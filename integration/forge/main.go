// Command forge is what a local user without privileges can do to frame a
// client: it writes a line that looks like Postfix's to the system log. The
// full-system test runs it inside the system as such a user.
package main

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"
)

func main() {
	times := 1
	if len(os.Args) == 4 {
		times, _ = strconv.Atoi(os.Args[3])
	}
	if len(os.Args) < 3 || len(os.Args) > 4 || times < 1 {
		fmt.Fprintln(os.Stderr, "usage: forge native|syslog MESSAGE [TIMES]")
		os.Exit(2)
	}
	if err := forge(os.Args[1], os.Args[2], times); err != nil {
		fmt.Fprintln(os.Stderr, "forge:", err)
		os.Exit(1)
	}
}

func forge(means, message string, times int) error {
	postfix, err := user.Lookup("postfix")
	if err != nil {
		return err
	}
	// A process may choose the name that becomes its _COMM.
	if err := os.WriteFile("/proc/self/comm", []byte("smtpd"), 0); err != nil {
		return err
	}
	for range times {
		switch means {
		case "native":
			err = send("/run/systemd/journal/socket", native(message, postfix.Uid))
		case "syslog":
			err = send("/dev/log", fmt.Sprintf("<20>postfix/smtpd[%d]: %s", os.Getpid(), message))
		default:
			err = fmt.Errorf("unknown means %q", means)
		}
		if err != nil {
			return err
		}
	}
	time.Sleep(100 * time.Millisecond) // journald looks at the living process
	return nil
}

// native is a datagram in the journal's own protocol that claims to be Postfix
// in every field, the trusted ones included.
func native(message, uid string) string {
	return strings.Join([]string{
		"MESSAGE=" + message,
		"PRIORITY=4",
		"SYSLOG_FACILITY=2",
		"SYSLOG_IDENTIFIER=postfix/smtpd",
		"_TRANSPORT=syslog",
		"_UID=" + uid,
		"_COMM=smtpd",
		"_EXE=/usr/lib/postfix/sbin/smtpd",
		"_SYSTEMD_UNIT=postfix@-.service",
		"",
	}, "\n")
}

func send(socket, datagram string) error {
	conn, err := net.Dial("unixgram", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(datagram))
	return err
}
