package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
	"smtpban/internal/pass"
	"smtpban/internal/store"
)

// lately is how long a gap is worth a warning.
const lately = 7 * 24 * time.Hour

// memory is what doctor asks the state.
type memory struct {
	suppressed, gaps []store.Gap // noticed lately
	doubt            time.Time
	held             holding
	ignores          []ban.Ignore
}

func (d *doctor) recall() (m memory, err error) {
	if err := lost(d.store); err != nil {
		return m, err
	}
	if err := d.orphaned(d.cfg, d.store); errors.Is(err, errOrphaned) {
		return m, err
	}
	err = d.store.View(func(tx *store.Tx) error {
		for g, err := range tx.Gaps() {
			switch {
			case err != nil:
				return err
			case g.Noticed.Before(d.now.Add(-lately)):
			case journal.IsSuppression(g.Reason):
				m.suppressed = append(m.suppressed, g)
			default:
				m.gaps = append(m.gaps, g)
			}
		}
		if m.held, err = findHeld(tx, d.now); err != nil {
			return err
		}
		m.doubt, err = tx.Doubt()
		return err
	})
	if err == nil {
		m.ignores, err = pass.Pass{Store: d.store, Now: d.now}.Ignores()
	}
	return m, d.hint(d.store, err)
}

// unknown says why nothing is known from the state; it is empty if there is one.
func (d *doctor) unknown() (f finding) {
	switch {
	case d.errState != nil:
		return skipped("the state can't be read")
	case d.store.Missing():
		return skipped("there is no state yet")
	}
	return f
}

func (d *doctor) suppressed() finding {
	if f := d.unknown(); f.result != "" {
		return f
	}
	if len(d.memory.suppressed) == 0 {
		return ok("journald dropped no entry of Postfix's in the last week")
	}
	lost := 0
	for _, g := range d.memory.suppressed {
		lost += g.Lost
	}
	last := d.memory.suppressed[len(d.memory.suppressed)-1]
	return warning("let journald keep all that Postfix logs: LogRateLimitIntervalSec=1us in its unit, see GAPS in smtpban(8)",
		"journald dropped %d entries of Postfix's in the last week, up to %s", lost, last.To.Format(time.RFC3339))
}

func (d *doctor) gaps() finding {
	if f := d.unknown(); f.result != "" {
		return f
	}
	n := len(d.memory.gaps)
	if n == 0 {
		return ok("all of the log was read in the last week")
	}
	return warning("smtpban report shows them; let journald keep more (SystemMaxUse= in journald.conf(5)), and smtpban-block.timer run",
		"%s of the log in the last week, the last one noticed at %s: %s", plural(n, "gap"), d.memory.gaps[n-1].Noticed.Format(time.RFC3339), d.memory.gaps[n-1].Reason)
}

func (d *doctor) outage() finding {
	if f := d.unknown(); f.result != "" {
		return f
	}
	if d.memory.held.bans == 0 {
		return ok("no ban is held back")
	}
	return warning(d.memory.held.remedy(), "%s", d.memory.held.found())
}

// ignored tells how many are ignored: such a list is forgotten easily.
func (d *doctor) ignored() finding {
	if f := d.unknown(); f.result != "" {
		return f
	}
	if len(d.memory.ignores) == 0 {
		return ok("nobody is, by smtpban ignore")
	}
	return ok("ignored prefixes: %d, see smtpban ignore list", len(d.memory.ignores))
}

func (d *doctor) stateFile() finding {
	switch err := d.errState; {
	case errors.Is(err, fs.ErrPermission):
		return fault("run this as root; the units run as smtpban, who must own it", "%v", err)
	case errors.Is(err, errLost):
		return fault("smtpban block makes it anew from the snapshot", "%v", err)
	case errors.Is(err, errOrphaned):
		return fault("see path in [store]; smtpban block makes a new one, and bans of the routes", "%v", err)
	case errors.Is(err, store.ErrNewer):
		return fault("install that version", "%v", err)
	case err != nil:
		return fault("see DAMAGED STATE in smtpban(8)", "%v", err)
	case d.store.Missing():
		return warning("smtpban block makes one", "there is none yet: %s", d.path)
	}
	return ok("%s is sound", d.path)
}

// staleSnapshot is how old the snapshot may be. expire makes a new one long before.
const staleSnapshot = 36 * time.Hour

func (d *doctor) snapshot() finding {
	switch {
	case errors.Is(d.errState, fs.ErrPermission):
		return skipped("the state can't be read")
	case d.errState == nil && d.store.Missing():
		return skipped("there is no state yet")
	}
	const remedy = "smtpban expire makes one; smtpban-expire.timer must run"
	made, there := d.store.SnapshotTime()
	switch {
	case !there:
		return warning(remedy, "the state has no snapshot")
	case d.now.Sub(made) > staleSnapshot:
		return warning(remedy, "the last one is of %s", made.Format(time.RFC3339))
	}
	return ok("the last one is of %s", made.Format(time.RFC3339))
}

// reserve is what should be free on the disk, beside a copy of the state.
const reserve = 64 << 20

func (d *doctor) disk() finding {
	dir := filepath.Dir(d.path)
	if real, err := filepath.EvalSymlinks(d.path); err == nil {
		dir = filepath.Dir(real)
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return fault("installing smtpban makes this directory", "%s: %v", dir, err)
	}
	size, _ := d.store.Size() // the check of the state tells why it can't be looked at
	free := int64(disk.Bavail) * disk.Bsize
	switch {
	case disk.Flags&unix.ST_RDONLY != 0:
		return fault("mount it so that it can be written to; until then no ban is made", "%s is read-only", dir)
	case free < size:
		return fault("make room there", "%d MB are free in %s", free>>20, dir)
	case free < size+reserve:
		return warning("make room there", "only %d MB are free in %s", free>>20, dir)
	}
	return ok("%d MB are free in %s", free>>20, dir)
}

func (d *doctor) clock() finding {
	if f := d.unknown(); f.result != "" {
		return f
	}
	if !d.memory.doubt.IsZero() {
		return warning("is it right? see timedatectl(1), and CLOCK in smtpban(8)",
			"it is in doubt since %s: no ban ends", d.memory.doubt.Format(time.RFC3339))
	}
	return ok("it shows %s", d.now.Format(time.RFC3339))
}
