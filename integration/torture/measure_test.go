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
	detail string  // of the process at that moment
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
	watched := make(chan use)
	go func() { watched <- watchMemory(r.Process.Pid, ended) }()
	err := r.Wait()
	close(ended)
	u := <-watched
	u.wall = time.Since(begin)
	if err != nil {
		return u, r.fail("did not succeed")
	}
	u.cpu = r.ProcessState.UserTime() + r.ProcessState.SystemTime()
	return u, nil
}

// watchMemory looks for the highest RssAnon of a process, see proc(5).
func watchMemory(pid int, ended chan struct{}) (u use) {
	file := fmt.Sprintf("/proc/%d/status", pid)
	for {
		select {
		case <-ended:
			return u
		case <-time.After(time.Millisecond):
		}
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		if _, rest, ok := bytes.Cut(text, []byte("\nRssAnon:")); ok {
			kibibytes, err := strconv.ParseFloat(string(bytes.Fields(rest)[0]), 64)
			if mebibytes := kibibytes / 1024; err == nil && mebibytes > u.memory {
				u.memory, u.detail = mebibytes, string(text)
			}
		}
	}
}
