package torture_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtpban/integration/torture"
	"smtpban/internal/store"
)

// vacuumTime is how long a round lasts.
const vacuumTime = 5 * time.Second

// TestTortureVacuum has a journald rotate its files, and journalctl remove all but
// the newest, again and again, while Postfix logs and smtpban reads. What is in
// the journal before a run and still after it must have been counted by then, and
// nothing twice. Where something was removed unread there must be a gap. A run may
// fail when files go from under it, but not once there is quiet again.
func TestTortureVacuum(t *testing.T) {
	private(t)
	binary := build(t)
	torture.Run(t, torture.Row{
		Title: "vacuum and rotate in a loop while reading and writing",
		Goal:  "10 minutes: 0 lost of what remained, 0 double",
		Short: 1, Full: int(10 * time.Minute / vacuumTime),
		Figure: func(y torture.Tally) string {
			return fmt.Sprintf("%.1f minutes, %d rotations, %d files removed, %d runs, %d of which failed; of %d entries %d were removed unread, 0 lost of the others, 0 counted twice",
				float64(y.Rounds)*vacuumTime.Minutes(), y.Counts["rotations"], y.Counts["removed"], y.Counts["runs"], y.Counts["failed"], y.Counts["entries"], y.Counts["unread"])
		},
		Check: func(y torture.Tally) error {
			return errors.Join(tooFew(y, "removed", 1), tooFew(y, "runs", y.Rounds), tooFew(y, "entries", 100*y.Rounds))
		},
	}, func(r *torture.Round) error {
		m := newMachine(t, binary, r.Dir(t))
		defer m.table.Close()
		j := startJournald(t, m.journal())
		defer j.stop(t)
		return (&attic{Round: r, machine: m, journald: j}).tell()
	})
}

// journald is a real one, whose sockets are in the private /run.
type journald struct {
	cmd *exec.Cmd
	log int // socket: where syslog(3) would write to
}

const journaldConf = `[Journal]
Storage=persistent
SystemMaxFileSize=1M
RateLimitIntervalSec=0
ReadKMsg=no
Audit=no
SplitMode=none
`

// startJournald starts one that writes below dir. It can be reached only from the
// private mounts of this goroutine's thread.
func startJournald(t *testing.T, dir string) *journald {
	t.Helper()
	const program, conf, logs, socket = "/lib/systemd/systemd-journald", "/run/journald.conf", "/var/log/journal", "/run/systemd/journal/dev-log"
	err := errors.Join(
		os.MkdirAll(logs, 0o755), unix.Mount(dir, logs, "", unix.MS_BIND, ""),
		os.MkdirAll("/run/systemd/journal", 0o755), os.WriteFile("/run/systemd/journal/flushed", nil, 0o644),
		os.WriteFile(conf, []byte(journaldConf), 0o644), unix.Mount(conf, "/etc/systemd/journald.conf", "", unix.MS_BIND, ""))
	if err != nil {
		t.Fatalf("preparing a journald: %v", err)
	}
	j := &journald{cmd: exec.Command(program)}
	j.log, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err := errors.Join(err, j.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if err = unix.Connect(j.log, &unix.SockaddrUnix{Name: socket}); err == nil {
			return j
		}
		if time.Now().After(deadline) {
			j.stop(t)
			t.Fatalf("journald does not listen: %v", err)
		}
	}
}

func (j *journald) stop(t *testing.T) {
	t.Helper()
	err := errors.Join(unix.Close(j.log), j.cmd.Process.Signal(unix.SIGTERM), j.cmd.Wait(), os.RemoveAll("/run/systemd"),
		unix.Unmount("/var/log/journal", 0), unix.Unmount("/etc/systemd/journald.conf", 0))
	if err != nil {
		t.Errorf("stopping journald: %v", err)
	}
}

// write logs a failure of the nth client, as a process of Postfix's: root may send
// the credentials of another user.
func (j *journald) write(n int) error {
	message := fmt.Sprintf("<20>postfix/smtpd[%d]: warning: unknown[%s]: SASL LOGIN authentication failed: UGFzc3dvcmQ6", 1000+n%100, floodIPv4(n))
	credentials := unix.UnixCredentials(&unix.Ucred{Pid: int32(os.Getpid()), Uid: postfixUID, Gid: postfixUID})
	return unix.Sendmsg(j.log, []byte(message), credentials, nil, 0)
}

// attic is a round.
type attic struct {
	*torture.Round
	*machine
	*journald
	written int // clients 0 to written-1 failed once each

	rotations, removed int
}

func (a *attic) tell() error {
	stopped := make(chan struct{})
	var others sync.WaitGroup
	var errWriting, errRemoving error
	pauses := a.pauses()
	others.Go(func() { errWriting = a.keepWriting(stopped) })
	others.Go(func() { errRemoving = a.keepRemoving(stopped, pauses) })
	var err error
	for begin := time.Now(); err == nil && time.Since(begin) < vacuumTime; {
		_, err = a.checkRun()
	}
	close(stopped)
	others.Wait()
	if err = errors.Join(err, errWriting, errRemoving); err != nil {
		return err
	}
	done, err := a.checkRun()
	if !done && err == nil {
		err = errors.New("the last run, with nothing going on, failed")
	}
	if err := errors.Join(err, a.checkLoss()); err != nil {
		return err
	}
	a.Count("entries", a.written)
	a.Count("rotations", a.rotations)
	a.Count("removed", a.removed)
	return nil
}

func (a *attic) keepWriting(stopped <-chan struct{}) error {
	for ; ; a.written++ {
		select {
		case <-stopped:
			return nil
		default:
		}
		if err := a.write(a.written); err != nil {
			return fmt.Errorf("logging: %w", err)
		}
		if a.written%10 == 0 {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// pauses draws those between the rotations.
func (a *attic) pauses() []time.Duration {
	pauses := make([]time.Duration, 100)
	for i := range pauses {
		pauses[i] = time.Duration(20+a.Rand.IntN(200)) * time.Millisecond
	}
	return pauses
}

// keepRemoving rotates and then, mostly, removes what is too old.
func (a *attic) keepRemoving(stopped <-chan struct{}, pauses []time.Duration) error {
	for i := 0; ; i++ {
		select {
		case <-stopped:
			return nil
		case <-time.After(pauses[i%len(pauses)]):
		}
		if err := a.cmd.Process.Signal(unix.SIGUSR2); err != nil {
			return fmt.Errorf("rotating: %w", err)
		}
		a.rotations++
		if i%3 == 0 {
			continue
		}
		out, err := exec.Command("journalctl", "-D", a.journal(), fmt.Sprintf("--vacuum-files=%d", 1+i%4)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("vacuuming: %w: %s", err, out)
		}
		a.removed += strings.Count(string(out), "Deleted archived journal")
	}
}

// checkRun runs block and compares what it counted with what was in the journal
// before and is still there. done is false where the run failed.
func (a *attic) checkRun() (done bool, err error) {
	before, err := a.listed()
	if err != nil {
		return false, err
	}
	r := a.command(time.Now(), "block")
	r.Run()
	a.Count("runs", 1)
	counted, err := a.counted()
	if err != nil {
		return false, err
	}
	switch said := r.output.String(); {
	case r.status() == 0, r.status() == 1 && !strings.Contains(said, "reading the journal"): // a gap
	case r.status() == 1 && strings.Contains(said, syscall.EBADMSG.Error()), strings.Contains(said, "SIGBUS"):
		a.Count("failed", 1)
		return false, nil
	default:
		return false, r.fail("status 0 is wanted, or 1 with a gap")
	}
	after, err := a.listed()
	if err != nil {
		return false, err
	}
	for client := range after {
		if before[client] && counted[client] == 0 {
			return false, r.fail("%s is in the journal and was not counted", client)
		}
	}
	return true, nil
}

// checkLoss makes sure that what was removed unread is told of.
func (a *attic) checkLoss() error {
	counted, err := a.counted()
	if err != nil {
		return err
	}
	c, err := a.read()
	if err != nil {
		return err
	}
	unread := a.written - len(counted)
	a.Count("unread", unread)
	if unread > 0 && c.Gaps == 0 {
		return fmt.Errorf("%d of %d entries were removed unread, and there is no gap", unread, a.written)
	}
	return nil
}

// counted returns the clients in the state, none of which may have failed twice.
func (a *attic) counted() (map[netip.Addr]int, error) {
	counted := map[netip.Addr]int{}
	err := store.New(a.state()).View(func(tx *store.Tx) error {
		for c, err := range tx.Clients() {
			if err != nil {
				return err
			}
			if c.Failures > 1 {
				return fmt.Errorf("%s failed once and was counted %d times", c.Prefix, c.Failures)
			}
			counted[c.Prefix.Addr()] = c.Failures
		}
		return nil
	})
	return counted, err
}

var failedClient = regexp.MustCompile(`unknown\[([0-9.]+)\]: SASL`)

// listed returns the clients that journalctl finds.
func (a *attic) listed() (map[netip.Addr]bool, error) {
	out, err := exec.Command("journalctl", "-q", "-D", a.journal(), "-o", "cat", "_TRANSPORT=syslog", fmt.Sprintf("_UID=%d", postfixUID)).Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) { // it may not like it that files vanish
		return nil, fmt.Errorf("listing the journal %s: %w", filepath.Base(a.journal()), err)
	}
	clients := map[netip.Addr]bool{}
	for _, m := range failedClient.FindAllStringSubmatch(string(out), -1) {
		clients[netip.MustParseAddr(m[1])] = true
	}
	return clients, nil
}
