package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/journal/sd"
	"smtpban/internal/pass"
	"smtpban/internal/report"
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
	a.addConfirmFlag(cmd)
	return cmd
}

func (a *app) addConfirmFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.confirm, "confirm", false, "put the bans into force that are held back")
}

func (a *app) block() error {
	if a.confirm && a.input.given() {
		return usageError{errors.New("--confirm is for this machine's own journal: from another log no ban is held back")}
	}
	a.trust = true // it runs all the time
	return a.withKernel(func(cfg config.Config, p pass.Pass, k *kernel) error {
		confirmed, err := a.confirmHeld(p)
		if err != nil {
			return err
		}
		read, err := a.read(cfg, p, k)
		if err != nil && a.input.given() && read.Entries == 0 && len(read.Gaps) == 0 {
			return err // what a mistyped name leads to must not reach the routes
		}
		read.Bans = append(confirmed, read.Bans...)
		a.announceEnded(read.Expired, read.MoreExpired, "its time is over")
		spared, errAnnounce := a.announceBans(p.Store, read.Bans, read.MoreBans, k.never)
		a.announceHeld(read)
		looked := (err == nil || read.Entries > 0) && !a.brief
		if looked && (a.dryRun || k.last.UID == 0 && !a.input.given()) {
			a.sumUp(read, spared)
		}
		err = errors.Join(err, errAnnounce)
		if a.brief && err == nil && !read.Changed() {
			return nil
		}
		var fresh []netip.Prefix
		for _, b := range read.Bans[:min(len(read.Bans), maxFresh)] {
			fresh = append(fresh, b.Prefix)
		}
		return errors.Join(err, a.settle(p, k, fresh...))
	})
}

// confirmHeld puts the bans into force that are held back, if that is asked for.
func (a *app) confirmHeld(p pass.Pass) ([]ban.Ban, error) {
	if !a.confirm {
		return nil, nil
	}
	confirmed, err := p.Confirm()
	if err == nil && len(confirmed) == 0 {
		a.log.notice("no ban is held back", nil)
	}
	return confirmed, err
}

// maxFresh bounds the new bans whose routes that could not be made are told.
const maxFresh = 1000

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
	told, err := a.mend(cfg, p)
	if err != nil {
		return err
	}
	return errors.Join(told, a.mendUnreadable(cfg, p, a.onKernel(cfg, p, do)))
}

// onKernel runs what changes a sound state and then the routes.
func (a *app) onKernel(cfg config.Config, p pass.Pass, do func(config.Config, pass.Pass, *kernel) error) error {
	k, err := a.openKernel(cfg, p.Store)
	if err != nil {
		return err
	}
	defer k.close()
	doubt := a.checkClock(&p)
	err = errors.Join(doubt, a.endIgnores(p, k), do(cfg, p, k), k.remember(p.Store))
	// gofail: var beforeUnlock string
	// return errors.New(beforeUnlock)
	return err
}

// checkClock warns once where the clock may be wrong.
func (a *app) checkClock(p *pass.Pass) error {
	jumpedFrom, err := p.CheckClock()
	p.Believe = unwritable(err)
	if !jumpedFrom.IsZero() {
		a.log.warn("the clock shows %s, after %s at the last change: no ban ends before a run an hour later finds it go on from there (is it right? see timedatectl(1))",
			p.Now.Format(report.TimeLayout), jumpedFrom.Format(report.TimeLayout))
	}
	return err
}

// unwritable reports whether the state can't be written where it is, which may last.
func unwritable(err error) bool {
	for _, cause := range []error{syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT, fs.ErrPermission} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// read brings what is new in the log into the state.
func (a *app) read(cfg config.Config, p pass.Pass, k *kernel) (pass.Read, error) {
	from, err := pass.Positions(p.Store)
	if err != nil {
		return pass.Read{}, err
	}
	uid, err := a.trusted(cfg, k.postfix)
	if err != nil {
		return pass.Read{}, err
	}
	in, err := a.openInput(cfg, uid, from, sd.Options{Finished: k.read})
	if err != nil {
		return pass.Read{}, err
	}
	defer in.Close()
	read, err := p.Read(in)
	if err == nil {
		err = errors.Join(k.learn(in, uid), k.rememberRead(p.Store, in))
	}
	if !a.brief || read.Entries > 0 {
		a.explainPosition(from, read)
	}
	if len(from) > 0 { // the first run finds everybody at once
		err = errors.Join(err, a.warnOfMany(p, len(read.Bans)+read.MoreBans))
	}
	return read, errors.Join(err, a.gapError(read.Gaps))
}

// admit lets those stay in who are logged in, unless the log that was read is
// another system's.
func (a *app) admit(p pass.Pass, k *kernel) error {
	if a.input.given() {
		return nil
	}
	ended, err := p.Admit(k.peers)
	a.announceEnded(ended, 0, "an SSH session of it is authenticated")
	return err
}

// settle draws the routes after the state, tells of those that stand against
// somebody else's where they are about the prefixes, and ends the connections that
// the blocked still have: those of the newly blocked, and what a run that was cut
// short, or restore, left open.
func (a *app) settle(p pass.Pass, k *kernel, about ...netip.Prefix) error {
	errAdmit := a.admit(p, k)
	enforcer := a.enforcer(k)
	settled, err := p.Settle(k.never, enforcer, false)
	errs := []error{errAdmit, err, a.announceSettled(settled, about), a.announceFreed(p, k, settled.Added, about), a.endConnections(k, settled.Blocked), a.publishBans(p, k)}
	if err == nil {
		if enforcer != nil {
			k.Spared = settled.Spared
		}
		a.tellSurplus(k, settled.Surplus)
		errs = append(errs, a.writeMetrics(p, k, settled))
	}
	return errors.Join(errs...)
}
