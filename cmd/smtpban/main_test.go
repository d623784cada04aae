package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"smtpban/internal/journal"
	"smtpban/internal/journal/journaltest"
)

func TestMain(m *testing.M) {
	testscript.Main(asRoot{m}, map[string]func(){"smtpban": main})
}

// inUserNamespace marks the child that asRoot starts.
const inUserNamespace = "SMTPBAN_TEST_IN_USER_NAMESPACE"

// asRoot lets an ordinary user run the tests as the root of a user namespace of
// his own. Where that is forbidden the scripts skip.
type asRoot struct{ *testing.M }

func (m asRoot) Run() int {
	if os.Getuid() == 0 || os.Getenv(inUserNamespace) != "" {
		return m.M.Run()
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inUserNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		return m.M.Run()
	}
	return 0
}

// TestScript runs the command as people do. Each script in testdata/script is a
// page of behaviour, and each has a machine of its own: see privateMachine.
// Beside testscript's own commands they know
//
//	exits STATUS PROGRAM ARG...      run a program that must end with this status
//	dial N ADDRESS PORT      hold N idle connections from ADDRESS to this PORT until the script ends
//	export UID MAILLOG FILE          write a maillog of 1 March 2026 as journalctl -o export would, had this user logged it
//	world PREFIX...                  let connections come from these networks
//	listen ADDRESS PORT...           wait for clients at these ports until the script ends
//	connect ADDRESS PORT...          connect to these local ports
//	terminal COLUMNS PROGRAM ARG...  run a program on a terminal, no line of which may be wider
//	spoil STATE BUCKET KEY           make this value unreadable, as a mistake of ours would
//	[!] connected ADDRESS PORT...    check that all (none) of these connections are still open
//
// and the conditions [journal-remote], for what makes journal files of that, [nft]
// and [sqlite3].
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", "atexit_sleep_ms=0") // otherwise each program ends with a second's sleep
			env.Values[visitorsKey{}] = newVisitors()
			return privateMachine(env.T())
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     exits,
			"export":    export,
			"dial":      dial,
			"world":     world,
			"listen":    listen,
			"connect":   connect,
			"connected": connected,
			"spoil":     spoil,
			"terminal":  terminal,
		},
		Condition: condition,
	})
}

// privateMachine gives the script a network of its own, with nothing in it but lo,
// and a name, and hides what this machine may have of smtpban, Postfix and the name of our
// protocol in /etc, and who is logged in on it. All of that belongs to this
// goroutine's thread, from which the script starts its programs; it ends with the
// script and takes it along.
func privateMachine(t testscript.T) error {
	runtime.LockOSThread() // for good: an unlocked thread would be used again
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("no private network namespace, and CI must not skip this: ", err)
		}
		t.Skip("SKIPPED: needs root or user namespaces to make a network namespace: ", err)
	}
	if err := unix.Sethostname([]byte("mx1.example")); err != nil {
		return fmt.Errorf("naming this machine: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keeping mounts to ourselves: %w", err)
	}
	if err := unix.Mount("none", "/run", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("hiding /run: %w", err)
	}
	if err := privateEtc("/run/etc"); err != nil {
		return fmt.Errorf("keeping /etc to ourselves: %w", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("ip link set lo up: %w: %s", err, out)
	}
	return nil
}

// privateEtc lets the script change /etc, which changes only scratch, and takes away
// what might be there of smtpban and Postfix.
func privateEtc(scratch string) error {
	upper, work := filepath.Join(scratch, "upper"), filepath.Join(scratch, "work")
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	if err := unix.Mount("overlay", "/etc", "overlay", 0, fmt.Sprintf("lowerdir=/etc,upperdir=%s,workdir=%s", upper, work)); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll("/etc/smtpban"), os.RemoveAll("/etc/postfix"), os.RemoveAll("/etc/iproute2/rt_protos.d"))
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM ARG...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = strconv.Itoa(exit.ExitCode())
	} else {
		ts.Check(err)
	}
	if got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
}

func dial(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: dial N ADDRESS PORT")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	server, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", args[2]))
	ts.Check(err)
	ts.Defer(func() { server.Close() })
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(args[1])}}
	for range n {
		connection, err := dialer.Dial("tcp4", server.Addr().String())
		ts.Check(err)
		ts.Defer(func() { connection.Close() })
	}
}

func export(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: export UID MAILLOG FILE")
	}
	uid, err := strconv.Atoi(args[0])
	ts.Check(err)
	boot := time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)
	log := journal.OpenMaillog(strings.NewReader(ts.ReadFile(args[1])), boot.Add(24*time.Hour), time.UTC, nil)
	var entries []journaltest.Entry
	for e, err := range log.Entries() {
		ts.Check(err)
		entries = append(entries, journaltest.Entry{
			Boot: journaltest.Boot(1), Time: e.Time, Monotonic: e.Time.Sub(boot),
			UID: uid, Identifier: e.Identifier, PID: e.PID, Message: e.Message,
		})
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), journaltest.Export(entries...), 0o644))
}

// condition reports whether what a script needs is installed.
func condition(name string) (bool, error) {
	programs := map[string]string{"journal-remote": "/lib/systemd/systemd-journal-remote", "nft": "/usr/sbin/nft", "sqlite3": "/usr/bin/sqlite3"}
	program, known := programs[name]
	if !known {
		return false, fmt.Errorf("unknown condition %q", name)
	}
	_, err := os.Stat(program)
	if err != nil && os.Getenv("CI") != "" {
		return false, fmt.Errorf("CI must not skip this: %w", err)
	}
	return err == nil, nil
}
