package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
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
			return describe(a.stdout, cfg)
		},
	}
}

// describe prints what the configuration means, in words.
func describe(w io.Writer, cfg config.Config) error {
	p := cfg.Policy
	span := config.FormatSpan
	growth := fmt.Sprintf("each further ban within %s is %g times longer, up to %s", span(p.Forget), p.BanTimeFactor, span(p.BanTimeMax))
	if p.BanTimeFactor == 1 {
		growth = "further bans are no longer than the first"
	}
	_, err := fmt.Fprintf(w, "The configuration is valid.\n\n"+
		"%d points within %s bring a ban of %s; %s.\n"+
		"A client is an IPv4 /%d or an IPv6 /%d.\n",
		p.MaxRetry, span(p.FindTime), span(p.BanTime), growth, p.IPv4Prefix, p.IPv6Prefix)
	if err != nil {
		return err
	}
	for _, c := range ban.Classes() {
		if p.Weights[c] == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s counts %d.\n", c, p.Weights[c]); err != nil {
			return err
		}
	}
	return nil
}
