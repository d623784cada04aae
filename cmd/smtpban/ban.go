package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/guard"
	"smtpban/internal/pass"
	"smtpban/internal/report"
)

func newBanCommand(a *app) *cobra.Command {
	var length, reason string
	var force bool
	cmd := &cobra.Command{
		Use:   "ban PREFIX...",
		Short: "Ban a client or network by hand",
		Long: "Ban each PREFIX, for bantime unless --for says otherwise. An address stands for\n" +
			"its client: an IPv6 address for its whole network. A ban in force is prolonged,\n" +
			"never shortened.",
		Args: banArgs,
		RunE: func(_ *cobra.Command, args []string) error { return a.ban(args, length, reason, force) },
	}
	cmd.Flags().StringVar(&length, "for", "", "how long, a time `SPAN` such as 2w or infinity (default bantime)")
	cmd.Flags().StringVar(&reason, "reason", "", "remember `TEXT` with the ban")
	cmd.Flags().BoolVar(&force, "force", false, "where somebody in it is protected, ban the rest")
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

func (a *app) ban(args []string, length, reason string, force bool) error {
	span, err := lengthOf("a ban", length)
	if err := errors.Join(err, checkReason(reason)); err != nil {
		return err
	}
	return a.withKernel(func(cfg config.Config, p pass.Pass, k *kernel) error {
		if span == 0 {
			span = cfg.Policy.BanTime
		}
		prefixes, err := bannable(args, force, p, k)
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
			a.log.notice(fmt.Sprintf("%s %s %s%s%s", a.would("banned", "ban"), b.Prefix, until(b.Until), byHand(reason), longer), fields(b, idBanned))
		}
		return a.settle(p, k, prefixes...)
	})
}

// byHand says whose ban it is, and why.
func byHand(reason string) string {
	if reason == "" {
		return ": by hand"
	}
	return ": by hand, " + strconv.Quote(reason)
}

// maxReason is how long a reason may be, in bytes. It is kept and shown with each ban.
const maxReason = 1000

func checkReason(reason string) error {
	if len(reason) > maxReason {
		return usageError{fmt.Errorf("--reason: %d bytes are too long; it has room for %d", len(reason), maxReason)}
	}
	return nil
}

// lengthOf reads --for; 0 means that it was not given.
func lengthOf(what, length string) (time.Duration, error) {
	if length == "" {
		return 0, nil
	}
	span, err := parseSpan("--for", length)
	if err == nil && span == 0 {
		err = usageError{fmt.Errorf("--for: %s of no length makes no sense; name a span such as 1d, or leave out --for", what)}
	}
	return span, err
}

// parseSpan reads the time span that a flag was given.
func parseSpan(flag, text string) (time.Duration, error) {
	span, err := config.ParseSpan(text)
	if err != nil {
		return 0, usageError{fmt.Errorf(`%s: %w; want one such as "90s", "1h 30min", "2w"`, flag, err)}
	}
	return span, nil
}

// bannable reads the prefixes to ban, and refuses all if one must not be. With
// force it goes around the protected.
func bannable(args []string, force bool, p pass.Pass, k *kernel) ([]netip.Prefix, error) {
	asked, err := parseClients(args, p.Policy)
	if err != nil {
		return nil, err
	}
	var prefixes []netip.Prefix
	for _, prefix := range asked {
		var offenders []ban.Offender
		if k.never.AsksForOffenders(prefix) {
			if offenders, err = p.Offenders(prefix); err != nil {
				return nil, err
			}
		}
		rest := k.never.Without(prefix, offenders)
		if err := k.refuse(prefix, rest, offenders, force); err != nil {
			return nil, err
		}
		prefixes = append(prefixes, rest...)
	}
	return prefixes, nil
}

// refuse says why the prefix must not be banned, of which rest is not protected.
// Since the protected are spared at every run, force can't ban them; but it can ban
// the rest, unless this machine itself needs somebody in the prefix: then it is
// its own network or its provider's.
func (k *kernel) refuse(prefix netip.Prefix, rest []netip.Prefix, offenders []ban.Offender, force bool) error {
	m, needed := k.needed.Overlapping(prefix)
	hint := ""
	if !needed {
		var spares bool
		if m, spares = k.never.Spares(prefix, offenders); !spares {
			return nil
		}
		switch {
		case len(rest) > maxLines:
			hint = fmt.Sprintf("; the rest would be %d prefixes, and --force bans up to %d", len(rest), maxLines)
		case len(rest) > 0 && force:
			return nil
		case len(rest) > 0:
			hint = "; --force bans the rest of it"
		case force:
			hint = ", and --force bans only what is not protected"
		}
		if slices.Contains(guard.Ignored(k.sources.Ignores), m) {
			hint += "; smtpban ignore remove " + m.Prefix.String() + " ends that"
		}
	}
	return fmt.Errorf("%s must not be banned: it overlaps %s (%s)%s", prefix, m.Prefix, report.Printable(m.Reason), hint)
}
