package main

import (
	"errors"
	"fmt"
	"strings"

	"smtpban/internal/ban"
	"smtpban/internal/report"
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
		_, failed := fmt.Fprintln(a.stdout, pluginLine("UNKNOWN", oneLine(err)))
		return errors.Join(failed, silentError{pluginUnknown})
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
		if patience := s.units.patience("smtpban-block"); patience < ban.Infinity {
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
		data = append(data, fmt.Sprintf("last_run_age=%.0fs;;%s", s.units.age("smtpban-block", s.up).Seconds(), limit))
	}
	return strings.Join(data, " ")
}
