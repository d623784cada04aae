package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/journal"
	"smtpban/internal/journal/sd"
	"smtpban/internal/pass"
	"smtpban/internal/store"
)

func newSimulateCommand(a *app) *cobra.Command {
	s := simulate{app: a}
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Say what the configuration would have done with the log",
		Long: "Judge the whole log, or a part of it, as if smtpban had been there from the\n" +
			"beginning, and say whom it would have banned, what that would have prevented,\n" +
			"and who of them also logged in. Nothing is kept.",
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return s.run() },
	}
	cmd.Flags().StringVar(&s.sinceText, "since", "", "leave out what was logged before `TIME`")
	cmd.Flags().StringVar(&s.untilText, "until", "", "leave out what was logged after `TIME`")
	cmd.Flags().StringVar(&s.other, "compare", "", "say whom a whole other configuration, in `FILE` and its drop-ins, would ban besides, or not ban")
	a.addInputFlags(cmd)
	a.addOutputFlags(cmd)
	return cmd
}

// simulate is the command with its flags.
type simulate struct {
	*app
	sinceText, untilText string
	other                string
}

func (s *simulate) run() error {
	if s.input.count() > 1 {
		return usageError{errOneInput}
	}
	since, until, err := s.span()
	if err != nil {
		return err
	}
	cfg, err := s.loadConfig()
	if err != nil {
		return err
	}
	policies := []ban.Policy{cfg.Policy}
	if s.other != "" {
		other, err := config.Load(s.other)
		if err != nil {
			return configError{err}
		}
		policies = append(policies, other.Policy)
	}
	empty, remove, err := store.Empty() // this system's state is for root's eyes, and not asked for
	if err != nil {
		return err
	}
	defer remove()
	k, err := s.openKernel(cfg, empty)
	if err != nil {
		return err
	}
	defer k.close()
	debug.SetGCPercent(simulateGCPercent)
	simulation := pass.NewSimulation(since, until, s.now, policies...)
	err = s.judge(cfg, k, simulation)
	if simulation.Entries == 0 && err != nil {
		return err
	}
	var outcomes []outcome
	for i, verdict := range simulation.Verdicts {
		outcomes = append(outcomes, newOutcome(verdict, k.under(policies[i])))
	}
	result := simulated{Simulation: simulation, outcomes: outcomes, other: s.other}
	if s.output == "json" {
		return errors.Join(err, result.writeJSON(s.stdout))
	}
	return errors.Join(err, result.write(s.stdout, s.text()))
}

// simulateGCPercent is for somebody who waits for the answer, and only once: time is
// worth more than memory then.
const simulateGCPercent = 200

// span returns what part of the log is judged.
func (s *simulate) span() (since, until time.Time, err error) {
	until = ban.Forever
	for _, flag := range []struct {
		name, text string
		at         *time.Time
	}{{"--since", s.sinceText, &since}, {"--until", s.untilText, &until}} {
		if flag.text == "" {
			continue
		}
		if *flag.at, err = config.ParseTime(flag.text, s.now, time.Local); err != nil {
			return since, until, usageError{fmt.Errorf("%s: %w", flag.name, err)}
		}
	}
	if until.Before(since) {
		return since, until, usageError{errors.New("--until is before --since")}
	}
	return since, until, nil
}

// judge reads the log from its beginning.
func (s *simulate) judge(cfg config.Config, k *kernel, to *pass.Simulation) error {
	uid, err := s.trusted(cfg, k.postfix)
	if err != nil {
		return err
	}
	in, err := s.openInput(cfg, uid, nil, sd.Options{})
	if err != nil {
		return err
	}
	defer in.Close()
	progress := s.newProgress()
	defer progress.end()
	for e, err := range in.Entries() {
		if err == nil {
			to.Add(e)
			progress.at(e.Time)
			continue
		}
		var gap *journal.Gap
		if !errors.As(err, &gap) {
			return err
		}
		s.log.warn("%v", gap)
	}
	return nil
}

// outcome is what a policy makes of the log: who is banned, and who is spared.
type outcome struct {
	clients  []client
	failures int
}

// client is one that failed.
type client struct {
	*pass.Simulated
	protected bool // is never blocked
}

func newOutcome(v pass.Verdict, never ban.NeverBan) (o outcome) {
	for _, c := range v.Clients() {
		targets := never.Targets(c.Prefix, c.Evidence.Offenders())
		o.clients = append(o.clients, client{c, len(targets) == 0})
		o.failures += c.Failures
	}
	return o
}

// banned reports whether it would have been kept out.
func (c client) banned() bool { return len(c.Bans) > 0 && !c.protected }

// banned returns the clients that would have been kept out, those with most
// failures first.
func (o outcome) banned() []client {
	all := slices.DeleteFunc(slices.Clone(o.clients), func(c client) bool { return !c.banned() })
	slices.SortStableFunc(all, func(a, b client) int { return cmp.Compare(b.Failures, a.Failures) })
	return all
}

// without returns the clients banned here, but not there.
func (o outcome) without(there outcome) []client {
	return slices.DeleteFunc(o.banned(), func(c client) bool {
		i, found := slices.BinarySearchFunc(there.clients, c.Prefix, func(x client, p netip.Prefix) int { return ban.ComparePrefix(x.Prefix, p) })
		return found && there.clients[i].banned()
	})
}
