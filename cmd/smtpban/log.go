package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	systemd "github.com/coreos/go-systemd/v22/journal"

	"smtpban/internal/report"
)

// Message ids, by which a journal's reader finds all lines of a kind.
const (
	idBanned   = "c0a2ea5bcf164e5b8e1d3ea4c7b0f2d1"
	idSpared   = "e52b0fd3a1cf4d6f8f5f6a6f9a1c7b34"
	idUnbanned = "7f1d4a60e6f94f0a9b0b5ce6a3d8e942"
	idHeld     = "0d2badb4a649d25faafa499c485a082d"
	idIgnored  = "5d61eb2d55f549dfac1c2bdde6e890ce"
	idFreed    = "3a9c07e1b85d4c62a1f0d7946be2583c"
	idStopped  = "6263e8ad85f840ccb21ba23dfd9b2f56" // ignoring
)

// logger writes to the journal, with fields, if that is where standard error
// leads, and plain text otherwise.
type logger struct {
	stderr  io.Writer
	journal bool // standard error leads there
	audit   bool // changes are to be found there even if not
	quiet   bool
	verbose bool
}

func newLogger(stderr *os.File) *logger {
	native, err := systemd.StderrIsJournalStream()
	return &logger{stderr: stderr, journal: err == nil && native}
}

// error says why the command fails. Each mistake in a configuration file gets a
// line of its own, so that editors find its place.
func (l *logger) error(err error) {
	for _, line := range errorLines(err) {
		l.write(systemd.PriErr, line, nil)
	}
}

// errorLines returns what the error says. What several parts of a run stumbled
// over, or -e and -b both, is said once.
func errorLines(err error) (lines []string) {
	said := map[string]bool{}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !said[line] {
			lines = append(lines, line)
		}
		said[line] = true
	}
	return lines
}

func (l *logger) warn(format string, args ...any) {
	l.write(systemd.PriWarning, fmt.Sprintf(format, args...), nil)
}

// notice tells of a change.
func (l *logger) notice(message string, fields map[string]string) {
	if l.audit && !l.journal && fields != nil {
		_ = send(systemd.PriNotice, message, fields) // without a journal there is no trail
	}
	if !l.quiet {
		l.write(systemd.PriNotice, message, fields)
	}
}

// info tells what happens on the way, for those who asked.
func (l *logger) info(format string, args ...any) {
	if l.verbose {
		l.write(systemd.PriNotice, fmt.Sprintf(format, args...), nil)
	}
}

// write writes lines, in which nothing steers a terminal.
func (l *logger) write(priority systemd.Priority, message string, fields map[string]string) {
	lines := strings.Split(message, "\n")
	for i, line := range lines {
		lines[i] = report.Printable(line)
	}
	message = strings.Join(lines, "\n")
	if l.journal && send(priority, message, fields) == nil {
		return
	}
	if priority <= systemd.PriErr {
		message = "smtpban: " + message
	}
	fmt.Fprintln(l.stderr, message)
}

func send(priority systemd.Priority, message string, fields map[string]string) error {
	native := map[string]string{"SYSLOG_IDENTIFIER": "smtpban"}
	maps.Copy(native, fields)
	return systemd.Send(message, priority, native)
}
