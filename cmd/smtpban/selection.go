package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/report"
)

// selection says which bans are listed, and in what order.
type selection struct {
	prefixes []netip.Prefix // of which they share an address; of none for all
	origins  []string       // that they have one of
	key      string
	reverse  bool

	classNames              []string
	sinceText, expiringText string

	classes  []ban.Class // that they have one of
	since    time.Time   // that they began at or after
	expiring time.Time   // that they end at or before
}

// sortKeys are what bans can be sorted by.
func sortKeys() map[string]func(a, b report.Ban) int {
	return map[string]func(a, b report.Ban) int{
		"prefix":   func(a, b report.Ban) int { return ban.ComparePrefix(a.Prefix, b.Prefix) },
		"class":    func(a, b report.Ban) int { return cmp.Compare(a.Cause(), b.Cause()) },
		"failures": func(a, b report.Ban) int { return cmp.Compare(a.Failures, b.Failures) },
		"start":    func(a, b report.Ban) int { return a.Start.Compare(b.Start) },
		"until":    func(a, b report.Ban) int { return a.Until.Compare(b.Until) },
		"count":    func(a, b report.Ban) int { return cmp.Compare(a.Count, b.Count) },
	}
}

func (s *selection) addFlags(cmd *cobra.Command) {
	keys := []string{"prefix", "class", "failures", "start", "until", "count"}
	f := cmd.Flags()
	f.Var(&choice{&s.key, keys}, "sort", "sort by `KEY`: prefix, class, failures, start, until, count")
	f.BoolVarP(&s.reverse, "reverse", "r", false, "begin at the other end")
	f.StringArrayVar(&s.classNames, "class", nil, "list only bans for this `CLASS`")
	f.StringArrayVar(&s.origins, "origin", nil, "list only bans of this `ORIGIN`, such as journal, manual, adopted")
	f.StringVar(&s.sinceText, "since", "", "list only bans that began at `TIME` or later")
	f.StringVar(&s.expiringText, "expiring", "", "list only bans that end within `SPAN`")
	var classes []string
	for _, c := range ban.Offences() {
		classes = append(classes, c.String())
	}
	cmd.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions(keys, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("class", cobra.FixedCompletions(classes, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("origin", cobra.FixedCompletions([]string{ban.OriginJournal, ban.OriginManual, ban.OriginAdopted}, cobra.ShellCompDirectiveNoFileComp))
}

// parse reads what the flags say.
func (s *selection) parse(now time.Time) error {
	for _, name := range s.classNames {
		class, err := ban.ParseClass(name)
		if err != nil {
			return usageError{fmt.Errorf("--class: %w", err)}
		}
		s.classes = append(s.classes, class)
	}
	s.expiring = ban.Forever
	if s.sinceText != "" {
		since, err := config.ParseTime(s.sinceText, now, time.Local)
		if err != nil {
			return usageError{fmt.Errorf("--since: %w", err)}
		}
		s.since = since
	}
	if s.expiringText == "" {
		return nil
	}
	span, err := parseSpan("--expiring", s.expiringText)
	if err == nil && span == ban.Infinity {
		err = usageError{errors.New("--expiring: name a span that has an end, such as 1h")}
	}
	s.expiring = now.Add(span)
	return err
}

func (s selection) includes(b report.Ban) bool {
	return (len(s.prefixes) == 0 || slices.ContainsFunc(s.prefixes, b.Prefix.Overlaps)) &&
		(len(s.classes) == 0 || slices.Contains(s.classes, b.Class)) &&
		(len(s.origins) == 0 || slices.Contains(s.origins, b.Origin)) &&
		!b.Start.Before(s.since) && !b.Until.After(s.expiring)
}

// order sorts bans that are in order of their prefix. Of equals those come first that
// did so before.
func (s selection) order(bans []report.Ban) {
	if compare := sortKeys()[s.key]; s.key != "" {
		slices.SortStableFunc(bans, compare)
	}
	if s.reverse {
		slices.Reverse(bans)
	}
}
