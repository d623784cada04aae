package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/pass"
	"smtpban/internal/report"
)

func newIgnoreCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ignore",
		Short: "Say who is not to be banned, for some time or for good",
		Long: "Keep a list, beside ignoreip in the configuration, of those who are not to be\n" +
			"banned.",
		Args: func(_ *cobra.Command, args []string) error {
			if _, err := parsePrefixes(args); err == nil && len(args) > 0 {
				return usageError{fmt.Errorf("did you mean smtpban ignore add %s?", strings.Join(args, " "))}
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return usageError{errors.New("say what to do: smtpban ignore add, list or remove")}
		},
	}
	cmd.AddCommand(newIgnoreAddCommand(a), newIgnoreListCommand(a), newIgnoreRemoveCommand(a))
	return cmd
}

func newIgnoreAddCommand(a *app) *cobra.Command {
	var o ignoreOptions
	cmd := &cobra.Command{
		Use:   "add PREFIX...",
		Short: "Ban nobody in it, and let those in who are banned",
		Long: "Ban nobody in each PREFIX from now on, lift the bans on the clients in it, and\n" +
			"clear their tallies. An address stands for its client: an IPv6 address for its\n" +
			"whole network. If the PREFIX is ignored already, its end and reason are changed.",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("name the address or prefix to ignore")}
			}
			return a.ignore(args, o, false)
		},
		ValidArgsFunction: a.completeBanned,
	}
	o.addFlags(cmd)
	a.addWriteFlags(cmd)
	return cmd
}

func newIgnoreListCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "list",
		Short:             "List who is ignored",
		Args:              noArgs,
		RunE:              func(*cobra.Command, []string) error { return a.listIgnores() },
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	a.addOutputFlags(cmd)
	return cmd
}

func newIgnoreRemoveCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove PREFIX...",
		Short: "Ban those in it again from now on",
		Long: "Ignore each PREFIX no more. What was done up to now never counts. An address\n" +
			"stands for its client, as for ignore add.",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("name the address or prefix to ignore no more")}
			}
			return a.stopIgnoring(args)
		},
		ValidArgsFunction: a.completeIgnored,
	}
	a.addWriteFlags(cmd)
	return cmd
}

// ignoreOptions say how long somebody is ignored, and why.
type ignoreOptions struct{ length, reason string }

func (o *ignoreOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.length, "for", "", "ignore it so long, a time `SPAN` such as 2w (default for good)")
	cmd.Flags().StringVar(&o.reason, "reason", "", "remember `TEXT` with it")
}

// ignore adds the arguments to those who are ignored. With wider it lifts bans on
// wider networks, too, as unban does; otherwise these spare them.
func (a *app) ignore(args []string, o ignoreOptions, wider bool) error {
	if _, err := parsePrefixes(args); err != nil {
		return err
	}
	span, err := lengthOf("an ignore", o.length)
	if err := errors.Join(err, checkReason(o.reason)); err != nil {
		return err
	}
	end := ban.Forever
	if span > 0 {
		end = ban.End(a.now, span)
	}
	return a.withKernel(func(_ config.Config, p pass.Pass, k *kernel) error {
		prefixes, err := parseClients(args, p.Policy)
		if err != nil {
			return err
		}
		var ignores []ban.Ignore
		for _, prefix := range prefixes {
			ignores = append(ignores, ban.Ignore{Prefix: prefix, Added: a.now, Until: end, Reason: o.reason})
		}
		ended, err := p.Ignore(wider, ignores...)
		if errors.Is(err, pass.ErrManyIgnores) {
			err = fmt.Errorf("%w (smtpban ignore remove makes room; ignoreip in the configuration has no limit)", err)
		}
		if err != nil {
			return err
		}
		a.eachIgnore(ignores, a.would("ignored", "ignore"), idIgnored, func(i ban.Ban) string {
			return fmt.Sprintf("%s %s%s", i.Prefix, until(i.Until), quoted(i.Reason))
		})
		a.warnOfWide(prefixes)
		a.announceEnded(ended, 0, "it is ignored, and its tally is cleared")
		if err := a.announceOpened(ended, args, p.Policy); err != nil {
			return err
		}
		return errors.Join(k.heedActive(p), a.settle(p, k))
	})
}

// warnOfWide tells of prefixes so short that a digit may be missing.
func (a *app) warnOfWide(prefixes []netip.Prefix) {
	for _, p := range prefixes {
		if p.Addr().Is4() && p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 16 {
			a.log.warn("%s is very wide, and nobody in it is banned as long as it is ignored; smtpban ignore remove %s ends that", p, p)
		}
	}
}

func quoted(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + strconv.Quote(reason)
}

func (a *app) listIgnores() error {
	_, s, err := a.existing()
	if err != nil {
		return err
	}
	ignores, err := pass.Pass{Store: s, Now: a.now}.Ignores()
	if err != nil {
		return a.hint(s, err)
	}
	if a.output == "json" {
		return report.WriteIgnoresJSON(a.stdout, ignores)
	}
	return a.text().WriteIgnores(a.stdout, ignores)
}

func (a *app) stopIgnoring(args []string) error {
	if _, err := parsePrefixes(args); err != nil {
		return err
	}
	return a.withKernel(func(_ config.Config, p pass.Pass, k *kernel) error {
		prefixes, err := parseClients(args, p.Policy)
		if err != nil {
			return err
		}
		stopped, ended, err := p.StopIgnoring(prefixes...)
		if err != nil {
			return err
		}
		a.announceStopped(stopped, ended, "by hand")
		for _, prefix := range prefixes {
			if !slices.ContainsFunc(stopped, func(i ban.Ignore) bool { return i.Prefix == prefix }) {
				a.log.notice("not ignored: "+prefix.String()+others(prefix, k.sources.Ignores), nil)
			}
		}
		return errors.Join(k.heedActive(p), a.settle(p, k))
	})
}

// others names the ignores that share an address with the prefix.
func others(prefix netip.Prefix, ignores []ban.Ignore) string {
	var found []netip.Prefix
	for _, i := range ignores {
		if i.Prefix.Overlaps(prefix) {
			found = append(found, i.Prefix)
		}
	}
	if len(found) == 0 {
		return ""
	}
	return "; what shares an address with it and is: " + some(found)
}

// endIgnores ends those whose time is over. As long as that can't be written down
// they are heeded: a client must not be banned for what was not to matter.
func (a *app) endIgnores(p pass.Pass, k *kernel) error {
	if len(k.sources.Ignores) == 0 {
		return nil
	}
	over, ended, err := p.EndIgnores()
	if err != nil || len(over) == 0 {
		return err
	}
	a.announceStopped(over, ended, "its time is over")
	return k.heedActive(p)
}

func (a *app) announceStopped(ignores []ban.Ignore, ended []ban.Ban, why string) {
	a.eachIgnore(ignores, a.would("stopped ignoring", "stop ignoring"), idStopped, func(i ban.Ban) string {
		return fmt.Sprintf("%s: %s", i.Prefix, why)
	})
	a.announceEnded(ended, 0, "what it did while it was ignored does not count")
}

// eachIgnore is each for ignores: of a ban they have all that is told.
func (a *app) eachIgnore(ignores []ban.Ignore, verb, id string, text func(ban.Ban) string) {
	var bans []ban.Ban
	for _, i := range ignores {
		bans = append(bans, ban.Ban{Prefix: i.Prefix, Start: i.Added, Until: i.Until, Reason: i.Reason})
	}
	a.each(bans, 0, verb, id, text)
}

// completeIgnored offers the ignored prefixes to the shell that begin with a word.
func (a *app) completeIgnored(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	cfg, err := a.loadConfig()
	if err != nil || a.prepare() != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var prefixes []string
	ignores, _ := pass.Pass{Store: a.state(cfg), Now: a.now}.Ignores() // nobody would see the error
	for _, i := range ignores {
		if prefix := i.Prefix.String(); strings.HasPrefix(prefix, begun) {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes, cobra.ShellCompDirectiveNoFileComp
}
