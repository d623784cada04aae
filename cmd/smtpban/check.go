package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/guard"
	"smtpban/internal/pass"
	"smtpban/internal/report"
)

func newCheckCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and show what it means",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			for _, warning := range unwise(cfg.Policy) {
				a.log.warn("%s", warning)
			}
			if a.log.quiet {
				return nil
			}
			postfix, _, err := guard.ReadPostfix(nil)
			return errors.Join(describe(a.stdout, a.text(), cfg, postfix, a.describeIgnores(cfg)), err)
		},
	}
	a.addFullFlag(cmd)
	return cmd
}

// describe prints what the configuration means, in words.
func describe(w io.Writer, text report.Text, cfg config.Config, postfix guard.Postfix, ignores string) error {
	p := cfg.Policy
	lines := []string{
		"The configuration is valid.",
		"",
		fmt.Sprintf("%d points within %s bring a ban %s.", p.MaxRetry, config.FormatSpan(p.FindTime), describeLength(p)),
		fmt.Sprintf("A client is an IPv4 /%d or an IPv6 /%d.", p.IPv4Prefix, p.IPv6Prefix),
	}
	if !counts(p) {
		lines = append(lines, "Nothing counts, so that nobody will be banned.")
	}
	if len(p.IgnoreIP) > 0 {
		lines = append(lines, "Never banned, besides what this machine needs itself: "+join(p.IgnoreIP)+".")
	}
	if len(p.IgnoreName) > 0 {
		lines = append(lines, "Never banned, if Postfix verified such a name: "+strings.Join(p.IgnoreName, ", ")+".")
	}
	if ignores != "" {
		lines = append(lines, ignores)
	}
	if len(postfix.Unread) > 0 {
		lines = append(lines, "Of Postfix's settings these can't be read; list in ignoreip whom they stand for: "+strings.Join(postfix.Unread, "; ")+".")
	}
	for i, line := range lines {
		lines[i] = text.Wrap("", line)
	}
	if _, err := fmt.Fprintf(w, "%s\n\n", strings.Join(lines, "\n")); err != nil {
		return err
	}
	return writeWeights(w, text, p)
}

// describeIgnores says who is ignored, "" for nobody. The configuration may well be
// checked by somebody who may not read the state.
func (a *app) describeIgnores(cfg config.Config) string {
	ignores, err := pass.Pass{Store: a.state(cfg), Now: a.now}.Ignores()
	switch {
	case err != nil:
		return "Whom smtpban ignore spares as well is not known: " + err.Error()
	case len(ignores) == 0:
		return ""
	}
	var prefixes []netip.Prefix
	for _, i := range ignores {
		prefixes = append(prefixes, i.Prefix)
	}
	return "Not banned either, by smtpban ignore: " + some(prefixes) + "."
}

func describeLength(p ban.Policy) string {
	switch {
	case p.BanTime == ban.Infinity:
		return "for ever"
	case p.BanTimeFactor == 1:
		return fmt.Sprintf("of %s, the first as well as any other", config.FormatSpan(p.BanTime))
	}
	return fmt.Sprintf("of %s; each further one within %s lasts %g times as long as the one before, up to %s",
		config.FormatSpan(p.BanTime), config.FormatSpan(p.Forget), p.BanTimeFactor, config.FormatSpan(p.BanTimeMax))
}

// writeWeights prints how many points the classes have: at every service, and
// where one differs.
func writeWeights(w io.Writer, text report.Text, p ban.Policy) error {
	services := slices.Sorted(maps.Keys(p.Services))
	header := append([]string{"CLASS", "POINTS"}, services...)
	var rows [][]string
	for _, c := range ban.Offences() {
		row := []string{c.String(), strconv.Itoa(p.Weights[c])}
		for _, service := range services {
			row = append(row, strconv.Itoa(p.Weight(c, service)))
		}
		rows = append(rows, row)
	}
	return text.Table(w, "classes", header, rows)
}

// everyService returns the weights of a class wherever it may have one.
func everyService(p ban.Policy, c ban.Class) []int {
	weights := []int{p.Weights[c]}
	for service := range p.Services {
		weights = append(weights, p.Weight(c, service))
	}
	return weights
}

func counts(p ban.Policy) bool {
	return slices.ContainsFunc(ban.Offences(), func(c ban.Class) bool { return slices.Max(everyService(p, c)) > 0 })
}

// unwise tells of what will be regretted.
func unwise(p ban.Policy) []string {
	var warnings []string
	for _, c := range []ban.Class{ban.DNSBL, ban.DNSBLRank} {
		if slices.Max(everyService(p, c)) > 0 {
			warnings = append(warnings, fmt.Sprintf("%s has points: when a block list closes or a resolver fails, everybody is listed, and would be banned", c))
		}
	}
	for _, name := range p.IgnoreName {
		if !strings.Contains(strings.TrimPrefix(name, "."), ".") {
			warnings = append(warnings, fmt.Sprintf("ignorename has %s: whoever has a name below it, attackers too, is never banned", name))
		}
	}
	return warnings
}
