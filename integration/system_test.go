package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	bootTimeout    = time.Minute
	commandTimeout = "60" // seconds, for one command inside a system
)

// A system is a whole Debian in a folder: an overlay on a root that it shares
// with others, booted by systemd-nspawn in a network namespace of its own. What
// it writes stays over a reboot and goes with the test.
type system struct {
	root    string // its file system; it may be changed while the system is off
	net     network
	cgroup  cgroup
	console string        // file with what the boots printed
	nspawn  *exec.Cmd     // nil while the system is off
	off     chan struct{} // closed when nspawn has ended
	leader  string        // pid of the system's init, as seen from here
}

// newSystem returns a system that is off, with more packages than every one has.
// The test's end takes it away.
func newSystem(t *testing.T, suite string, more ...string) *system {
	t.Helper()
	lower, err := debianRoot(suite, more...)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// The upper layer is kept in memory: an overlay cannot be stacked on
	// another, and CI often runs on one.
	mount(t, dir, "tmpfs", "mode=755,size=2g")
	s := &system{root: filepath.Join(dir, "root"), console: filepath.Join(dir, "console")}
	upper, work := filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	for _, d := range []string{upper, work, s.root} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount(t, s.root, "overlay", fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work))
	s.net = network{server: suite + "-mx", world: suite + "-world"}
	t.Cleanup(func() { complain(t, "removing the network", s.net.remove()) })
	if err := s.net.addWorld(); err != nil {
		t.Fatal(err)
	}
	if s.cgroup, err = newCgroup(fmt.Sprintf("smtpban-%d-%s", os.Getpid(), suite)); err != nil {
		t.Fatalf("making a control group: %v", err)
	}
	t.Cleanup(func() {
		complain(t, "ending the system", s.cgroup.kill()) // nspawn and whatever it would leave behind
		if s.nspawn != nil {
			<-s.off
		}
		complain(t, "removing its control group", s.cgroup.remove())
	})
	return s
}

// mount mounts a new file system until the end of the test.
func mount(t *testing.T, target, fstype, options string) {
	t.Helper()
	if err := unix.Mount(fstype, target, fstype, 0, options); err != nil {
		t.Fatalf("mounting %s on %s: %v", fstype, target, err)
	}
	t.Cleanup(func() { complain(t, "unmounting "+target, unix.Unmount(target, 0)) })
}

// complain fails the test, but does not end it, if what it did went wrong.
func complain(t *testing.T, doing string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", doing, err)
	}
}

// boot starts the system in a fresh network namespace and waits until systemd
// has settled and Postfix listens.
func (s *system) boot(t *testing.T) {
	t.Helper()
	if err := s.net.connect(); err != nil {
		t.Fatal(err)
	}
	if err := s.start(); err != nil {
		t.Fatalf("booting: %v", err)
	}
	for deadline := time.Now().Add(bootTimeout); ; time.Sleep(20 * time.Millisecond) {
		if s.up() {
			return
		}
		select {
		case <-s.off:
			t.Fatalf("the system went down while booting:\n%s", s.bootMessages())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("the system is not up after %v:\n%s", bootTimeout, s.bootMessages())
		}
	}
}

func (s *system) start() error {
	console, err := os.OpenFile(s.console, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer console.Close()
	args := s.cgroup.enter("systemd-nspawn", "--quiet", "--boot", "--directory="+s.root,
		"--register=no", "--keep-unit", // works without a systemd around it
		"--network-namespace-path="+filepath.Join(netnsDir, s.net.server),
		"--capability=CAP_NET_ADMIN", // not implied by a namespace path
		"--console=read-only", "--resolv-conf=off", "--timezone=off", "--link-journal=no")
	s.nspawn = exec.Command(args[0], args[1:]...)
	s.nspawn.Stdout, s.nspawn.Stderr = console, console
	// If this process dies, nspawn shuts the system down. The signal follows
	// the thread that started the child, so that thread stays until the child
	// has ended; see PR_SET_PDEATHSIG(2const).
	s.nspawn.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	started, off := make(chan error), make(chan struct{})
	s.off = off
	go func() {
		runtime.LockOSThread()
		defer close(off)
		err := s.nspawn.Start()
		started <- err
		if err == nil {
			s.nspawn.Wait() // its exit status says nothing that the tests ask
		}
	}()
	if err := <-started; err != nil {
		s.nspawn = nil
		return err
	}
	return nil
}

// up reports whether the system has booted, and finds its leader: the one
// child of nspawn, once the process that sets the system up has gone.
func (s *system) up() bool {
	pid := strconv.Itoa(s.nspawn.Process.Pid)
	children, err := os.ReadFile(filepath.Join("/proc", pid, "task", pid, "children"))
	if err != nil || len(strings.Fields(string(children))) != 1 {
		return false
	}
	s.leader = strings.TrimSpace(string(children))
	state, _ := s.command("systemctl", "is-system-running").Output()
	if !slices.Contains([]string{"running", "degraded"}, strings.TrimSpace(string(state))) {
		return false
	}
	for _, port := range []string{":25", ":587"} {
		if listening, err := s.command("ss", "-Hlnt", "sport", "=", port).Output(); err != nil || len(listening) == 0 {
			return false
		}
	}
	return true
}

// powerOff shuts the system down as an admin would.
func (s *system) powerOff(t *testing.T) {
	t.Helper()
	s.command("systemctl", "poweroff").Run() // its own connection may be cut while it answers
	select {
	case <-s.off:
		s.nspawn = nil
	case <-time.After(bootTimeout):
		t.Fatalf("the system is not off after %v:\n%s", bootTimeout, s.bootMessages())
	}
}

// command prepares a program to run inside the system that is on.
func (s *system) command(args ...string) *exec.Cmd {
	inside := []string{"--kill-after=5", commandTimeout, "nsenter", "--target", s.leader, "--all", "--"}
	cmd := exec.Command("timeout", append(inside, args...)...)
	cmd.Env = cleanEnv()
	return cmd
}

// chroot prepares a program to run in the file system of one that is off.
func (s *system) chroot(args ...string) *exec.Cmd {
	cmd := exec.Command("chroot", append([]string{s.root}, args...)...)
	cmd.Env = cleanEnv()
	return cmd
}

// cleanEnv keeps this machine's environment out of the system.
func cleanEnv() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root", "TERM=dumb"}
}

// output runs a command that must succeed and returns what it printed.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	stdout, stderr, code := outcome(t, cmd)
	if code != 0 {
		t.Fatalf("%s: exit status %d\n%s%s", cmd, code, stdout, stderr)
	}
	return stdout
}

// outcome runs a command that may fail.
func outcome(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Run(); err != nil {
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
			t.Fatalf("%s: %v", cmd, err)
		}
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// run runs a command inside the system; it must succeed.
func (s *system) run(t *testing.T, args ...string) string {
	t.Helper()
	return output(t, s.command(args...))
}

// try runs a command inside the system that may fail.
func (s *system) try(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return outcome(t, s.command(args...))
}

// write puts a file into the system, on or off.
func (s *system) write(t *testing.T, path, text string) {
	t.Helper()
	path = filepath.Join(s.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (s *system) bootMessages() string {
	text, err := os.ReadFile(s.console)
	if err != nil {
		return err.Error()
	}
	return lastLines(string(text), 40)
}
