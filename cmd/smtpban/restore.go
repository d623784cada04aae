package main

import (
	"errors"

	"github.com/spf13/cobra"

	"smtpban/internal/pass"
)

func newRestoreCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore",
		Short: "Put the routes of all bans back, at boot",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return a.restore() },
	}
	a.addWriteFlags(cmd)
	return cmd
}

// restore adds the routes that are missing and deletes none: the clock may be
// wrong so early. Before the network is up the machine knows neither its
// addresses nor its gateways, and a broken configuration names nobody, but does
// not keep it from its work: so those too stay unblocked who were never to be
// banned in the last good run.
func (a *app) restore() error {
	cfg, broken := a.configOrDefaults()
	p, end, err := a.begin(cfg)
	if err != nil {
		return errors.Join(broken, err)
	}
	defer end()
	k, err := a.openKernel(cfg, p.Store)
	if err != nil {
		return errors.Join(broken, err)
	}
	defer k.close()
	if err := k.recall(p.Store); err != nil {
		return errors.Join(broken, err)
	}
	settled, err := p.Settle(k.never, a.enforcer(k), true)
	return errors.Join(broken, err, a.announceSettled(settled, func(pass.Failure) bool { return true }))
}
