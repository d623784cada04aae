package route

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Holders returns, described as ip-route(8) would, the routes of somebody else's
// that stand where ours to one of the prefixes would have to be.
func (t *Table) Holders(prefixes []netip.Prefix) (map[netip.Prefix]string, error) {
	wanted := setOf(prefixes)
	found, err := t.routes(unix.RtMsg{}, t.table, func(r route) bool {
		return wanted[r.prefix] && t.collides(r) && !t.owns(r)
	})
	if err != nil {
		return nil, fmt.Errorf("listing the routes that are not ours: %w", err)
	}
	holders := make(map[netip.Prefix]string, len(found))
	for _, r := range found {
		holders[r.prefix] = r.String()
	}
	return holders, nil
}
