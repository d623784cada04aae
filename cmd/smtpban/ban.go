package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/pass"
)

func newBanCommand(a *app) *cobra.Command {
	var length, reason string
	cmd := &cobra.Command{
		Use:   "ban PREFIX...",
		Short: "Ban a client or network by hand",
		Long: "Ban each PREFIX, for bantime unless --for says otherwise. An address stands for\n" +
			"its client: an IPv6 address for its whole network. A ban in force is prolonged,\n" +
			"never shortened.",
		Args: banArgs,
		RunE: func(_ *cobra.Command, args []string) error { return a.ban(args, length, reason) },
	}
	cmd.Flags().StringVar(&length, "for", "", "how long, a time `SPAN` such as 2w or infinity (default bantime)")
	cmd.Flags().StringVar(&reason, "reason", "", "remember `TEXT` with the ban")
	a.addWriteFlags(cmd)
	return cmd
}

// banArgs refuses what nobody could ban, before anything is touched.
func banArgs(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageError{errors.New("name the address or prefix to ban")}
	}
	for _, arg := range args {
		prefix, err := parsePrefix(arg)
		if err != nil {
			return err
		}
		if err := ban.CheckPrefix(prefix); err != nil {
			return usageError{err}
		}
	}
	return nil
}

func (a *app) ban(args []string, length, reason string) error {
	span, err := banLength(length)
	if err != nil {
		return err
	}
	return a.withKernel(func(cfg config.Config, p pass.Pass, k *kernel) error {
		if span == 0 {
			span = cfg.Policy.BanTime
		}
		prefixes, err := bannable(args, cfg.Policy, k.never)
		if err != nil {
			return err
		}
		for _, prefix := range prefixes {
			end := ban.End(a.now, span)
			b, err := p.Ban(ban.Ban{Prefix: prefix, Start: a.now, Until: end, Count: 1, Origin: ban.OriginManual, Reason: reason})
			if err != nil {
				return err
			}
			longer := ""
			if b.Until.After(end) {
				longer = ", as before; unban it first to shorten that"
			}
			a.log.notice(fmt.Sprintf("%s %s %s%s", a.would("banned", "ban"), b.Prefix, until(b), longer), fields(b, idBanned))
		}
		return a.settle(p, k, prefixes...)
	})
}

// banLength reads --for; 0 stands for bantime.
func banLength(length string) (time.Duration, error) {
	if length == "" {
		return 0, nil
	}
	span, err := config.ParseSpan(length)
	if err == nil && span == 0 {
		err = errors.New("a ban of no length makes no sense")
	}
	if err != nil {
		return 0, usageError{fmt.Errorf("--for: %w", err)}
	}
	return span, nil
}

// bannable reads the prefixes to ban, and refuses all if one must not be.
func bannable(args []string, policy ban.Policy, never ban.NeverBan) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, arg := range args {
		prefix, err := parsePrefix(arg)
		if err != nil {
			return nil, err
		}
		if !strings.Contains(arg, "/") {
			prefix = policy.Client(prefix.Addr())
		}
		if m, overlaps := never.Overlapping(prefix); overlaps {
			return nil, fmt.Errorf("%s must not be banned: it overlaps %s (%s)", prefix, m.Prefix, m.Reason)
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, nil
}
