package main

import (
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/pass"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

func newListCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [PREFIX...]",
		Short: "List the bans",
		Long: "List the bans in force, or those that share an address with a PREFIX. The exit\n" +
			"status is 3 if one of them has none, or only one that is without effect because\n" +
			"the client is protected or the ban is held back.",
		RunE:              func(_ *cobra.Command, args []string) error { return a.list(args) },
		ValidArgsFunction: a.completeBanned,
	}
	a.addOutputFlags(cmd)
	return cmd
}

func (a *app) list(args []string) error {
	wanted, err := parsePrefixes(args)
	if err != nil {
		return err
	}
	return a.look(func(_ config.Config, p pass.Pass, k *kernel) error {
		bans, err := a.bans(p, k)
		if err != nil {
			return err
		}
		missing := slices.ContainsFunc(wanted, func(w netip.Prefix) bool {
			return !slices.ContainsFunc(report.Targets(bans), w.Overlaps)
		})
		if len(wanted) > 0 {
			bans = slices.DeleteFunc(bans, func(b report.Ban) bool { return !slices.ContainsFunc(wanted, b.Prefix.Overlaps) })
		}
		if err := a.writeBans(bans); err != nil {
			return err
		}
		if missing {
			return silentError{exitNotBanned}
		}
		return nil
	})
}

func (a *app) bans(p pass.Pass, k *kernel) ([]report.Ban, error) {
	bans, err := inForce(p, k.never)
	if err != nil {
		return nil, err
	}
	blockers, err := k.blockers(report.Targets(bans))
	if err != nil {
		return nil, err
	}
	report.Enforce(bans, blockers)
	return bans, nil
}

// inForce returns the bans in force, those held back among them. Whether the kernel
// blocks them is not asked.
func inForce(p pass.Pass, never ban.NeverBan) (bans []report.Ban, err error) {
	err = p.Store.View(func(tx *store.Tx) error {
		horizon, err := p.Horizon(tx)
		if err != nil {
			return err
		}
		bans, err = report.Bans(tx, never, horizon)
		return err
	})
	return bans, err
}

func (a *app) writeBans(bans []report.Ban) error {
	if a.output == "json" {
		return report.WriteBansJSON(a.stdout, bans)
	}
	return a.text().WriteBans(a.stdout, bans)
}

// completeBanned offers the banned prefixes to the shell.
func (a *app) completeBanned(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	cfg, err := a.loadConfig()
	if err != nil || a.prepare() != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var prefixes []string
	p := pass.Pass{Store: a.state(cfg), Now: a.now}
	bans, _ := inForce(p, ban.NeverBan{}) // nobody would see the error
	for _, b := range bans {
		prefixes = append(prefixes, b.Prefix.String())
	}
	return prefixes, cobra.ShellCompDirectiveNoFileComp
}
