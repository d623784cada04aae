package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"smtpban/internal/ban"
	"smtpban/internal/route"
)

// endConnections ends what the clients in the blocked prefixes still have open to
// the ports where they do harm. A route alone stops only our answers.
func (a *app) endConnections(k *kernel, blocked []netip.Prefix) error {
	open, err := route.Connections(blocked, k.Route.EndConnections)
	ended := 0
	switch {
	case err != nil:
	case a.dryRun:
		a.rehearseEnding(open)
	default:
		ended, err = route.EndConnections(open)
	}
	return a.tellEnded(k, ended, err)
}

// tellEnded tells how many connections were ended, and once that this kernel
// can't: the bans hold without.
func (a *app) tellEnded(k *kernel, ended int, err error) error {
	if ended > 0 {
		k.CannotEnd = false
		a.log.notice("ended "+plural(ended, "connection"), nil)
	}
	if !errors.Is(err, route.ErrNoDestroy) {
		return err
	}
	if !k.CannotEnd {
		a.log.warn("the connections of banned clients stay open until Postfix hangs up: %v", route.ErrNoDestroy)
	}
	k.CannotEnd = true
	return nil
}

// rehearseEnding only says whose connections would be ended.
func (a *app) rehearseEnding(open []route.Connection) {
	slices.SortFunc(open, func(a, b route.Connection) int { return ban.ComparePrefix(a.Prefix, b.Prefix) })
	for len(open) > 0 {
		prefix := open[0].Prefix
		n := slices.IndexFunc(open, func(c route.Connection) bool { return c.Prefix != prefix })
		if n < 0 {
			n = len(open)
		}
		fmt.Fprintf(a.stdout, "would end %s of %s\n", plural(n, "connection"), prefix)
		open = open[n:]
	}
}

// plural writes a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
