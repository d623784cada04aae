package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/journal"
	"smtpban/internal/journal/sd"
	"smtpban/internal/pass"
	"smtpban/internal/store"
)

func newExpireCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "expire",
		Short: "Lift bans whose time is over, and tidy up",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return a.expire() },
	}
	a.addInputFlags(cmd)
	a.addWriteFlags(cmd)
	return cmd
}

func (a *app) expire() error {
	return a.withKernel(func(cfg config.Config, p pass.Pass, k *kernel) error {
		err := a.anchor(cfg, p, k)
		if err != nil && a.input.given() {
			return err // what a mistyped name leads to must not reach the routes
		}
		return errors.Join(err, a.settle(p, k), tidy(p), a.maintain(p))
	})
}

// maintain looks after the state's file. A dry run works on a copy of it. The time
// of a snapshot may vouch for the clock one day, so that a clock in doubt gives none.
func (a *app) maintain(p pass.Pass) error {
	if a.dryRun {
		return nil
	}
	var horizon time.Time
	err := p.Store.View(func(tx *store.Tx) (err error) {
		horizon, err = p.Horizon(tx)
		return err
	})
	if err != nil {
		return err
	}
	if err := p.Store.Snapshot(horizon, snapshotAge); err != nil {
		return err
	}
	return p.Store.Compact()
}

// snapshotAge is how old the snapshot may become before there is a new one.
const snapshotAge = 12 * time.Hour // half of what a clock may jump

// tidy forgets the clients, ended bans, pardons and logins that no longer matter, and
// what was seen long ago. A client whose tally is over is kept for a while, so
// that the next report can name it.
func tidy(p pass.Pass) error {
	due := func(c ban.Client) time.Time {
		if reported := c.Last.Add(reportMemory); reported.After(p.Policy.Due(c)) {
			return reported
		}
		return p.Policy.Due(c)
	}
	for more := true; more; {
		err := p.Store.Update(func(tx *store.Tx) error {
			now, err := p.Horizon(tx)
			if err == nil {
				_, more, err = tx.Forget(now, due)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return p.Store.Update(func(tx *store.Tx) error {
		now, err := p.Horizon(tx)
		if err != nil {
			return err
		}
		old := now.Add(-min(p.Policy.Forget, maxAge))
		return errors.Join(tx.PruneHistory(old), tx.PrunePardons(old), tx.PruneLogins(old),
			tx.PruneHours(now.Add(-hoursMemory)), tx.PruneUsers(now.Add(-usersMemory)), tx.PruneGaps(now.Add(-gapsMemory)),
			tx.PruneShapes(now.Add(-shapesMemory)))
	})
}

const (
	reportMemory = 8 * 24 * time.Hour   // for a report a week
	maxAge       = 365 * 24 * time.Hour // of ended bans, pardons and logins, even where forget is longer
	hoursMemory  = 13 * 7 * 24 * time.Hour
	usersMemory  = 4 * 7 * 24 * time.Hour // of the user names that were tried
	gapsMemory   = 13 * 7 * 24 * time.Hour
	shapesMemory = 4 * 7 * 24 * time.Hour // of lines that no rule knows, since the last of them
)

// anchor moves the position in a quiet journal to its newest entry. Otherwise
// the last entry of Postfix would one day be vacuumed, and look like a gap.
// What is new is left to block. The state of another log is left alone.
func (a *app) anchor(cfg config.Config, p pass.Pass, k *kernel) error {
	if a.statePath != "" && !a.input.given() {
		return nil
	}
	from, err := pass.Positions(p.Store)
	if err != nil {
		return err
	}
	uid, err := a.trusted(cfg, k.postfix)
	if err != nil {
		return err
	}
	in, err := a.openInput(cfg, uid, from, sd.Options{Anchor: true})
	if err != nil {
		return err
	}
	defer in.Close()
	reader, ok := in.(*sd.Reader)
	if !ok {
		return nil
	}
	if uid != k.UID { // whose journal was not read yet: its positions are not to be moved
		return onlyForeign(reader, uid)
	}
	for _, err := range reader.Entries() {
		var gap *journal.Gap
		switch {
		case errors.As(err, &gap) && gap.Undated():
			continue // a damaged file, which does not get better
		case err == nil || gap != nil:
			return nil // block will read it
		}
		return err
	}
	positions, err := reader.Positions()
	if err != nil {
		return err
	}
	return p.Move(positions, reader.Boots())
}
