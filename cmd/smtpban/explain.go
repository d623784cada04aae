package main

import (
	"errors"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/journal"
	"smtpban/internal/journal/sd"
	"smtpban/internal/pass"
	"smtpban/internal/postfix"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

func newExplainCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain PREFIX...",
		Short: "Say why somebody is banned, or what is missing",
		Long: "Say how each PREFIX stands: whether it is banned and why, with the lines of the\n" +
			"log that count against it, how long the ban lasts, and what its next one would\n" +
			"be. An address stands for its client, a network for all bans and clients in it.",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("name the address or prefix to explain")}
			}
			return a.explain(args)
		},
		ValidArgsFunction: a.completeBanned,
	}
	a.addInputFlags(cmd)
	a.addOutputFlags(cmd)
	return cmd
}

func (a *app) explain(args []string) error {
	prefixes, err := parsePrefixes(args)
	if err != nil {
		return err
	}
	if a.input.count() > 1 {
		return usageError{errOneInput}
	}
	return a.look(func(cfg config.Config, p pass.Pass, k *kernel) error {
		var all []report.Explanation
		var outage ban.Outage
		err := p.Store.View(func(tx *store.Tx) error {
			horizon, err := p.Horizon(tx)
			if err != nil {
				return err
			}
			for _, prefix := range prefixes {
				some, more, err := report.Explain(tx, p.Policy, k.never, prefix, horizon)
				if err != nil {
					return err
				}
				if more > 0 {
					a.log.warn("%s: %d more clients and bans in it are left out", prefix, more)
				}
				all = append(all, some...)
			}
			outage, err = tx.Outage()
			return err
		})
		if err != nil {
			return err
		}
		if err := k.enforce(all); err != nil {
			return err
		}
		if err := a.findLines(cfg, k, all); err != nil {
			a.log.warn("the lines of the log can't be shown: %v", err)
		}
		if a.output == "json" {
			return report.WriteExplanationsJSON(a.stdout, all, p.Policy)
		}
		text := explanation{Text: a.text(), policy: p.Policy, outage: outage}
		if !a.input.standardInput() { // which can be read but once
			text.unread, _ = a.waiting(cfg, p, k) // with no log at hand there is nothing to say
		}
		return text.writeAll(a.stdout, all)
	})
}

// enforce finds out which of the bans are enforced.
func (k *kernel) enforce(all []report.Explanation) error {
	var bans []report.Ban
	var places []*report.Ban
	for _, x := range all {
		for _, b := range []*report.Ban{x.Ban, x.Wider} {
			if b != nil {
				bans, places = append(bans, *b), append(places, b)
			}
		}
	}
	blockers, err := k.blockers(report.Targets(bans))
	if err != nil {
		return err
	}
	report.Enforce(bans, blockers)
	for i, b := range bans {
		*places[i] = b
	}
	return nil
}

// findLines reads the lines again that told of the events.
func (a *app) findLines(cfg config.Config, k *kernel, all []report.Explanation) error {
	var places []journal.Place
	for _, x := range all {
		for _, e := range x.Events {
			places = append(places, place(e.Hit))
		}
	}
	if len(places) == 0 {
		return nil
	}
	messages, err := a.messages(cfg, k, places)
	if err != nil {
		return err
	}
	for _, x := range all {
		for i := range x.Events {
			p := place(x.Events[i].Hit)
			for n, message := range messages[p] {
				line := postfix.Parse(journal.Entry{Time: p.Time, Identifier: p.Identifier, PID: p.PID, Message: message})
				if line.Address == x.Events[i].Address { // of several the one about this client, and none twice
					x.Events[i].Line = message
					messages[p] = append(messages[p][:n:n], messages[p][n+1:]...)
					break
				}
			}
		}
	}
	return nil
}

func place(h ban.Hit) journal.Place {
	return journal.Place{Boot: h.Boot, Time: h.Time, Identifier: h.Identifier, PID: h.PID}
}

// messages looks the places up in the log that they come from.
func (a *app) messages(cfg config.Config, k *kernel, places []journal.Place) (map[journal.Place][]string, error) {
	uid, err := a.trusted(cfg, k.postfix)
	if err != nil {
		return nil, err
	}
	if a.input.entries == "" && a.input.maillog == "" {
		options, err := a.journal(cfg, uid)
		if err != nil {
			return nil, err
		}
		return sd.Lookup(options, places)
	}
	in, err := a.openInput(cfg, uid, nil, sd.Options{})
	if err != nil {
		return nil, err
	}
	defer in.Close()
	found := map[journal.Place][]string{}
	for _, p := range places {
		found[p] = nil
	}
	for e, err := range in.Entries() {
		var gap *journal.Gap
		if err != nil && !errors.As(err, &gap) {
			return nil, err
		}
		if _, wanted := found[e.Place()]; wanted && err == nil {
			found[e.Place()] = append(found[e.Place()], e.Message)
		}
	}
	return found, nil
}
