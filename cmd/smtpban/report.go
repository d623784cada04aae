package main

import (
	"errors"

	"github.com/spf13/cobra"

	"smtpban/internal/config"
	"smtpban/internal/pass"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

func newReportCommand(a *app) *cobra.Command {
	var mark bool
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Show the offending clients since the last report, and the bans",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			if mark {
				return a.markedReport()
			}
			return a.look(func(_ config.Config, p pass.Pass, k *kernel) error { return a.writeReport(p, k) })
		},
	}
	cmd.Flags().BoolVar(&mark, "mark", false, "let the next report begin where this one ends")
	a.addOutputFlags(cmd)
	return cmd
}

// markedReport reports and remembers when, under the lock, so that no attack
// falls between two reports.
func (a *app) markedReport() error {
	return a.withKernel(func(_ config.Config, p pass.Pass, k *kernel) error {
		if err := a.writeReport(p, k); err != nil {
			return err
		}
		return p.Store.Update(func(tx *store.Tx) error {
			// Under a clock that is ahead the next report would begin there.
			horizon, err := p.Horizon(tx)
			if err != nil {
				return err
			}
			return tx.PutLastReport(horizon)
		})
	})
}

// look runs what changes nothing, without the lock.
func (a *app) look(do func(config.Config, pass.Pass, *kernel) error) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	s := a.state(cfg)
	if err := lost(s); err != nil {
		return err
	}
	k, err := a.openKernel(cfg, s)
	if err != nil {
		return a.hint(s, err)
	}
	defer k.close()
	p := pass.Pass{Store: s, Policy: cfg.Policy, Limits: limits(cfg.Route), Now: a.now}
	if err := k.heedActive(p); err != nil {
		return a.hint(s, err)
	}
	return do(cfg, p, k)
}

// print is the old script's --print: it reads what is new, keeps nothing, and
// reports.
func (a *app) print() error {
	dry := *a
	dry.dryRun = true
	return dry.withKernel(func(cfg config.Config, p pass.Pass, k *kernel) error {
		_, err := dry.read(cfg, p, k)
		return errors.Join(err, dry.writeReport(p, k))
	})
}

func (a *app) writeReport(p pass.Pass, k *kernel) error {
	r, err := a.gather(p, k)
	if err != nil {
		return err
	}
	if a.output == "json" {
		return r.WriteJSON(a.stdout)
	}
	return a.text().WriteReport(a.stdout, r)
}

// gather makes the report on what happened since the last marked one.
func (a *app) gather(p pass.Pass, k *kernel) (r report.Report, err error) {
	err = p.Store.View(func(tx *store.Tx) error {
		since, err := tx.LastReport()
		if err != nil {
			return err
		}
		horizon, err := p.Horizon(tx)
		if err != nil {
			return err
		}
		r, err = report.New(tx, k.never, since, horizon)
		r.Until = p.Now // whether the clock is in doubt or not
		return err
	})
	if err != nil {
		return report.Report{}, err
	}
	blockers, err := k.blockers(r.Targets())
	if err != nil {
		return report.Report{}, err
	}
	r.Enforce(blockers)
	r.Limit(p.Limits)
	return r, nil
}
