package torture_test

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// use is what a process needed.
type use struct {
	wall   time.Duration
	cpu    time.Duration
	memory float64 // MiB of anonymous memory at its highest
}

// measured runs the command, which must succeed, and returns what it needed. The
// kernel keeps no record of the highest RssAnon, so it is asked all the time;
// mapped pages of journal and state, which it can take back, do not count.
func (r *run) measured() (use, error) {
	begin := time.Now()
	if err := r.Start(); err != nil {
		return use{}, err
	}
	ended := make(chan struct{})
	highest := make(chan int64)
	go func() { highest <- watchMemory(r.Process.Pid, ended) }()
	err := r.Wait()
	close(ended)
	u := use{wall: time.Since(begin), memory: float64(<-highest) / 1024}
	if err != nil {
		return u, r.fail("did not succeed")
	}
	u.cpu = r.ProcessState.UserTime() + r.ProcessState.SystemTime()
	return u, nil
}

// watchMemory returns the highest RssAnon of a process, in KiB, see proc(5).
func watchMemory(pid int, ended chan struct{}) (highest int64) {
	file := fmt.Sprintf("/proc/%d/status", pid)
	for {
		select {
		case <-ended:
			return highest
		case <-time.After(time.Millisecond):
		}
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		if _, rest, ok := bytes.Cut(text, []byte("\nRssAnon:")); ok {
			size, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
			if err == nil {
				highest = max(highest, size)
			}
		}
	}
}
