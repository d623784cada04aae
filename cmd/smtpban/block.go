package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/journal"
	"smtpban/internal/pass"
	"smtpban/internal/report"
	"smtpban/internal/route"
)

func newBlockCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "block",
		Short: "Read what is new in the log, ban offenders, set the routes",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("block reads the log and takes no argument; did you mean smtpban ban %s?", strings.Join(args, " "))}
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error { return a.block() },
	}
	a.addInputFlags(cmd)
	a.addWriteFlags(cmd)
	return cmd
}

func (a *app) block() error {
	return a.withKernel(func(cfg config.Config, p pass.Pass, k *kernel) error {
		read, err := a.read(cfg, p, k, false)
		a.announce(read)
		settled, settleErr := p.Settle(k.never, a.enforcer(k), false)
		fresh := map[netip.Prefix]bool{}
		for _, b := range read.Bans {
			fresh[b.Prefix] = true
		}
		return errors.Join(err, settleErr, a.announceSettled(settled, func(f pass.Failure) bool { return fresh[f.Prefix] }))
	})
}

// withKernel runs what changes the state and then the routes: under the lock,
// with the configuration and the machine at hand.
func (a *app) withKernel(do func(config.Config, pass.Pass, *kernel) error) error {
	if err := a.checkInput(); err != nil {
		return err
	}
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	p, end, err := a.begin(cfg)
	if err != nil {
		return err
	}
	defer end()
	k, err := a.openKernel(cfg, p.Store)
	if err != nil {
		return err
	}
	defer k.close()
	if err := k.remember(p.Store); err != nil {
		return err
	}
	return do(cfg, p, k)
}

// read brings what is new in the log into the state.
func (a *app) read(cfg config.Config, p pass.Pass, k *kernel, anchor bool) (pass.Read, error) {
	from, err := pass.Positions(p.Store)
	if err != nil {
		return pass.Read{}, err
	}
	in, err := a.openInput(cfg, k.postfix, from, anchor)
	if err != nil {
		return pass.Read{}, err
	}
	defer in.Close()
	read, err := p.Read(in)
	if err == nil && read.Entries == 0 && len(from) == 0 {
		err = onlyForeign(in)
	}
	a.explainPosition(from, read)
	return read, errors.Join(err, a.gapError(read.Gaps))
}

// explainPosition says from where on the log was read.
func (a *app) explainPosition(from journal.Positions, read pass.Read) {
	switch {
	case len(read.Gaps) > 0: // gapError tells
	case len(from) == 0:
		a.log.info("read from the beginning: %d entries, %d of them failures", read.Entries, read.Events)
	default:
		var last journal.Position
		for _, p := range from {
			if p.Realtime.After(last.Realtime) {
				last = p
			}
		}
		a.log.info("resumed after %s: %d entries, %d of them failures", last.Realtime.Format("2006-01-02 15:04:05.000000 MST"), read.Entries, read.Events)
	}
}

// gapError makes the command fail once for entries that were lost. A dry run,
// which keeps no position after them, only tells.
func (a *app) gapError(gaps []*journal.Gap) error {
	var errs []error
	for _, g := range gaps {
		if a.dryRun {
			a.log.warn("%v", g)
			continue
		}
		errs = append(errs, g)
	}
	return errors.Join(errs...)
}

// maxLines bounds how many changes a run tells one by one.
const maxLines = 100

// announce tells of new bans.
func (a *app) announce(read pass.Read) {
	verb := a.would("banned", "ban")
	for i, b := range read.Bans {
		if i == maxLines {
			a.log.notice(fmt.Sprintf("%s %d more", verb, len(read.Bans)-maxLines), nil)
			break
		}
		a.log.notice(fmt.Sprintf("%s %s %s: %s, %d failures, ban %d", verb, b.Prefix, until(b), b.Class, b.Failures, b.Count), fields(b, idBanned))
	}
}

func until(b ban.Ban) string {
	if b.Until.Before(ban.Forever) {
		return "until " + b.Until.UTC().Format("2006-01-02 15:04:05 MST")
	}
	return "for ever"
}

// fields are what a journal's reader can match on.
func fields(b ban.Ban, id string) map[string]string {
	return map[string]string{
		"MESSAGE_ID":     id,
		"SMTPBAN_CLIENT": b.Prefix.String(),
		"SMTPBAN_CLASS":  b.Class.String(),
		"SMTPBAN_UNTIL":  b.Until.UTC().Format("2006-01-02T15:04:05Z"),
	}
}

// announceEnded tells of bans that are over.
func (a *app) announceEnded(bans []ban.Ban, how string) {
	verb := a.would("unbanned", "unban")
	for i, b := range bans {
		if i == maxLines {
			a.log.notice(fmt.Sprintf("%s %d more", verb, len(bans)-maxLines), nil)
			break
		}
		a.log.notice(fmt.Sprintf("%s %s: %s", verb, b.Prefix, how), fields(b, idUnbanned))
	}
}

// announceSettled tells what changed in the kernel, and returns an error for
// what could not be changed. A route of somebody else's, or a family that the
// kernel has not, is no failure of the run, and only worth a line where worth
// says so: it will be the same in every run to come.
func (a *app) announceSettled(s pass.Settled, worth func(pass.Failure) bool) error {
	a.announceEnded(s.Expired, "its time is over")
	if s.Added+s.Deleted > 0 {
		a.log.info("%d routes added, %d deleted", s.Added, s.Deleted)
	}
	var failed []pass.Failure
	for _, f := range s.Failed {
		switch {
		case !errors.Is(f.Err, route.ErrForeign) && !errors.Is(f.Err, route.ErrNoIPv6):
			failed = append(failed, f)
		case worth(f):
			a.log.warn("%s is not blocked: %v", f.Prefix, f.Err)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("%d routes could not be changed; the first: %w", len(failed), failed[0].Err)
}

// print is the old script's --print: it reads what is new, keeps nothing, and
// reports.
func (a *app) print() error {
	dry := *a
	dry.dryRun = true
	return dry.withKernel(func(cfg config.Config, p pass.Pass, k *kernel) error {
		_, err := dry.read(cfg, p, k, false)
		return errors.Join(err, dry.writeReport(p, k))
	})
}

func (a *app) writeReport(p pass.Pass, k *kernel) error {
	r, err := a.gather(p, k)
	if err != nil {
		return err
	}
	if a.output == "json" {
		return r.WriteJSON(a.stdout)
	}
	return a.text().WriteReport(a.stdout, r)
}

func (a *app) gather(p pass.Pass, k *kernel) (r report.Report, err error) {
	err = p.Store.View(reportOn(&r, p, k))
	if err != nil {
		return report.Report{}, err
	}
	blocked, err := k.blocked(report.Targets(r.Bans))
	if err != nil {
		return report.Report{}, err
	}
	r.Enforce(blocked)
	return r, nil
}
