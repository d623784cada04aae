// Package integration proves smtpban on whole systems: a Debian booted by
// systemd-nspawn, with the real Postfix, journald, timers and routes, attacked
// from a network namespace beside it. story_test.go is the page to read first;
// README.md says what the tests need and how to run one.
package integration

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	wanted  = "SMTPBAN_INTEGRATION" // 1: run the full-system tests
	private = "SMTPBAN_PRIVATE"     // set once the process has mounts of its own
)

// TestMain gives the process a mount namespace of its own, so that whatever
// happens to it the kernel takes away every overlay and network namespace that
// the tests mounted, and two runs at once cannot see each other's.
func TestMain(m *testing.M) {
	if unmet() == "" && os.Getenv(private) == "" {
		err := restartPrivately()
		fmt.Fprintf(os.Stderr, "integration: entering a mount namespace: %v\n", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// restartPrivately runs the program again, as the same process, in a new mount
// namespace whose /run/netns is its own. It returns only if that fails.
func restartPrivately() error {
	runtime.LockOSThread() // the thread that execs is the one whose namespaces stay
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making / private: %w", err)
	}
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("netns", netnsDir, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mounting a tmpfs on %s: %w", netnsDir, err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, append(os.Environ(), private+"=1"))
}

// needSystem skips the test, with the reason, where no system can be booted. In
// CI a full-system test that was asked for and cannot run is a failure.
func needSystem(t *testing.T) {
	t.Helper()
	need(t, unmet())
}

// needTools is for a test that takes a while and asks for programs, but not for a
// system.
func needTools(t *testing.T, tools ...string) {
	t.Helper()
	reason := notAskedFor()
	if reason == "" {
		reason = lacking(tools...)
	}
	need(t, reason)
}

func need(t *testing.T, reason string) {
	t.Helper()
	switch {
	case reason == "":
	case os.Getenv(wanted) == "1" && os.Getenv("CI") != "":
		t.Fatalf("the full-system test cannot run: %s", reason)
	default:
		t.Skipf("SKIPPING THE FULL-SYSTEM TEST: %s", reason)
	}
}

// unmet says what the full-system tests lack, "" if nothing.
func unmet() string {
	if reason := notAskedFor(); reason != "" {
		return reason
	}
	if os.Geteuid() != 0 {
		return "it needs root to boot a system"
	}
	return lacking("systemd-nspawn", "debootstrap", "ip", "nsenter", "make")
}

func notAskedFor() string {
	if os.Getenv(wanted) != "1" {
		return "it runs only with " + wanted + "=1"
	}
	return ""
}

// lacking says which of the programs are not there, "" if none.
func lacking(tools ...string) string {
	var missing []string
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	if len(missing) > 0 {
		return "not installed: " + strings.Join(missing, ", ")
	}
	return ""
}
