package main

import (
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/pass"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

func newListCommand(a *app) *cobra.Command {
	var which selection
	cmd := &cobra.Command{
		Use:   "list [PREFIX...]",
		Short: "List the bans",
		Long: "List the bans in force, or those that share an address with a PREFIX. The exit\n" +
			"status is 3 if one of them has none, or only one that is without effect because\n" +
			"the client is protected or the ban is held back.",
		RunE:              func(_ *cobra.Command, args []string) error { return a.list(args, which) },
		ValidArgsFunction: a.completeBanned,
	}
	which.addFlags(cmd)
	a.addOutputFlags(cmd, "csv", "plain")
	return cmd
}

func (a *app) list(args []string, which selection) (err error) {
	if which.prefixes, err = parsePrefixes(args); err != nil {
		return err
	}
	if err := which.parse(a.now); err != nil {
		return err
	}
	return a.look(func(_ config.Config, p pass.Pass, k *kernel) error {
		bans, err := a.bans(p, k, which)
		if err != nil {
			return err
		}
		if err := a.writeBans(bans); err != nil {
			return err
		}
		targets := report.Targets(bans)
		missing := slices.ContainsFunc(which.prefixes, func(w netip.Prefix) bool { return !slices.ContainsFunc(targets, w.Overlaps) })
		if missing {
			return silentError{exitNot}
		}
		return nil
	})
}

// bans returns the selected bans, in the order that is asked for.
func (a *app) bans(p pass.Pass, k *kernel, which selection) ([]report.Ban, error) {
	bans, err := inForce(p, k.never, report.Bans)
	if err != nil {
		return nil, err
	}
	bans = slices.DeleteFunc(bans, func(b report.Ban) bool { return !which.includes(b) })
	which.order(bans)
	if a.output == "plain" { // which does not say what the kernel does
		return bans, nil
	}
	blockers, err := k.blockers(report.Targets(bans))
	if err != nil {
		return nil, err
	}
	report.Enforce(bans, blockers)
	return bans, nil
}

// inForce returns the bans in force, those held back among them, as they are read by
// report.Bans or OwnBans. Whether the kernel blocks them is not asked.
func inForce(p pass.Pass, never ban.NeverBan, read func(*store.Tx, ban.NeverBan, time.Time) ([]report.Ban, error)) (bans []report.Ban, err error) {
	err = p.Store.View(func(tx *store.Tx) error {
		horizon, err := p.Horizon(tx)
		if err != nil {
			return err
		}
		bans, err = read(tx, never, horizon)
		return err
	})
	return bans, err
}

func (a *app) writeBans(bans []report.Ban) error {
	write := map[string]func(io.Writer, []report.Ban) error{
		"json": report.WriteBansJSON, "csv": report.WriteBansCSV, "plain": report.WriteBansPlain,
	}[a.output]
	if write == nil {
		write = a.text().WriteBans
	}
	return write(a.stdout, bans)
}

// completeBanned offers the banned prefixes to the shell that begin with a word.
func (a *app) completeBanned(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	cfg, err := a.loadConfig()
	if err != nil || a.prepare() != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var prefixes []string
	p := pass.Pass{Store: a.state(cfg), Now: a.now}
	bans, _ := inForce(p, ban.NeverBan{}, report.Bans) // nobody would see the error
	for _, b := range bans {
		if prefix := b.Prefix.String(); strings.HasPrefix(prefix, begun) { // the shell is slow with very many
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes, cobra.ShellCompDirectiveNoFileComp
}
