package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"smtpban/internal/ban"
	"smtpban/internal/config"
)

// units are what systemd says of the units: by name, each property.
type units map[string]map[string]string

// errNoSystemd means that something else runs this system.
var errNoSystemd = errors.New("this system is not run by systemd")

// answering is how long systemd may take to answer.
const answering = 5 * time.Second

// askSystemd asks about our units and Postfix's.
func askSystemd() (units, error) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return nil, errNoSystemd
	}
	ctx, cancel := context.WithTimeout(context.Background(), answering)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemctl", "show", "--no-pager",
		"--property=Id,LoadState,ActiveState,SubState,UnitFileState,ActiveEnterTimestampMonotonic,Result,ExecMainStatus,StatusText,LogNamespace,ProtectSystem,ReadWritePaths",
		"--property=ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic",
		"--property=TimersMonotonic,TimersCalendar,NextElapseUSecMonotonic,NextElapseUSecRealtime",
		"smtpban-block.timer", "smtpban-expire.timer", "smtpban-block.service", "smtpban-expire.service", "smtpban-restore.service", "smtpban-watch.service",
		"postfix.service", "postfix@-.service")
	cmd.WaitDelay = time.Second // for whom it may have started
	output, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, errors.New("systemd does not answer")
	}
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(failed.Stderr)))
	}
	if err != nil {
		return nil, fmt.Errorf("systemctl show: %w", err)
	}
	return parseUnits(string(output)), nil
}

// parseUnits reads paragraphs of NAME=VALUE, one for each unit. What a unit has
// several of is one value.
func parseUnits(output string) units {
	all := units{}
	for paragraph := range strings.SplitSeq(strings.TrimSpace(output), "\n\n") {
		unit := map[string]string{}
		for line := range strings.SplitSeq(paragraph, "\n") {
			name, value, _ := strings.Cut(line, "=")
			if before := unit[name]; before != "" {
				value = before + " " + value
			}
			unit[name] = value
		}
		all[unit["Id"]] = unit
	}
	return all
}

// monotonic returns the time on the clock of systemd's monotonic properties.
func monotonic() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, fmt.Errorf("reading the clock: %w", err)
	}
	return time.Duration(now.Nano()), nil
}

// sinceBoot reads a property of the monotonic clock, in microseconds.
func sinceBoot(property string) time.Duration {
	µs, _ := strconv.ParseInt(property, 10, 64) // "" where there is no such unit
	return time.Duration(µs) * time.Microsecond
}

// trouble is how far the units are from doing their work.
type trouble int

// The troubles, the worst last.
const (
	noTrouble trouble = iota
	notAtBoot         // all is well, but only until then
	stumbled          // the last run did its work, but something in it went wrong
	failed            // the last run did not do its work
	late              // the last run is too long ago
	off               // there will be no other run
)

// A complaint is what is wrong with the units, and what to do.
type complaint struct {
	trouble
	found, remedy string
}

// complaints says what keeps the runs from coming as they should, at a time since
// the boot.
func (u units) complaints(now time.Duration) (all []complaint) {
	complain := func(t trouble, remedy, format string, args ...any) {
		all = append(all, complaint{t, fmt.Sprintf(format, args...), remedy})
	}
	for _, name := range []string{"smtpban-block.timer", "smtpban-expire.timer", "smtpban-restore.service"} {
		if state := u[name]["LoadState"]; state != "loaded" {
			complain(off, "install smtpban with its units (make install)", "%s is %s", name, state)
		}
	}
	if len(all) > 0 {
		return all
	}
	bans, other := "smtpban-block.timer", "smtpban-watch.service"
	if u.watching() {
		bans, other = other, bans
	}
	enable := "systemctl enable --now " + bans
	if state := u["smtpban-restore.service"]["UnitFileState"]; state != "enabled" {
		complain(notAtBoot, enable, "smtpban-restore.service is %s: after a reboot nobody is blocked until the first run", state)
	}
	if state := u[bans]["UnitFileState"]; state != "enabled" {
		complain(notAtBoot, enable, "%s is %s: it will not start at boot", bans, state)
	}
	if u[other]["UnitFileState"] == "enabled" {
		complain(noTrouble, "systemctl disable "+other+"; "+enable, "%s is enabled, too, and may start at boot instead of %s", other, bans)
	}
	for _, name := range []string{bans, "smtpban-expire.timer"} {
		if state := u[name]; state["ActiveState"] != "active" && state["ActiveState"] != "activating" || state["SubState"] == "elapsed" {
			complain(off, enable, "%s is %s (%s)", name, state["ActiveState"], state["SubState"])
		}
	}
	if text := u[bans]["StatusText"]; text != "" && text != statusWatching {
		complain(failed, "journalctl -e -u smtpban-watch", "%s: %s", bans, text)
	}
	for _, name := range u.timed() {
		if t, how := u.lastFailure(name); t != noTrouble {
			complain(t, u.remedy(name), "the last run of %s.service failed: %s", name, how)
		}
		if age := u.age(name, now); u[name+".timer"]["ActiveState"] == "active" && age > u.patience(name) {
			complain(late, "systemctl list-timers 'smtpban-*'", "the last run of %s.service was %s ago", name, age.Round(time.Second))
		}
	}
	if restored := u["smtpban-restore.service"]["Result"]; restored != "success" {
		complain(stumbled, "journalctl -b -u smtpban-restore", "at boot, smtpban-restore.service ended with %s", restored)
	}
	return all
}

// watching reports whether smtpban-watch.service bans, or is to, and not the timer.
func (u units) watching() bool {
	watch := u["smtpban-watch.service"]
	return watch["ActiveState"] == "active" || watch["ActiveState"] == "activating" ||
		watch["UnitFileState"] == "enabled" && u["smtpban-block.timer"]["ActiveState"] != "active"
}

// blocker returns the name of the service that bans, without .service.
func (u units) blocker() string {
	if u.watching() {
		return "smtpban-watch"
	}
	return "smtpban-block"
}

// timed returns the services that timers run, without .service.
func (u units) timed() []string {
	if u.watching() {
		return []string{"smtpban-expire"}
	}
	return []string{"smtpban-block", "smtpban-expire"}
}

// lastFailure says how the last run of a service failed, if it did. 74, 77 and 78
// last, and are hidden by smtpban-block.service.
func (u units) lastFailure(name string) (t trouble, how string) {
	service := u[name+".service"]
	switch status := service["ExecMainStatus"]; {
	case service["Result"] == "success" && (status == "0" || status == "75"):
		return noTrouble, ""
	case status == "0":
		return failed, service["Result"]
	case status == "1" || status == "4":
		return stumbled, exitText(status)
	default:
		return failed, exitText(status)
	}
}

// exitText says what a run's exit status means, where it does so on its own.
func exitText(status string) string {
	meaning := map[string]string{
		"74": " (the state, a list or the metrics can't be written)", "75": " (another run held the state)",
		"77": " (no permission)", "78": " (the configuration is wrong)",
	}
	return "exit status " + status + meaning[status]
}

// remedy says how to go after a service's failure. That of expire stays for an hour,
// although it may be over.
func (u units) remedy(name string) string {
	ended := func(service string) time.Duration {
		return sinceBoot(u[service+".service"]["ExecMainExitTimestampMonotonic"])
	}
	block := u["smtpban-block.service"]
	if name == "smtpban-expire" && block["Result"] == "success" && block["ExecMainStatus"] == "0" && ended("smtpban-block") > ended(name) {
		return "systemctl start smtpban-expire tells whether that is over, since smtpban-block did its work later"
	}
	return "journalctl -e -u " + name
}

func (u units) runs(name string) bool {
	return slices.Contains([]string{"activating", "active", "deactivating"}, u[name+".service"]["ActiveState"])
}

// age is how long the last run of a service, or the start of its timer, is ago, and
// 0 if it runs.
func (u units) age(name string, now time.Duration) time.Duration {
	if u.runs(name) {
		return 0
	}
	return now - max(sinceBoot(u[name+".service"]["ExecMainExitTimestampMonotonic"]), sinceBoot(u[name+".timer"]["ActiveEnterTimestampMonotonic"]))
}

// patience is how long the last run of a service may be ago: three times as long
// as the timer waits, and a minute. Where it waits for a time of day instead, only
// systemd knows.
func (u units) patience(name string) time.Duration {
	timer := u[name+".timer"]
	switch wait := interval(timer["TimersMonotonic"]); {
	case wait > 0:
		return 3*wait + time.Minute
	case name == "smtpban-watch":
		return 3*wholePass + time.Minute
	case timer["TimersCalendar"] != "":
		return ban.Infinity
	case name == "smtpban-expire":
		return 150 * time.Minute
	}
	return 10 * time.Minute
}

// interval finds how long a timer waits in what systemd says of it, such as
// "{ OnUnitInactiveUSec=30s ; next_elapse=1h 2min 3.4s }".
func interval(timers string) time.Duration {
	for _, setting := range []string{"OnUnitInactiveUSec=", "OnUnitActiveUSec="} {
		_, value, there := strings.Cut(timers, setting)
		value, _, _ = strings.Cut(value, ";")
		if wait, err := config.ParseSpan(strings.TrimSpace(value)); there && err == nil && wait < ban.Infinity {
			return wait
		}
	}
	return 0
}

// next returns when a timer will elapse; up says which time on the monotonic clock
// it is now. It is the zero time where that is not known, as long as a run goes on
// above all.
func (u units) next(timer string, now time.Time, up time.Duration) time.Time {
	if at, err := config.ParseSpan(u[timer]["NextElapseUSecMonotonic"]); err == nil && at > 0 && at < ban.Infinity {
		return now.Add(at - up)
	}
	at, err := time.ParseInLocation("Mon 2006-01-02 15:04:05 MST", u[timer]["NextElapseUSecRealtime"], time.Local)
	if err != nil {
		return time.Time{}
	}
	return at
}
