package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// units are what systemd says of the units: by name, each property.
type units map[string]map[string]string

// errNoSystemd means that something else runs this system.
var errNoSystemd = errors.New("this system is not run by systemd")

// askSystemd asks about our units and Postfix's.
func askSystemd() (units, error) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return nil, errNoSystemd
	}
	output, err := exec.Command("systemctl", "show", "--no-pager",
		"--property=Id,LoadState,ActiveState,SubState,UnitFileState,ActiveEnterTimestampMonotonic,Result,ExecMainStatus,ExecMainExitTimestampMonotonic,LogNamespace",
		"smtpban-block.timer", "smtpban-expire.timer", "smtpban-block.service", "smtpban-expire.service", "smtpban-restore.service",
		"postfix.service", "postfix@-.service").Output()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(failed.Stderr)))
	}
	if err != nil {
		return nil, fmt.Errorf("systemctl show: %w", err)
	}
	return parseUnits(string(output)), nil
}

// parseUnits reads paragraphs of NAME=VALUE, one for each unit.
func parseUnits(output string) units {
	all := units{}
	for paragraph := range strings.SplitSeq(strings.TrimSpace(output), "\n\n") {
		unit := map[string]string{}
		for line := range strings.SplitSeq(paragraph, "\n") {
			name, value, _ := strings.Cut(line, "=")
			unit[name] = value
		}
		all[unit["Id"]] = unit
	}
	return all
}

func (d *doctor) timers() finding {
	switch {
	case errors.Is(d.errUnits, errNoSystemd):
		return skipped("%v", d.errUnits)
	case d.errUnits != nil:
		return warning("systemctl status smtpban-block.timer", "%v", d.errUnits)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return skipped("reading the clock: %v", err)
	}
	return d.units.judge(time.Duration(now.Nano()))
}

// judge says whether the runs come as they should, at a time since the boot.
func (u units) judge(now time.Duration) finding {
	const enable = "systemctl enable --now smtpban-block.timer"
	var f finding
	for _, name := range []string{"smtpban-block.timer", "smtpban-expire.timer", "smtpban-restore.service"} {
		if state := u[name]["LoadState"]; state != "loaded" {
			f.fail("install smtpban with its units (make install)", "%s is %s", name, state)
		}
	}
	if f.result != "" {
		return f
	}
	if state := u["smtpban-restore.service"]["UnitFileState"]; state != "enabled" {
		f.fail(enable, "smtpban-restore.service is %s: after a reboot nobody is blocked until the first run", state)
	}
	if state := u["smtpban-block.timer"]["UnitFileState"]; state != "enabled" {
		f.fail(enable, "smtpban-block.timer is %s: it will not start at boot", state)
	}
	for _, name := range []string{"smtpban-block", "smtpban-expire"} {
		if state := u[name+".timer"]; state["ActiveState"] != "active" || state["SubState"] == "elapsed" {
			f.fail(enable, "%s.timer is %s (%s)", name, state["ActiveState"], state["SubState"])
		}
	}
	u.judgeLast(&f, "smtpban-block", 10*time.Minute, now)
	u.judgeLast(&f, "smtpban-expire", 150*time.Minute, now)
	if restored := u["smtpban-restore.service"]["Result"]; restored != "success" {
		f.fail("journalctl -b -u smtpban-restore", "at boot, smtpban-restore.service ended with %s", restored)
	}
	return f.or(ok("%s", u.describe(now)))
}

// judgeLast judges the last run of a service.
func (u units) judgeLast(f *finding, name string, limit, now time.Duration) {
	service := u[name+".service"]
	// 77 and 78 last, and are hidden by smtpban-block.service.
	if status := service["ExecMainStatus"]; service["Result"] != "success" || status != "0" && status != "75" {
		how := "exit status " + status
		if status == "0" {
			how = service["Result"]
		}
		f.fail("journalctl -e -u "+name, "the last run of %s.service failed: %s", name, how)
	}
	timer := u[name+".timer"]
	last := max(sinceBoot(service["ExecMainExitTimestampMonotonic"]), sinceBoot(timer["ActiveEnterTimestampMonotonic"]))
	running := slices.Contains([]string{"activating", "deactivating"}, service["ActiveState"])
	if age := now - last; timer["ActiveState"] == "active" && !running && age > limit {
		f.warn("systemctl list-timers 'smtpban-*'", "the last run of %s.service was %s ago", name, age.Round(time.Second))
	}
}

// describe says when the last runs were.
func (u units) describe(now time.Duration) string {
	var last []string
	for _, name := range []string{"smtpban-block", "smtpban-expire"} {
		switch at := sinceBoot(u[name+".service"]["ExecMainExitTimestampMonotonic"]); {
		case u[name+".service"]["ActiveState"] == "activating":
			last = append(last, name+" runs now")
		case at == 0:
			last = append(last, name+" did not run yet")
		default:
			last = append(last, fmt.Sprintf("%s ran %s ago", name, (now-at).Round(time.Second)))
		}
	}
	return strings.Join(last, ", ")
}

// sinceBoot reads a property of the monotonic clock, in microseconds.
func sinceBoot(property string) time.Duration {
	µs, _ := strconv.ParseInt(property, 10, 64) // "" where there is no such unit
	return time.Duration(µs) * time.Microsecond
}
