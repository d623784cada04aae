package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"

	"smtpban/internal/config"
	"smtpban/internal/journal"
	"smtpban/internal/journal/sd"
	"smtpban/internal/pass"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

func newStatusCommand(a *app) *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show at a glance whether smtpban does its work",
		Long: "Show whether the timers run, what the last run did, how far the journal is read,\n" +
			"how many bans there are, and whether the kernel has their routes. The exit\n" +
			"status is 3 if the timers are off, or the last run failed or is too long ago.",
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if check {
				return a.checkStatus()
			}
			return a.status()
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "print one line and exit as a monitoring plugin does")
	a.addOutputFlags(cmd)
	return cmd
}

// health says in a word how smtpban does. It is an interface that other programs
// rely on.
type health string

const (
	healthy    health = "running"
	degraded   health = "degraded" // it does its work, but something is to be looked at
	isFailing  health = "failed"   // the last run did not do its work
	isLate     health = "late"     // the last run is too long ago
	isOff      health = "off"      // there will be no other run
	isNotKnown health = "unknown"  // systemd does not tell
)

// works reports whether runs come and do their work.
func (h health) works() bool { return h == healthy || h == degraded }

// problem is something to look at, and what to do about it.
type problem struct {
	critical      bool
	found, remedy string
}

// status is how smtpban does on this system.
type status struct {
	now      time.Time
	health   health
	problems []problem

	units    units
	up       time.Duration // when that was asked
	errUnits error

	standing   report.Standing
	gaps       losses
	suppressed losses // by journald
	read       store.LastRead
	doubt      time.Time
	held       holding
	ignored    int // addresses, networks and names, by the configuration and by smtpban ignore

	position   time.Time // up to which the journal is read; zero if nothing is
	waiting    waiting
	errWaiting error

	wanted                 int // prefixes to block
	missing, taken, excess int // prefixes without a route, such with somebody else's, routes without a ban
	beyond                 int // prefixes for which there is no room

	path     string // of the state
	size     int64
	changed  time.Time
	snapshot time.Time
}

// losses are stretches of the log that could not be read.
type losses struct {
	number  int
	entries int       // known to be lost
	noticed time.Time // the last one
}

func (l *losses) add(g store.Gap) {
	l.number++
	l.entries += g.Lost
	l.noticed = g.Noticed
}

// waiting are the entries that the next run is to read.
type waiting struct {
	entries        int // at most maxWaiting
	oldest, newest time.Time
}

// maxWaiting bounds how many of them are counted.
const maxWaiting = 10_000

func (a *app) status() error {
	s, err := a.inspect()
	if err != nil {
		return err
	}
	switch {
	case a.output == "json":
		err = report.WriteJSON(a.stdout, s.toJSON())
	case a.log.quiet:
		err = statusText{a.text(), s}.writeProblems(a.stdout)
	default:
		err = statusText{a.text(), s}.write(a.stdout)
	}
	if err == nil && !s.health.works() {
		err = silentError{exitNot}
	}
	return err
}

// inspect finds out how things stand.
func (a *app) inspect() (s *status, err error) {
	err = a.look(func(cfg config.Config, p pass.Pass, k *kernel) error {
		s = &status{now: a.now, path: cmp.Or(a.statePath, cfg.Store.Path), ignored: len(cfg.Policy.IgnoreIP) + len(cfg.Policy.IgnoreName)}
		if s.units, s.errUnits = askSystemd(); s.errUnits == nil {
			s.up, s.errUnits = monotonic()
		}
		s.snapshot, _ = p.Store.SnapshotTime()
		if err := s.recall(p, k); err != nil {
			return a.hint(p.Store, err)
		}
		if err := s.findPosition(p); err != nil {
			return err
		}
		s.waiting, s.errWaiting = a.waiting(cfg, p, k)
		if err := s.compareRoutes(p, k); err != nil {
			return err
		}
		s.judge()
		return nil
	})
	return s, err
}

// recall asks the state.
func (s *status) recall(p pass.Pass, k *kernel) (err error) {
	if s.size, err = p.Store.Size(); err != nil {
		return err
	}
	ignores, err := p.Ignores()
	if err != nil {
		return err
	}
	s.ignored += len(ignores)
	year, month, day := s.now.In(time.Local).Date()
	today := time.Date(year, month, day, 0, 0, 0, 0, time.Local)
	err = p.Store.View(func(tx *store.Tx) error {
		horizon, err := p.Horizon(tx)
		if err != nil {
			return err
		}
		if s.standing, err = report.NewStanding(tx, k.never, today, s.now.Add(-lately), horizon); err != nil {
			return err
		}
		if s.standing.Held > 0 {
			if s.held, err = findHeld(tx, horizon); err != nil {
				return err
			}
		}
		if s.read, err = tx.LastRead(); err != nil {
			return err
		}
		if s.changed, err = tx.LastCommit(); err != nil {
			return err
		}
		s.doubt, err = tx.Doubt()
		return err
	})
	for _, g := range s.standing.Lost {
		if journal.IsSuppression(g.Reason) {
			s.suppressed.add(g)
		} else {
			s.gaps.add(g)
		}
	}
	return err
}

// findPosition finds out how far the journal is read.
func (s *status) findPosition(p pass.Pass) error {
	positions, err := pass.Positions(p.Store)
	for _, at := range positions {
		if at.Realtime.After(s.position) {
			s.position = at.Realtime
		}
	}
	return err
}

// waiting counts the entries that were not read yet.
func (a *app) waiting(cfg config.Config, p pass.Pass, k *kernel) (w waiting, err error) {
	from, err := pass.Positions(p.Store)
	if err != nil {
		return w, err
	}
	uid, err := a.trusted(cfg, k.postfix)
	if err != nil {
		return w, err
	}
	in, err := a.openInput(cfg, uid, from, sd.Options{})
	if err != nil {
		return w, err
	}
	defer in.Close()
	for e, err := range in.Entries() {
		var gap *journal.Gap
		switch {
		case errors.As(err, &gap):
			continue // the next run will tell of it
		case err != nil:
			return w, err
		}
		if w.entries++; w.entries == 1 {
			w.oldest = e.Time
		}
		if w.newest = e.Time; w.entries == maxWaiting {
			break
		}
	}
	return w, nil
}

// settling is how long a run may take from the commit of its bans to their routes.
const settling = 300 * time.Millisecond

// compareRoutes finds out whether the kernel is in step. It looks again if it is
// not, since a run may be changing the routes just now.
func (s *status) compareRoutes(p pass.Pass, k *kernel) error {
	diff, err := p.Compare(k.never, k.table, grace)
	if err == nil && len(diff.Changes) > 0 {
		time.Sleep(settling)
		diff, err = p.Compare(k.never, k.table, grace)
	}
	if err != nil {
		return err
	}
	missing, excess := split(diff.Changes, hasIPv6())
	s.wanted, s.excess, s.beyond = len(diff.Wanted), len(excess), diff.Surplus
	var holders map[netip.Prefix]string
	if len(missing) > 0 {
		if holders, err = k.table.Holders(missing); err != nil {
			return err
		}
	}
	s.taken = len(holders)
	s.missing = len(missing) - s.taken
	return nil
}

// hasIPv6 reports whether the kernel has it. Without it nobody can come that way.
func hasIPv6() bool {
	_, err := os.Stat("/proc/net/if_inet6")
	return err == nil
}

// judge says what all that means.
func (s *status) judge() {
	worst := noTrouble
	if s.errUnits != nil {
		s.problem(false, "if cron or something else runs smtpban block and smtpban expire, look after it there", "nothing is known of the runs: %v", s.errUnits)
	} else {
		for _, c := range s.units.complaints(s.up) {
			worst = max(worst, c.trouble)
			s.problem(c.trouble >= failed, c.remedy, "%s", c.found)
		}
	}
	s.judgeJournal()
	s.judgeBans()
	switch {
	case s.errUnits != nil:
		s.health = isNotKnown
	case worst == off:
		s.health = isOff
	case worst == late:
		s.health = isLate
	case worst == failed:
		s.health = isFailing
	case len(s.problems) > 0:
		s.health = degraded
	default:
		s.health = healthy
	}
}

func (s *status) problem(critical bool, remedy, format string, args ...any) {
	s.problems = append(s.problems, problem{critical, fmt.Sprintf(format, args...), remedy})
}

// recently is how long something lost is worth a warning here.
const recently = 24 * time.Hour

func (s *status) judgeJournal() {
	const gaps = "see GAPS in smtpban(8), and smtpban report"
	switch behind := s.lag(); {
	case s.errWaiting != nil:
		s.problem(true, "smtpban doctor", "%v", s.errWaiting)
	case s.errUnits == nil && behind > s.units.patience(s.units.blocker()) && s.units[s.units.blocker()+".service"]["ActiveState"] != "activating":
		s.problem(true, "smtpban doctor", "entries of the journal wait for %s, and are not read", roughly(behind))
	}
	if s.now.Sub(s.gaps.noticed) < recently {
		s.problem(false, gaps, "%s in the log, the last one noticed at %s", plural(s.gaps.number, "gap"), s.gaps.noticed.In(time.Local).Format(report.TimeLayout))
	}
	if s.now.Sub(s.suppressed.noticed) < recently {
		s.problem(false, gaps, "journald dropped entries of Postfix's, noticed at %s", s.suppressed.noticed.In(time.Local).Format(report.TimeLayout))
	}
	if !s.doubt.IsZero() {
		s.problem(false, "is it right? see timedatectl(1), and CLOCK in smtpban(8)", "the clock is in doubt since %s: no ban ends", s.doubt.In(time.Local).Format(report.TimeLayout))
	}
	if !s.snapshot.IsZero() && s.now.Sub(s.snapshot) > staleSnapshot {
		s.problem(false, "smtpban expire makes one; smtpban-expire.timer must run", "the snapshot of the state is %s old", roughly(s.now.Sub(s.snapshot)))
	}
}

func (s *status) judgeBans() {
	const routes = "smtpban block puts that right; if it comes back, see NOTES in smtpban(8)"
	if s.missing > 0 {
		s.problem(true, routes, "%s missing", plural(s.missing, "route"))
	}
	if s.excess > 0 {
		s.problem(false, routes, "%s without a ban", plural(s.excess, "route"))
	}
	if s.taken > 0 {
		s.problem(false, "smtpban doctor names them", "%s missing, where somebody else's is", plural(s.taken, "route"))
	}
	if s.beyond > 0 {
		s.problem(false, "raise max_ipv4 or max_ipv6 in [route]", "%s missing, for lack of room", plural(s.beyond, "route"))
	}
	if s.held.bans > 0 {
		s.problem(false, s.held.remedy(), "%s", s.held.found())
	}
}

// lag is how long the oldest entry waits that is not read yet.
func (s *status) lag() time.Duration {
	if s.waiting.entries == 0 {
		return 0
	}
	return max(0, s.now.Sub(s.waiting.oldest))
}
