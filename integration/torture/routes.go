package torture

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Routes notes when the routes to prefixes are first made.
type Routes struct {
	done  chan struct{}
	mu    sync.Mutex
	first map[netip.Prefix]time.Time
}

// ListenToRoutes begins to listen in the network of the calling thread.
func ListenToRoutes() (*Routes, error) {
	r := &Routes{done: make(chan struct{}), first: map[netip.Prefix]time.Time{}}
	updates := make(chan netlink.RouteUpdate, 1000)
	if err := netlink.RouteSubscribe(updates, r.done); err != nil {
		return nil, fmt.Errorf("listening to routes: %w", err)
	}
	go func() {
		for u := range updates {
			if u.Type == unix.RTM_NEWROUTE && u.Dst != nil {
				r.note(u.Dst, time.Now())
			}
		}
	}()
	return r, nil
}

func (r *Routes) note(to *net.IPNet, at time.Time) {
	address, _ := netip.AddrFromSlice(to.IP)
	bits, _ := to.Mask.Size()
	prefix := netip.PrefixFrom(address.Unmap(), bits)
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.first[prefix]; !known {
		r.first[prefix] = at
	}
}

// Made returns when the route to a prefix was first made, if it was.
func (r *Routes) Made(to netip.Prefix) (at time.Time, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok = r.first[to]
	return at, ok
}

// Stop ends the listening.
func (r *Routes) Stop() { close(r.done) }

// Quantile returns the value that this share of all values is not above; of none
// it is zero.
func Quantile[T int | time.Duration](values []T, share float64) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}
