package main

import (
	"errors"
	"fmt"
	"net/netip"

	"smtpban/internal/config"
	"smtpban/internal/pass"
	"smtpban/internal/route"
	"smtpban/internal/store"
)

// mend puts the best state there is in the place of a damaged or lost one and
// adopts the routes that have no ban in it. told is what the admin must know
// about that: it makes the command fail this once, but does not keep it from its
// work.
func (a *app) mend(cfg config.Config, p pass.Pass) (told, err error) {
	if a.dryRun {
		if a.elsewhere() {
			return nil, nil
		}
		return nil, lost(a.state(cfg))
	}
	asOf, _ := p.Store.SnapshotTime()
	gone := lost(p.Store)
	why := p.Store.View(func(*store.Tx) error { return nil })
	switch {
	case why == nil && gone == nil:
		return nil, nil
	case why != nil && (!errors.Is(why, store.ErrDamaged) || !a.mendable(p.Store)):
		return nil, a.hint(p.Store, why)
	}
	routes, err := a.routes(cfg)
	if err != nil {
		return nil, errors.Join(why, err)
	}
	if gone != nil {
		why = gone
	}
	adopted := 0
	r, err := p.Store.Recover(func(tx *store.Tx) (err error) {
		adopted, err = p.Adopt(tx, routes, asOf)
		return err
	})
	if err != nil {
		return nil, errors.Join(why, err)
	}
	return fmt.Errorf("%w%s; routes without a ban that were adopted: %d", why, recovered(r), adopted), nil
}

// errLost says that a missing state is no first run.
var errLost = errors.New("the state is gone, although its snapshot is there (to begin anew, remove that, too)")

// lost returns errLost if the state had a snapshot and is not there any more.
func lost(s *store.Store) error {
	if _, snapshot := s.SnapshotTime(); snapshot && s.Missing() {
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
		made := r.Snapshot.Format("2006-01-02 15:04:05 MST")
		return fmt.Sprintf("%s; its snapshot of %s took its place, and the log is read again from there; bans made or lifted by hand since then are lost", text, made)
	}
	return text + "; there is no good snapshot, so the log is read again from its beginning; bans made or lifted by hand are lost"
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
	return fmt.Errorf("%w (if it is a state at all, move it away: the next run makes the bans again that the log still tells of, but not those made or lifted by hand)", err)
}

// routes returns the routes that are ours to adopt.
func (a *app) routes(cfg config.Config) ([]netip.Prefix, error) {
	if a.noRoutes {
		return nil, nil
	}
	table, err := route.Open(route.Options{Protocol: uint8(cfg.Route.Protocol), Table: uint32(cfg.Route.Table)})
	if err != nil {
		return nil, err
	}
	defer table.Close()
	return table.List()
}
