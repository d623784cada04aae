package main

import (
	"errors"
	"fmt"
	"net/netip"

	"smtpban/internal/config"
	"smtpban/internal/pass"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

// mend makes sure that there is a state to work on. told is what the admin must
// know about that: it makes the command fail this once, but does not keep it from
// its work.
func (a *app) mend(cfg config.Config, p pass.Pass) (told, err error) {
	if a.dryRun {
		if a.elsewhere() {
			return nil, nil
		}
		return nil, lost(a.state(cfg))
	}
	if err := p.Store.PutBack(); err != nil {
		return nil, err
	}
	gone := errors.Join(lost(p.Store), a.orphaned(cfg, p.Store))
	why := p.Store.View(func(*store.Tx) error { return nil })
	switch {
	case why == nil && gone == nil:
		return nil, nil
	case why != nil && (!errors.Is(why, store.ErrDamaged) || !a.mendable(p.Store)):
		return nil, a.hint(p.Store, why)
	case gone != nil:
		why = gone
	}
	return a.replace(cfg, p, why)
}

// mendUnreadable deals with an error of the work itself: that the state holds
// just what was committed, but something in it can't be read. Every run to come
// would meet it again.
func (a *app) mendUnreadable(cfg config.Config, p pass.Pass, err error) error {
	switch {
	case !errors.Is(err, store.ErrDamaged):
		return err
	case a.dryRun, !a.mendable(p.Store):
		return a.hint(a.state(cfg), err)
	}
	told, failed := a.replace(cfg, p, err)
	return errors.Join(told, failed)
}

// replace puts the best state there is in the place of a damaged or lost one and
// adopts the routes that have no ban in it. told is why, and what was done.
func (a *app) replace(cfg config.Config, p pass.Pass, why error) (told, err error) {
	asOf, _ := p.Store.SnapshotTime()
	routes, err := a.routes(cfg)
	if err != nil {
		return nil, errors.Join(why, err)
	}
	adopted := 0
	r, err := p.Store.Recover(func(tx *store.Tx) (err error) {
		adopted, err = p.Adopt(tx, routes, asOf)
		return err
	})
	if err != nil {
		return nil, errors.Join(why, err, a.standIn(cfg, p, err))
	}
	return fmt.Errorf("%w%s; routes without a ban that were adopted: %d", why, recovered(r), adopted), nil
}

// standIn makes the routes of the snapshot's bans where the disk has no room for a
// state, or may not be written to: they are better than none, and at boot all that
// there is. Later bans may have made other routes, so that none is deleted.
func (a *app) standIn(cfg config.Config, p pass.Pass, cause error) error {
	if _, snapshot := p.Store.SnapshotTime(); !snapshot || !unwritable(cause) {
		return nil
	}
	p.Store = p.Store.FromSnapshot()
	return a.putBack(cfg, p)
}

// orphaned returns an error if the state is missing, but not routes of ours: it was
// moved, or another one is configured now. Where somebody names a state, he means it.
func (a *app) orphaned(cfg config.Config, s *store.Store) error {
	if a.statePath != "" || !s.Missing() {
		return nil
	}
	routes, err := a.routes(cfg)
	if err != nil || len(routes) == 0 {
		return err
	}
	return errOrphaned
}

// errOrphaned says that a missing state is no first run.
var errOrphaned = errors.New("there is no state, but there are routes of ours (was it moved, or path in [store] changed?)")

// errLost says that a missing state is no first run.
var errLost = errors.New("the state is gone, although its snapshot is there (to begin anew, remove that, too)")

// errInterrupted says that a state is only aside.
var errInterrupted = errors.New("the state was not put back by a run that was cut short (the next smtpban block does it)")

// lost returns an error if there was a state and it is not there any more.
func lost(s *store.Store) error {
	_, snapshot := s.SnapshotTime()
	switch {
	case s.Interrupted():
		return errInterrupted
	case snapshot && s.Missing():
		return errLost
	}
	return nil
}

// recovered says what was done about a damaged or lost state.
func recovered(r store.Recovery) string {
	text := ""
	if r.Aside != "" {
		text = "; it was moved to " + r.Aside
	}
	switch r.Source {
	case store.FromCommit:
		return text + "; all but perhaps the last change to it was saved"
	case store.FromSnapshot:
		made := r.Snapshot.Format(report.TimeLayout)
		return fmt.Sprintf("%s; its snapshot of %s took its place, and the log is read again from there; what was banned, unbanned or ignored by hand since then is lost", text, made)
	}
	return text + "; there is no good snapshot, so the log is read again from its beginning; what was banned, unbanned or ignored by hand is lost"
}

// mendable reports whether a damaged state may be replaced. A file that somebody
// named and that never had a snapshot may be anything.
func (a *app) mendable(s *store.Store) bool {
	_, snapshot := s.SnapshotTime()
	return a.statePath == "" || snapshot
}

// hint adds what to do to the error of a damaged state.
func (a *app) hint(s *store.Store, err error) error {
	switch {
	case !errors.Is(err, store.ErrDamaged):
		return err
	case a.mendable(s):
		return fmt.Errorf("%w (the next smtpban block puts the best state there is in its place)", err)
	}
	return fmt.Errorf("%w (if it is a state at all, move it away: the next run makes the bans again that the log still tells of, but what was banned, unbanned or ignored by hand is lost)", err)
}

// routes returns the routes that are ours to adopt.
func (a *app) routes(cfg config.Config) ([]netip.Prefix, error) {
	if a.noRoutes {
		return nil, nil
	}
	table, err := openTable(cfg)
	if err != nil {
		return nil, err
	}
	defer table.Close()
	return table.List()
}
