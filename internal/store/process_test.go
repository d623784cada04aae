package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"smtpban/internal/ban"
)

// roleVariable makes the test binary play another process of smtpban.
const roleVariable = "SMTPBAN_TEST_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := play(role, New(os.Args[1])); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// play does what the role says until standard input ends.
func play(role string, s *Store) error {
	switch role {
	case "hold the lock":
		unlock, err := s.Lock(0)
		if err != nil {
			return err
		}
		fmt.Println("ready")
		_, err = io.Copy(io.Discard, os.Stdin)
		unlock()
		return err
	case "increment once":
		unlock, err := s.Lock(time.Minute)
		if err != nil {
			return err
		}
		defer unlock()
		return increment(s)
	case "run out of space":
		return runOutOfSpace(s)
	case "increment for ever":
		for {
			if err := increment(s); err != nil {
				return err
			}
			fmt.Println("ready")
		}
	}
	return fmt.Errorf("no role %q", role)
}

// increment counts one failure of each of many clients and moves the position
// along, reading first and writing in a second transaction as a run does.
func increment(s *Store) error {
	n := 0
	err := s.View(func(tx *Tx) error {
		c, err := tx.Client(nth(0))
		n = c.Failures
		return err
	})
	if err != nil {
		return err
	}
	return s.Update(func(tx *Tx) error { return counted(n + 1).put(tx) })
}

// counted is the content after n increments.
func counted(n int) content {
	c := content{Positions: map[[16]byte][]byte{{1}: fmt.Append(nil, n)}, Due: map[netip.Prefix]time.Time{}}
	for i := range 200 {
		c.Clients = append(c.Clients, ban.Client{Prefix: nth(i), Failures: n, Ends: make([]time.Time, n%7)})
		c.Due[nth(i)] = at(1)
	}
	c.Commit, c.Report = at(float64(n)), at(float64(n))
	return c
}

// runOutOfSpace fills a small disk of its own, and then makes it larger. It says
// at which count the disk was full.
func runOutOfSpace(s *Store) error {
	disk := filepath.Dir(s.path)
	err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("tmpfs", disk, "tmpfs", 0, "size=400k"))
	if err != nil {
		return fmt.Errorf("mounting: %w", err)
	}
	fill := func(n int) error {
		return s.Update(func(tx *Tx) error {
			return errors.Join(tx.PutClient(ban.Client{Prefix: nth(n), Failures: n + 1, Ends: make([]time.Time, 64)}, epoch),
				tx.PutPosition([16]byte{1}, fmt.Append(nil, n)))
		})
	}
	n := 0
	for ; err == nil; n++ {
		err = fill(n)
	}
	full := n - 1
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), s.path) {
		return fmt.Errorf("with the disk full: %w", err)
	}
	if err := hasClients(s, full); err != nil {
		return fmt.Errorf("with the disk full: %w", err)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, "size=4m"); err != nil {
		return err
	}
	for n := full; n < 2*full; n++ {
		if err := fill(n); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
	}
	fmt.Println("full at", full)
	return hasClients(s, 2*full)
}

// hasClients reports how the store differs from one with n clients and the
// position that was put with the last one.
func hasClients(s *Store, n int) error {
	return s.View(func(tx *Tx) error {
		positions, err := tx.Positions()
		if p := string(positions[[16]byte{1}]); err != nil || p != strconv.Itoa(n-1) {
			return fmt.Errorf("position %q with %d clients, %w", p, n, err)
		}
		found := 0
		for c, err := range tx.Clients() {
			if err != nil || c.Prefix != nth(found) || c.Failures != found+1 {
				return fmt.Errorf("client %d is %v, %w", found, c, err)
			}
			found++
		}
		if found != n {
			return fmt.Errorf("%d clients, want %d", found, n)
		}
		return nil
	})
}

// process starts the test binary in a role and returns it with its output.
func process(t *testing.T, role string, s *Store) (cmd *exec.Cmd, stop io.Closer, output *bufio.Reader) {
	t.Helper()
	cmd = exec.Command(os.Args[0], s.path)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, stdin, bufio.NewReader(stdout)
}

func ready(t *testing.T, output *bufio.Reader) {
	t.Helper()
	if line, err := output.ReadString('\n'); line != "ready\n" {
		t.Fatalf("the other process said %q, %v", line, err)
	}
}

func TestAnotherProcessKeepsTheLockUntilItEnds(t *testing.T) {
	for name, end := range map[string]func(*exec.Cmd, io.Closer) error{
		"and unlocks":  func(_ *exec.Cmd, stop io.Closer) error { return stop.Close() },
		"or is killed": func(cmd *exec.Cmd, _ io.Closer) error { return cmd.Process.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			cmd, stop, output := process(t, "hold the lock", s)
			ready(t, output)
			if _, err := s.Lock(50 * time.Millisecond); !errors.Is(err, ErrLocked) {
				t.Fatalf("got error %v, want ErrLocked", err)
			}
			if err := end(cmd, stop); err != nil {
				t.Fatal(err)
			}
			unlock, err := s.Lock(10 * time.Second)
			if err != nil {
				t.Fatal(err)
			}
			unlock()
		})
	}
}

func TestNoUpdateOfConcurrentRunsIsLost(t *testing.T) {
	const runs = 20
	s := newStore(t)
	var cmds []*exec.Cmd
	for range runs {
		cmd, _, _ := process(t, "increment once", s)
		cmds = append(cmds, cmd)
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	assertCounted(t, s, runs)
}

func TestAKilledWriterLeavesAWholeTransaction(t *testing.T) {
	const kills = 30
	s := newStore(t)
	before, progress := 0, 0
	for i := range kills {
		cmd, _, output := process(t, "increment for ever", s)
		ready(t, output)
		time.Sleep(time.Duration(i*331%5000) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		after := counter(t, s)
		assertCounted(t, s, after)
		if after <= before {
			t.Fatalf("round %d: %d increments after the kill, %d before", i, after, before)
		}
		progress += after - before
		before = after
	}
	t.Logf("%d kills, %d commits", kills, progress)
}

func counter(t *testing.T, s *Store) (n int) {
	t.Helper()
	view(t, s, func(tx *Tx) error {
		c, err := tx.Client(nth(0))
		n = c.Failures
		return err
	})
	return n
}

func assertCounted(t *testing.T, s *Store, n int) {
	t.Helper()
	if diff := cmp.Diff(counted(n), load(t, s), exact, cmpopts.EquateEmpty()); diff != "" {
		t.Fatal(diff)
	}
}

func TestAFullDiskKeepsTheLastCommitAndTheNextGoesOnWhenThereIsRoom(t *testing.T) {
	requireRoot(t, "needs root to mount a small disk in a namespace of its own")
	cmd := exec.Command(os.Args[0], newStore(t).path)
	cmd.Env = append(os.Environ(), roleVariable+"=run out of space")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	t.Logf("%s", output)
}
