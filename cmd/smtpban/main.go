// Smtpban keeps password guessers off a Postfix server. It reads Postfix's
// entries from the systemd journal, counts failures per client, and answers an
// offender with a blackhole route. See smtpban(8).
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the Makefile.
var version = "unknown"

func main() { os.Exit(run()) }

// Memory is worth more than time: what is no longer used is collected when it is
// half as much as what is, and more often from memoryGoal on. A usual run needs a
// tenth of that.
const (
	gcPercent  = 50
	memoryGoal = 44 << 20
)

// run is main without the exit, so that deferred calls are made.
func run() int {
	// Whoever reads what we print, such as head(1), may go away. That must not
	// end a run between the state and the routes, nor leave a dry run's copy.
	signal.Ignore(syscall.SIGPIPE)
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryGoal)
	a := &app{stdin: os.Stdin, stdout: os.Stdout, log: newLogger(os.Stderr)}
	cmd, err := newRootCommand(a).ExecuteC()
	return a.conclude(a.pluginUsage(cmd, os.Args[1:], err))
}

// conclude logs why something failed, and returns the exit status for that.
func (a *app) conclude(err error) int {
	status := exitStatus(err)
	if status == exitOK && a.held {
		status = exitHeld
	}
	if persists(status, err) {
		return status
	}
	if err = worthSaying(err); err != nil {
		a.log.error(err)
	}
	return status
}

// worthSaying returns what there is to say of errors that may be several: not what
// has been said, and not that our reader went away.
func worthSaying(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		if all := errors.Join(joined.Unwrap()...); all.Error() == err.Error() { // not wrapped, but joined
			var kept []error
			for _, each := range joined.Unwrap() {
				kept = append(kept, worthSaying(each))
			}
			return errors.Join(kept...)
		}
	}
	var quiet silentError
	if errors.As(err, &quiet) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

func newRootCommand(a *app) *cobra.Command {
	// Commands are listed in the order of their importance.
	cobra.EnableCommandSorting = false
	var old oldOptions
	root := &cobra.Command{
		Use:   "smtpban",
		Short: "Keep password guessers off a Postfix server",
		Long: "smtpban reads Postfix's entries from the systemd journal, counts failures per\n" +
			"client, and blocks offenders by blackhole routes. See smtpban(8).",
		Version:           version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              noArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.prepare() },
		RunE:              func(cmd *cobra.Command, _ []string) error { return old.run(a, cmd) },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	root.SetVersionTemplate("smtpban {{.Version}}\n")
	// As wide as the terminal; 0 is as wide as it comes.
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "FlagUsages |", fmt.Sprintf("FlagUsagesWrapped %d |", width(a.stdout))))
	a.addGlobalFlags(root)
	old.addFlags(root)
	a.addInputFlags(root)
	a.addWriteFlags(root)
	a.addConfirmFlag(root)
	a.addOutputFlags(root)
	root.AddCommand(
		newBlockCommand(a), newReportCommand(a), newListCommand(a), newStatusCommand(a), newExplainCommand(a), newSimulateCommand(a), newMatchCommand(a),
		newBanCommand(a), newUnbanCommand(a), newIgnoreCommand(a), newCheckCommand(a), newDoctorCommand(a), newExportCommand(a), newImportCommand(a),
		newWatchCommand(a), newExpireCommand(a), newRestoreCommand(a),
	)
	root.SetHelpCommand(newHelpCommand(a))
	for _, cmd := range root.Commands() {
		if cmd.ValidArgsFunction == nil {
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		}
	}
	return root
}

// oldOptions are those of smtpban.py, on the bare command.
type oldOptions struct {
	block, expire, print bool
}

func (o *oldOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVarP(&o.print, "print", "p", false, "read what is new and print the report, change nothing")
	f.BoolVarP(&o.block, "block", "b", false, "same as smtpban block")
	f.BoolVarP(&o.expire, "expire", "e", false, "same as smtpban expire")
}

func (o *oldOptions) run(a *app, cmd *cobra.Command) error {
	if !o.block && !o.expire && !o.print {
		return errors.Join(cmd.Usage(), silentError{exitUsage})
	}
	if o.print && o.block && a.input.standardInput() {
		return usageError{errors.New("standard input can be read only once; give --print and --block a file")}
	}
	if o.block || o.expire {
		if err := a.checkInput(); err != nil {
			return err
		}
	}
	var errs []error
	if o.expire {
		errs = append(errs, a.expire())
	}
	if o.print {
		errs = append(errs, a.print())
	}
	if o.block {
		errs = append(errs, a.block())
	}
	return errors.Join(errs...)
}
