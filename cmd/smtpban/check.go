package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/guard"
)

func newCheckCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and show what it means",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.loadConfig()
			if err != nil || a.log.quiet {
				return err
			}
			postfix, _, err := guard.ReadPostfix(nil)
			return errors.Join(describe(a.stdout, cfg, postfix), err)
		},
	}
}

// describe prints what the configuration means, in words.
func describe(w io.Writer, cfg config.Config, postfix guard.Postfix) error {
	p := cfg.Policy
	lines := []string{
		"The configuration is valid.",
		"",
		fmt.Sprintf("%d points within %s bring a ban %s.", p.MaxRetry, config.FormatSpan(p.FindTime), describeLength(p)),
		fmt.Sprintf("A client is an IPv4 /%d or an IPv6 /%d.", p.IPv4Prefix, p.IPv6Prefix),
	}
	lines = append(lines, describeWeights(p)...)
	if len(p.IgnoreIP) > 0 {
		lines = append(lines, "Never banned, besides what this machine needs itself: "+join(p.IgnoreIP)+".")
	}
	if len(postfix.Unread) > 0 {
		lines = append(lines, "Of Postfix's settings these can't be read; list in ignoreip whom they stand for: "+strings.Join(postfix.Unread, "; ")+".")
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
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

// describeWeights tells what counts, at every service and where one differs.
func describeWeights(p ban.Policy) []string {
	var lines []string
	for _, c := range ban.Classes() {
		if p.Weights[c] > 0 {
			lines = append(lines, fmt.Sprintf("%s counts %d.", c, p.Weights[c]))
		}
	}
	for _, service := range slices.Sorted(maps.Keys(p.Services)) {
		for _, c := range ban.Classes() {
			if weight, ok := p.Services[service][c]; ok {
				lines = append(lines, fmt.Sprintf("%s counts %d at %s.", c, weight, service))
			}
		}
	}
	if len(lines) == 0 {
		return []string{"Nothing counts, so that nobody will be banned."}
	}
	return lines
}
