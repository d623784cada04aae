package torture_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtpban/integration/torture"
)

// What watch must keep to. The test runs beside others, and on whatever there is:
// the short form leaves time to spare.
const (
	halfReact     = 60 * time.Millisecond
	nearlyReact   = 150 * time.Millisecond // 99 %
	idleShare     = 0.005                  // of a processor
	mostAnonymous = 16.0                   // MiB
	mostOpen      = 32                     // descriptors, however many files come and go
)

// At full length a round lasts two hours with 200 attempts a second, unless these
// say otherwise. A client makes as many as bring a ban, and is another one then.
const (
	lengthVariable = "SMTPBAN_LENGTH" // as in 90m
	rateVariable   = "SMTPBAN_RATE"   // attempts a second
)

// watchBan is so short that bans run out while others begin.
const watchBan = 30 * time.Second

const watchPolicy = `[policy]
maxretry = 5
bantime = "%v"
bantime_factor = 1
[journal]
directory = %q
postfix_user = "%d"
[store]
path = %q
`

// TestTortureWatch has smtpban watch while journald logs 200 attempts a second,
// rotates its files, has them vacuumed and is restarted. Every attempt counts once,
// also where watch is stopped or killed and block goes on, and back, many times over;
// and each ban has its route soon. Then there is quiet.
func TestTortureWatch(t *testing.T) {
	private(t)
	binary := build(t)
	torture.Run(t, torture.Row{
		Title: "watch at 200 attempts/s, with rotation, vacuum, restarts of journald, and handovers to block and back",
		Goal:  "2 hours: 0 lost, 0 double, p50 60 ms and p99 150 ms from log to route; 16 MiB; idle 0.5 % of a processor",
		Short: 1, Full: 1,
		Figure: func(y torture.Tally) string {
			return fmt.Sprintf("%d attempts, %d bans, %d rotations, %d files removed, %d restarts of journald, %d handovers; %d attempts removed unread and told, 0 of the others lost, 0 double; p50 %.0f ms, p99 %.0f ms; at most %.1f MiB, %.0f descriptors; idle %.2f %%",
				y.Counts["attempts"], y.Counts["bans"], y.Counts["rotations"], y.Counts["removed"], y.Counts["restarts"], y.Counts["handovers"], y.Counts["unread"], y.Worst["p50"], y.Worst["p99"], y.Worst["MiB"], y.Worst["descriptors"], y.Worst["idle"])
		},
		Check: func(y torture.Tally) error {
			return errors.Join(tooFew(y, "bans", 100*y.Rounds), tooFew(y, "rotations", 2*y.Rounds), tooFew(y, "restarts", y.Rounds), tooFew(y, "handovers", handovers()*y.Rounds), checkGoals(y))
		},
	}, func(r *torture.Round) error {
		m := newMachine(t, binary, r.Dir(t))
		defer m.table.Close()
		text := fmt.Sprintf(watchPolicy, watchBan, m.journal(), postfixUID, m.state())
		if err := os.WriteFile(m.config(), []byte(text), 0o644); err != nil {
			return err
		}
		v := &vigil{attic: attic{Round: r, machine: m, journald: startJournald(t, m.journal())}, t: t}
		defer func() { v.journald.stop(t) }()
		return v.tell()
	})
}

// checkGoals compares with the goals what was measured at full length.
func checkGoals(y torture.Tally) error {
	var errs []error
	for what, most := range map[string]float64{
		"p50": float64(halfReact.Milliseconds()), "p99": float64(nearlyReact.Milliseconds()), "MiB": mostAnonymous, "descriptors": mostOpen, "idle": 100 * idleShare,
	} {
		if torture.Full() && y.Worst[what] > most {
			errs = append(errs, fmt.Errorf("%s is %.2f, at most %.2f is wanted", what, y.Worst[what], most))
		}
	}
	return errors.Join(errs...)
}

// handovers is how often in a round watch hands over to block, and back.
func handovers() int {
	if torture.Full() {
		return 20
	}
	return 3
}

// vigil is a round: an attic where watch runs.
type vigil struct {
	attic
	t      *testing.T
	watch  *run
	pause  time.Duration   // between two attempts
	pauses []time.Duration // between the rotations

	tried    []time.Time // when a client made its last attempt, by its number
	restarts int
}

func (v *vigil) tell() error {
	length, rate, quiet := 8*time.Second, 200, 5*time.Second
	if torture.Full() {
		quiet = time.Minute
		var err error
		if length, rate, err = fullRound(); err != nil {
			return err
		}
	}
	v.pause, v.pauses = time.Second/time.Duration(rate), v.attic.pauses()
	for i := range v.pauses {
		v.pauses[i] *= time.Duration(1000 / rate) // each file has some entries
	}
	if err := v.write(1_000_000); err != nil { // else there is no journal yet
		return err
	}
	routes, err := torture.ListenToRoutes()
	if err != nil {
		return err
	}
	defer routes.Stop()
	v.startWatch()
	defer func() { v.watch.Process.Kill(); v.watch.Wait() }()
	return errors.Join(v.attack(length), v.idle(quiet), v.check(routes))
}

// fullRound returns how long a round lasts at full length, and how many attempts
// there are in a second.
func fullRound() (length time.Duration, rate int, err error) {
	length, rate = 2*time.Hour, 200
	if text := os.Getenv(lengthVariable); text != "" {
		if length, err = time.ParseDuration(text); err != nil {
			return 0, 0, fmt.Errorf("%s: %w (want a time such as 90m)", lengthVariable, err)
		}
	}
	if text := os.Getenv(rateVariable); text != "" {
		if rate, err = strconv.Atoi(text); err != nil || rate < 1 || rate > 1000 {
			return 0, 0, fmt.Errorf("%s is %q: want 1 to 1000 attempts a second", rateVariable, text)
		}
	}
	return length, rate, nil
}

// startWatch starts it as the unit does.
func (v *vigil) startWatch() {
	v.watch = &run{Cmd: exec.Command(v.binary, "watch", "--quiet", "--config", v.config())}
	v.watch.Stderr = &v.watch.output
	if err := v.watch.Start(); err != nil {
		v.t.Fatal(err)
	}
}

// attack has clients make attempts for so long, while the journal's files come and
// go. In the last eighth of it watch hands over, again and again; before, it is the
// same process all the time.
func (v *vigil) attack(length time.Duration) error {
	end, left := time.Now().Add(length), handovers()
	next, every := end.Add(-length/8), length/8/time.Duration(left)
	looked := time.Now()
	for lasts := 2 * time.Second; time.Now().Before(end) || left > 0; lasts = time.Duration(3+v.Rand.IntN(10)) * time.Second {
		stop := v.begin()
		var err error
		for restart := time.Now().Add(lasts); err == nil && time.Now().Before(restart) && (time.Now().Before(end) || left > 0); {
			time.Sleep(10 * time.Millisecond)
			if left > 0 && time.Now().After(next) {
				next, left = next.Add(every), left-1
				err = v.handOver()
			}
		}
		// Who signals journald must know it.
		if err := errors.Join(err, stop(), v.restartJournald()); err != nil {
			return err
		}
		if now := time.Now(); now.Sub(looked) > length/16 {
			looked = now
			if err := v.look(); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin lets attempts be logged, and files come and go, until stop is called.
func (v *vigil) begin() (stop func() error) {
	stopped := make(chan struct{})
	var others sync.WaitGroup
	var errTrying, errRemoving error
	others.Go(func() { errTrying = v.keepTrying(stopped) })
	others.Go(func() { errRemoving = v.keepRemoving(stopped, v.pauses) })
	return func() error {
		close(stopped)
		others.Wait()
		return errors.Join(errTrying, errRemoving)
	}
}

// keepTrying has each client make all of its attempts.
func (v *vigil) keepTrying(stopped <-chan struct{}) error {
	for next := time.Now(); ; next = next.Add(v.pause) {
		select {
		case <-stopped:
			if v.written%5 == 0 {
				return nil
			}
		case <-time.After(time.Until(next)):
		}
		if err := v.attempt(); err != nil {
			return err
		}
	}
}

// attempt is one of the client whose turn it is.
func (v *vigil) attempt() error {
	now := time.Now()
	if err := v.write(v.written / 5); err != nil {
		return fmt.Errorf("logging: %w", err)
	}
	if v.written++; v.written%5 == 0 {
		v.tried = append(v.tried, now)
	}
	return nil
}

// restartJournald waits until it has read everything: what is still in its socket
// goes with that, which elsewhere systemd holds.
func (v *vigil) restartJournald() error {
	for unread := 1; unread > 0; {
		var err error
		if unread, err = unix.IoctlGetInt(v.log, unix.SIOCOUTQ); err != nil {
			return fmt.Errorf("asking for what journald has not read: %w", err)
		}
	}
	v.journald.stop(v.t)
	v.journald = startJournald(v.t, v.journal())
	v.restarts++
	return nil
}

// handOver ends watch in the middle of it, lets block go on, and watch again. As
// with the units, the next one may begin before the last one has ended.
func (v *vigil) handOver() error {
	signal := []os.Signal{unix.SIGKILL, unix.SIGTERM}[v.Rand.IntN(2)]
	if err := v.watch.Process.Signal(signal); err != nil {
		return v.watch.fail("it ended by itself: %v", err)
	}
	block := &run{Cmd: exec.Command(v.binary, "block", "--quiet", "--config", v.config())}
	block.Stdout, block.Stderr = &block.output, &block.output
	if err := block.Start(); err != nil {
		return err
	}
	if err := v.watch.Wait(); err != nil && signal == unix.SIGTERM {
		return v.watch.fail("told to stop")
	}
	v.complaints()
	v.startWatch()
	if block.Wait(); block.status() > 1 {
		return block.fail("after watch")
	}
	v.Count("handovers", 1)
	return nil
}

// look keeps how much memory and how many descriptors watch has.
func (v *vigil) look() error {
	process := fmt.Sprintf("/proc/%d/", v.watch.Process.Pid)
	status, err := os.ReadFile(process + "status")
	if err != nil {
		return v.watch.fail("it ended by itself: %v", err)
	}
	open, err := os.ReadDir(process + "fd")
	if err != nil {
		return err
	}
	_, rest, _ := bytes.Cut(status, []byte("\nRssAnon:"))
	kibibytes, err := strconv.ParseFloat(string(bytes.Fields(rest)[0]), 64)
	v.Worst("MiB", kibibytes/1024)
	v.Worst("descriptors", float64(len(open)))
	v.t.Logf("round %d: %d attempts, %.1f MiB, %d descriptors", v.N, v.written, kibibytes/1024, len(open))
	return err
}

// idle lets nothing be logged, and looks what watch needs meanwhile.
func (v *vigil) idle(quiet time.Duration) error {
	time.Sleep(3 * time.Second) // bans that run out do so with the next whole pass
	before, err := cpuTime(v.watch.Process.Pid)
	if err != nil {
		return v.watch.fail("it ended by itself: %v", err)
	}
	time.Sleep(quiet)
	after, err := cpuTime(v.watch.Process.Pid)
	if err != nil {
		return err
	}
	v.Worst("idle", 100*(after-before).Seconds()/quiet.Seconds())
	return v.look()
}

// cpuTime returns what all threads of a process have used, see
// https://docs.kernel.org/scheduler/sched-stats.html.
func cpuTime(pid int) (total time.Duration, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		return 0, errors.Join(err, os.ErrNotExist)
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			return 0, err
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(ns)
	}
	return total, nil
}

// check compares what watch did with what was logged.
func (v *vigil) check(routes *torture.Routes) error {
	if err := v.watch.Process.Signal(unix.SIGTERM); err != nil {
		return v.watch.fail("it ended by itself: %v", err)
	}
	if err := v.watch.Wait(); err != nil {
		return v.watch.fail("told to stop")
	}
	v.complaints()
	c, err := v.read()
	if err != nil {
		return err
	}
	have := v.routes(v.t)
	unread := 0
	var delays []time.Duration
	for n, at := range v.tried {
		client := netip.PrefixFrom(floodIPv4(n), 32)
		made, routed := routes.Made(client)
		switch got := c.Clients[client.String()].Failures; {
		case got > 5:
			return fmt.Errorf("%s failed 5 times and was counted %d times", client, got)
		case got < 5:
			unread += 5 - got
		case time.Since(at) > watchBan+time.Minute && slices.Contains(have, client):
			return fmt.Errorf("the ban of %s was over a minute ago, and there is a route", client)
		case !routed:
			return fmt.Errorf("%s was counted 5 times and got no route", client)
		default:
			delays = append(delays, made.Sub(at))
		}
	}
	if unread > 0 && c.Gaps == 0 {
		return fmt.Errorf("%d of %d attempts are not counted, and there is no gap", unread, v.written)
	}
	v.Worst("p50", milliseconds(torture.Quantile(delays, 0.5)))
	v.Worst("p99", milliseconds(torture.Quantile(delays, 0.99)))
	v.Count("attempts", v.written)
	v.Count("bans", len(delays))
	v.Count("unread", unread)
	v.Count("rotations", v.rotations)
	v.Count("removed", v.removed)
	v.Count("restarts", v.restarts)
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// complaints shows what watch had to say: of gaps above all.
func (v *vigil) complaints() {
	for line := range strings.Lines(v.watch.output.String()) {
		v.t.Logf("round %d: %s", v.N, strings.TrimSpace(line))
	}
}
