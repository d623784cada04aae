package integration

import (
	"net/netip"
	"sync"
	"time"
)

// A hammer is a client that tries to connect without pause, from several
// connections at once, and notes when it got in.
type hammer struct {
	stopped chan struct{}
	arms    sync.WaitGroup
	mu      sync.Mutex
	tries   int
	got     []time.Time
}

// hammer starts one. The server may be off or without a network meanwhile.
func (n network) hammer(from netip.Addr) *hammer {
	const (
		arms  = 4
		pause = 10 * time.Millisecond
		// Shorter than the kernel's first repetition of a lost SYN: a new
		// attempt finds an opened door sooner.
		patience = 200 * time.Millisecond
	)
	h := &hammer{stopped: make(chan struct{})}
	for range arms {
		h.arms.Go(func() {
			for {
				conn, err := n.dial(from, smtpPort, patience)
				h.note(err == nil)
				if err == nil {
					conn.Close()
				}
				select {
				case <-h.stopped:
					return
				case <-time.After(pause):
				}
			}
		})
	}
	return h
}

func (h *hammer) note(in bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tries++
	if in {
		h.got = append(h.got, time.Now())
	}
}

// stop ends the hammering and returns the times of every connection it got, and
// how often it tried.
func (h *hammer) stop() (got []time.Time, tries int) {
	close(h.stopped)
	h.arms.Wait()
	return h.got, h.tries
}
