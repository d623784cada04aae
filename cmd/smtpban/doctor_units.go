package main

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

func (d *doctor) timers() finding {
	switch {
	case errors.Is(d.errUnits, errNoSystemd):
		return skipped("%v", d.errUnits)
	case d.errUnits != nil:
		return warning("systemctl status smtpban-block.timer", "%v", d.errUnits)
	}
	now, err := monotonic()
	if err != nil {
		return skipped("%v", err)
	}
	return d.units.judge(now)
}

// judge says whether the runs come as they should, at a time since the boot.
func (u units) judge(now time.Duration) finding {
	var f finding
	for _, c := range u.complaints(now) {
		if c.trouble == late || c.trouble == noTrouble {
			f.warn(c.remedy, "%s", c.found)
		} else {
			f.fail(c.remedy, "%s", c.found)
		}
	}
	return f.or(ok("%s", u.describe(now)))
}

// describe says when the last runs were.
func (u units) describe(now time.Duration) string {
	var last []string
	if u.watching() {
		last = append(last, "smtpban-watch runs")
	}
	for _, name := range u.timed() {
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
