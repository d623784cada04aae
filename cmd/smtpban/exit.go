package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"smtpban/internal/config"
	"smtpban/internal/store"
)

// The exit statuses, those from 64 on after sysexits.h. smtpban(8) lists them.
const (
	exitOK         = 0
	exitFailure    = 1
	exitUsage      = 2
	exitNot        = 3 // banned, or running
	exitHeld       = 4
	exitDisk       = 74 // EX_IOERR
	exitLocked     = 75 // EX_TEMPFAIL
	exitPermission = 77 // EX_NOPERM
	exitConfig     = 78 // EX_CONFIG
)

// usageError is a mistake in the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// configError is a mistake in how the machine is set up.
type configError struct{ error }

func (e configError) Unwrap() error { return e.error }

// silentError only carries an exit status: all has been said.
type silentError struct{ status int }

func (e silentError) Error() string { return fmt.Sprintf("exit status %d", e.status) }

func exitStatus(err error) int {
	var (
		silent        silentError
		usage         usageError
		misconfigured configError
		inFile        *config.Error
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &silent):
		return silent.status
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &inFile), errors.As(err, &misconfigured), errors.Is(err, store.ErrNewer):
		return exitConfig
	case errors.Is(err, store.ErrLocked):
		return exitLocked
	case errors.Is(err, fs.ErrPermission):
		return exitPermission
	case unwritable(err):
		return exitDisk
	}
	return exitFailure
}

// persists reports whether this failure is the same as that of the last run, so
// that it need not be logged again. The unit that runs every few seconds keeps
// the last one in its runtime directory; elsewhere there is no such memory. That
// a run has nothing to write does not mean that the disk has room again: a
// failure of the disk is told once until the next boot, or another failure.
func persists(status int, err error) bool {
	dir := os.Getenv("RUNTIME_DIRECTORY")
	if dir == "" {
		return false
	}
	memory := filepath.Join(dir, "failure")
	last, _ := os.ReadFile(memory)
	switch status {
	case exitDisk, exitPermission, exitConfig:
	default:
		if !strings.HasPrefix(string(last), fmt.Sprintln(exitDisk)) {
			os.Remove(memory)
		}
		return false
	}
	now := fmt.Sprintln(status) + strings.Join(errorLines(err), "\n")
	if string(last) == now {
		return true
	}
	// If it can't be remembered it is logged each time, which does no harm.
	_ = os.WriteFile(memory, []byte(now), 0o600)
	return false
}

// noArgs refuses arguments as a mistake in the command line.
func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasParent():
		return usageError{fmt.Errorf("%s takes no argument; there is %q", cmd.CommandPath(), args[0])}
	}
	return usageError{fmt.Errorf("unknown command %q; smtpban --help lists them", args[0])}
}
