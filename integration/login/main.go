// Command login is what pam_systemd(8) and sshd do for a user who comes in: it has
// logind open a session of root's, and holds it open as long as it runs. The
// full-system test has no sshd.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/godbus/dbus/v5"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: login ADDRESS")
		os.Exit(2)
	}
	if err := login(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "login:", err)
		os.Exit(1)
	}
}

func login(address string) error {
	bus, err := dbus.SystemBus()
	if err != nil {
		return err
	}
	defer bus.Close()
	type property struct {
		Name  string
		Value dbus.Variant
	}
	// uid, pid, service, type, class, desktop, seat, terminal, display, remote, and
	// who and from where; see org.freedesktop.login1(5). The last but one of what
	// comes back is the descriptor that holds the session open.
	call := bus.Object("org.freedesktop.login1", "/org/freedesktop/login1").Call("org.freedesktop.login1.Manager.CreateSession", 0,
		uint32(0), uint32(os.Getpid()), "sshd", "tty", "user", "", "", uint32(0), "", "", true, "", address, []property{})
	if call.Err != nil {
		return call.Err
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
	return nil
}
