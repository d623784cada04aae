package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"smtpban/internal/config"
	"smtpban/internal/pass"
	"smtpban/internal/store"
)

func newRestoreCommand(a *app) *cobra.Command {
	undo := false
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Put the routes of all bans back, at boot",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			if undo {
				return a.undo()
			}
			return a.restore()
		},
	}
	a.addWriteFlags(cmd)
	cmd.Flags().BoolVar(&undo, "undo", false, "take all our routes away instead")
	return cmd
}

// restore adds the routes that are missing and deletes none: the clock may be
// wrong so early. Before the network is up the machine knows neither its
// addresses nor its gateways, and a broken configuration names nobody, but does
// not keep it from its work: it makes the routes that the last good run would
// have made, and those too stay unblocked who were never to be banned then.
func (a *app) restore() error {
	cfg, broken := a.configOrDefaults()
	p, end, err := a.begin(cfg)
	if err != nil {
		return errors.Join(broken, err)
	}
	defer end()
	told, err := a.mend(cfg, p)
	if err != nil {
		return errors.Join(broken, err)
	}
	if broken != nil {
		last, _, err := recall(p.Store)
		if err != nil || last.Route.Protocol == 0 {
			return errors.Join(broken, told, err)
		}
		cfg.Route, p.Limits = last.Route, limits(last.Route)
	}
	err = a.putBack(cfg, p)
	if errors.Is(err, store.ErrDamaged) && !a.dryRun && a.mendable(p.Store) {
		// Something in it can't be read. Nobody else would mend that before the
		// network is up.
		replaced, failed := a.replace(cfg, p, err)
		if err = failed; failed == nil {
			err = errors.Join(replaced, a.putBack(cfg, p))
		}
	}
	return errors.Join(broken, told, err)
}

// putBack adds the routes that the state wants and are missing.
func (a *app) putBack(cfg config.Config, p pass.Pass) error {
	k, err := a.openKernel(cfg, p.Store)
	if err != nil {
		return err
	}
	defer k.close()
	settled, err := p.Settle(k.never.With(k.last.Protected, k.last.Names), a.enforcer(k), true)
	return errors.Join(err, a.announceSettled(settled, everything))
}

// undo takes all our routes away, empties the published lists and removes the metrics,
// for whoever stops smtpban for good. It needs no state but the lock on it, so that it works with one
// that is damaged or of a newer version; the next run of another command draws the
// routes anew.
func (a *app) undo() error {
	if a.noRoutes {
		return usageError{errors.New("restore --undo changes nothing but routes; leave out --no-routes")}
	}
	cfg, broken := a.configOrDefaults()
	s := a.state(cfg)
	unlock, err := s.Lock(patience)
	switch {
	case err == nil:
		defer unlock()
	case !errors.Is(err, fs.ErrNotExist): // without a folder nobody else can be at work
		return errors.Join(broken, err)
	}
	if broken != nil {
		last, _, err := recall(s)
		if err != nil || last.Route.Protocol == 0 {
			return errors.Join(broken, err)
		}
		cfg.Route, cfg.Publish, cfg.Metrics.Textfile = last.Route, last.Publish, last.Textfile
	}
	table, err := openTable(cfg)
	if err != nil {
		return errors.Join(broken, err)
	}
	defer table.Close()
	cleared, err := pass.Clear(a.onto(table))
	if cleared.Deleted > 0 && !a.dryRun {
		a.log.notice(fmt.Sprintf("took %s away", plural(cleared.Deleted, "route")), nil)
	}
	return errors.Join(broken, err, a.announceSettled(cleared, everything), a.publish(cfg.Publish, nil), a.removeMetrics(cfg.Metrics.Textfile))
}

// configOrDefaults loads the configuration, and the defaults together with
// the error if it is broken.
func (a *app) configOrDefaults() (config.Config, error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return config.Defaults(), err
	}
	return cfg, nil
}
