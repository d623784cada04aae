package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"smtpban/internal/ban"
	"smtpban/internal/route"
	"smtpban/internal/store"
)

// childArgument makes the program do one thing only, which another one measures.
const childArgument = "-child"

func child(args []string) error {
	switch args[0] {
	case "add", "delete":
		return changeRoutes(args[1], args[0] == "delete")
	case "put":
		n, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return putBans(args[1], n)
	case "load", "trust":
		return loadBans(args[1], args[0] == "trust")
	case "dump":
		return dump()
	}
	return fmt.Errorf("unknown child %q", args[0])
}

// changeRoutes adds or deletes a route to each prefix in a file, and prints the
// prefixes of those that somebody else has taken.
func changeRoutes(list string, del bool) error {
	f, err := os.Open(list)
	if err != nil {
		return err
	}
	defer f.Close()
	var changes []ban.Change
	for lines := bufio.NewScanner(f); lines.Scan(); {
		p, err := netip.ParsePrefix(lines.Text())
		if err != nil {
			return err
		}
		changes = append(changes, ban.Change{Prefix: p, Delete: del})
	}
	table, err := route.Open(route.Options{Protocol: 213, Table: 254})
	if err != nil {
		return err
	}
	defer table.Close()
	for i, err := range table.Apply(changes) {
		switch {
		case errors.Is(err, route.ErrForeign):
			fmt.Println(changes[i].Prefix)
		case err != nil:
			return err
		}
	}
	return nil
}

// putBans makes so many bans in one transaction, and prints how long that took.
func putBans(state string, n int) error {
	s := store.New(state)
	begin := spent()
	err := s.Update(func(tx *store.Tx) error {
		for i := range n {
			if err := tx.PutBan(madeBan(i)); err != nil {
				return err
			}
		}
		return nil
	})
	fmt.Println((spent() - begin).Microseconds())
	return err
}

// loadBans reads every ban, as at every run, and prints how long that took. Before
// that all of the state is looked at, unless it is to be trusted as block does.
func loadBans(state string, trust bool) error {
	s := store.New(state)
	unlock, err := s.Lock(0)
	if err != nil {
		return err
	}
	defer unlock()
	if trust {
		s.Trust()
	}
	if err := s.View(func(*store.Tx) error { return nil }); err != nil { // looks whether all is sound
		return err
	}
	begin := spent()
	loaded := 0
	err = s.View(func(tx *store.Tx) error {
		for _, err := range tx.Bans() {
			if err != nil {
				return err
			}
			loaded++
		}
		return nil
	})
	fmt.Println((spent() - begin).Microseconds())
	return err
}

// spent is the CPU time that this process has had.
func spent() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &now)
	return time.Duration(now.Nano())
}

// dump asks the kernel for all IPv4 routes of smtpban's and looks at none.
func dump() error {
	r := nl.NewNetlinkRequest(unix.RTM_GETROUTE, unix.NLM_F_DUMP)
	r.AddData(&nl.RtMsg{RtMsg: unix.RtMsg{Family: unix.AF_INET, Protocol: 213, Type: unix.RTN_BLACKHOLE}})
	n := 0
	err := r.ExecuteIter(unix.NETLINK_ROUTE, unix.RTM_NEWROUTE, func([]byte) bool {
		n++
		return true
	})
	fmt.Println(n)
	return err
}
