package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/pass"
	"smtpban/internal/report"
)

func newUnbanCommand(a *app) *cobra.Command {
	var all, ignore bool
	var o ignoreOptions
	cmd := &cobra.Command{
		Use:   "unban PREFIX...",
		Short: "Lift bans and forget what the clients did",
		Long: "Lift every ban that shares an address with a PREFIX, and clear the tallies of\n" +
			"the clients in it: nothing that they did up to now counts any more. With\n" +
			"--ignore they are not banned any more.",
		RunE: func(_ *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usageError{errors.New("name the addresses or prefixes to unban, or say --all alone")}
			}
			switch {
			case !ignore && o != ignoreOptions{}:
				return usageError{errors.New("--for and --reason are about --ignore")}
			case ignore && all:
				return usageError{errors.New("--ignore is not for everybody: name the addresses or prefixes")}
			case ignore:
				return a.ignore(args, o, true)
			}
			return a.unban(args)
		},
		ValidArgsFunction: a.completeBanned,
	}
	cmd.Flags().BoolVar(&all, "all", false, "lift every ban")
	cmd.Flags().BoolVar(&ignore, "ignore", false, "and ban nobody in it from now on, as smtpban ignore add does")
	o.addFlags(cmd)
	a.addWriteFlags(cmd)
	return cmd
}

// unban lifts the bans on the prefixes, on everything if there is none.
func (a *app) unban(args []string) error {
	prefixes, err := parsePrefixes(args)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		prefixes = everything
	}
	return a.withKernel(func(_ config.Config, p pass.Pass, k *kernel) error {
		ended, err := p.Unban(prefixes...)
		if err != nil {
			return err
		}
		a.announceEnded(ended, 0, "by hand, with its tally")
		if err := a.announceOpened(ended, args, p.Policy); err != nil {
			return err
		}
		if slices.ContainsFunc(ended, func(b ban.Ban) bool { return b.Source() != "" }) {
			a.log.notice("the next import of what was imported bans it again, unless it is ignored", nil)
		}
		switch {
		case len(ended) > 0:
		case len(args) == 0:
			a.log.notice("nobody is banned; all tallies are cleared", nil)
		default:
			a.log.notice(fmt.Sprintf("not banned: %s; tallies are cleared", join(prefixes)), nil)
		}
		return a.settle(p, k)
	})
}

// announceOpened tells of bans that ended, although only a part of their prefix was
// asked for.
func (a *app) announceOpened(ended []ban.Ban, args []string, policy ban.Policy) error {
	clients, err := parseClients(args, policy)
	if err != nil {
		return err
	}
	for _, b := range ended {
		asked := func(p netip.Prefix) bool { return p.Overlaps(b.Prefix) && p.Bits() <= b.Prefix.Bits() }
		i := slices.IndexFunc(clients, b.Prefix.Overlaps)
		if i < 0 || slices.ContainsFunc(clients, asked) {
			continue
		}
		alone := "" // of imported bans nothing stands that overlaps somebody ignored
		if b.Source() == "" {
			part := report.ClientName(clients[i])
			alone = fmt.Sprintf("; to let in %s alone, leave that ban and say: smtpban ignore add %s", part, part)
		}
		a.log.notice(fmt.Sprintf("this %s all of %s%s", a.would("opens", "open"), b.Prefix, alone), nil)
	}
	return nil
}
