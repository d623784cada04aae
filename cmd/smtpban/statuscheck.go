package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

// The exit statuses of a monitoring plugin, after the Monitoring Plugins'
// Development Guidelines, and the words that go with them.
const (
	pluginOK = iota
	pluginWarning
	pluginCritical
	pluginUnknown
)

// checkStatus is status for a monitoring system such as Nagios or Icinga.
func (a *app) checkStatus() error {
	if a.output != "text" && a.output != "" {
		return usageError{errors.New("--check prints one line, in the form that monitoring plugins have; leave out --output")}
	}
	s, err := a.inspect()
	if err != nil {
		if hidden(err) {
			return a.pluginFailure(pluginUnknown, "UNKNOWN", err)
		}
		return a.pluginFailure(pluginCritical, "CRITICAL", err)
	}
	status, line := s.check()
	if _, err := fmt.Fprintln(a.stdout, line+"|"+s.performance()); err != nil {
		return err
	}
	if status != pluginOK {
		return silentError{status}
	}
	return nil
}

// hidden reports whether the error only keeps this command from knowing how things
// stand. Any other one is an obstacle to the runs as well.
func hidden(err error) bool {
	return slices.ContainsFunc([]error{fs.ErrPermission, fs.ErrNotExist, store.ErrLocked}, func(of error) bool { return errors.Is(err, of) })
}

// pluginFailure prints an error in place of how things stand.
func (a *app) pluginFailure(status int, state string, err error) error {
	_, failed := fmt.Fprintln(a.stdout, pluginLine(state, oneLine(err)))
	return errors.Join(failed, silentError{status})
}

// pluginUsage makes of a mistake in the command line of status --check what a plugin
// makes of it; to a monitoring system, the usual exit status would mean something else.
func (a *app) pluginUsage(cmd *cobra.Command, args []string, err error) error {
	var usage usageError
	if errors.As(err, &usage) && cmd.Name() == "status" && slices.Contains(args, "--check") {
		return a.pluginFailure(pluginUnknown, "UNKNOWN", err)
	}
	return err
}

// check returns a plugin's exit status and line.
func (s *status) check() (status int, line string) {
	var critical, others []string
	for _, p := range s.problems {
		if p.critical {
			critical = append(critical, p.found)
		} else {
			others = append(others, p.found)
		}
	}
	all := strings.Join(append(critical, others...), "; ")
	switch {
	case len(critical) > 0:
		return pluginCritical, pluginLine("CRITICAL", all)
	case s.health == isNotKnown:
		return pluginUnknown, pluginLine("UNKNOWN", all)
	case len(others) > 0:
		return pluginWarning, pluginLine("WARNING", all)
	}
	return pluginOK, pluginLine("OK", fmt.Sprintf("%s in force, %s today", plural(s.standing.Bans, "ban"), plural(s.standing.Counted, "failure")))
}

// pluginLine has no bar, behind which performance data come.
func pluginLine(state, text string) string {
	return "SMTPBAN " + state + " - " + strings.ReplaceAll(report.Printable(text), "|", "/")
}

// performance returns performance data: LABEL=VALUE[UNIT];WARNING;CRITICAL.
func (s *status) performance() string {
	limit := ""
	if s.errUnits == nil {
		if patience := s.units.patience(s.units.blocker()); patience < ban.Infinity {
			limit = fmt.Sprint(int(patience.Seconds()))
		}
	}
	data := []string{
		fmt.Sprintf("bans=%d", s.standing.Bans),
		fmt.Sprintf("held=%d;0", s.standing.Held),
		fmt.Sprintf("failures_today=%d", s.standing.Counted),
		fmt.Sprintf("routes_missing=%d;;0", s.missing),
		fmt.Sprintf("routes_excess=%d;0", s.excess),
		fmt.Sprintf("state_size=%dB", s.size),
	}
	if s.errWaiting == nil {
		data = append(data, fmt.Sprintf("lag=%.0fs;;%s", s.lag().Seconds(), limit))
	}
	if s.errUnits == nil {
		data = append(data, fmt.Sprintf("last_run_age=%.0fs;;%s", s.units.age(s.units.blocker(), s.up).Seconds(), limit))
	}
	return strings.Join(data, " ")
}
