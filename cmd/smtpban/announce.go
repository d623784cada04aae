package main

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
	"smtpban/internal/pass"
	"smtpban/internal/report"
	"smtpban/internal/route"
	"smtpban/internal/store"
)

// explainPosition says from where on the log was read.
func (a *app) explainPosition(from journal.Positions, read pass.Read) {
	switch {
	case len(read.Gaps) > 0: // gapError tells
	case len(from) == 0:
		a.log.info("read from the beginning: %d entries, %d failures", read.Entries, read.Events)
	default:
		var last journal.Position
		for _, p := range from {
			if p.Realtime.After(last.Realtime) {
				last = p
			}
		}
		a.log.info("resumed after %s: %d entries, %d failures", last.Realtime.Format("2006-01-02 15:04:05.000000 MST"), read.Entries, read.Events)
	}
}

// gapError makes the command fail once for entries that were lost. A dry run,
// which keeps no position after them, only tells. The report has them all.
func (a *app) gapError(gaps []*journal.Gap) error {
	var errs []error
	if more := len(gaps) - maxLines; more > 0 {
		a.log.warn("%d earlier gaps in the log are told by smtpban report", more)
		gaps = gaps[more:]
	}
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

// announceBans tells of new bans, and of those who would be banned were they not
// protected, and returns how many those are.
func (a *app) announceBans(state *store.Store, bans []ban.Ban, more int, never ban.NeverBan) (int, error) {
	var real, spared []ban.Ban
	reasons := map[netip.Prefix]string{}
	err := state.View(func(tx *store.Tx) error {
		for _, b := range bans {
			targets, err := tx.Targets(b, never)
			if err != nil {
				return err
			}
			if len(targets) > 0 {
				real = append(real, b)
				continue
			}
			evidence, err := tx.Evidence(b.Prefix)
			if err != nil {
				return err
			}
			m, _ := never.Spares(b.Prefix, evidence.Offenders())
			spared, reasons[b.Prefix] = append(spared, b), m.Reason
		}
		return nil
	})
	a.each(real, more, a.would("banned", "ban"), idBanned, func(b ban.Ban) string {
		return fmt.Sprintf("%s %s: %s, %d failures, ban %d", b.Prefix, until(b.Until), b.Class, b.Failures, b.Count)
	})
	a.each(spared, 0, a.would("spared", "spare"), idSpared, func(b ban.Ban) string {
		return fmt.Sprintf("%s, %s: %s, %d failures", b.Prefix, report.Printable(reasons[b.Prefix]), b.Class, b.Failures)
	})
	return len(spared), err
}

// sumUp says in a line what a run found, also where it is nothing: after a first
// run or a dry one the admin wants to know whether smtpban looks in the right
// place.
func (a *app) sumUp(read pass.Read, spared int) {
	text := fmt.Sprintf("new entries: %d", read.Entries)
	if read.Entries > 0 {
		text += " since " + read.First.Format(report.TimeLayout)
	}
	text += fmt.Sprintf("; failures: %d; ", read.Events)
	if banned := len(read.Bans) + read.MoreBans - spared; banned > 0 {
		text += fmt.Sprintf("%s %s", a.would("banned", "ban"), plural(banned, "client"))
	} else {
		text += "nobody to ban"
	}
	if spared > 0 {
		text += fmt.Sprintf("; protected: %d", spared)
	}
	if len(read.Held) > 0 {
		text += fmt.Sprintf("; held back: %d", len(read.Held))
	}
	a.log.notice(text, nil)
}

// announceHeld tells of bans that are held back and, once in an outage, what to do
// about it. The command is to fail for that.
func (a *app) announceHeld(read pass.Read) {
	a.each(read.Held, 0, a.would("held back", "hold back"), idHeld, func(b ban.Ban) string {
		return fmt.Sprintf("%s: %s, %d failures", b.Prefix, b.Class, b.Failures)
	})
	c := read.Cause
	if c == (pass.Cause{}) {
		return // it was told
	}
	when := "since " + c.Since.Format(report.TimeLayout)
	if !c.Until.IsZero() {
		when = "between " + c.Since.Format(report.TimeLayout) + " and " + c.Until.Format(report.TimeLayout)
	}
	dead := ""
	if c.Fault {
		dead = ", and Postfix got no answer from its authentication server"
	}
	a.log.warn("%s held back, and more may follow: %s nobody logged in, and %s failed that used to get in%s (is saslauthd, or Dovecot, well?); they lapse by themselves; smtpban block --confirm puts them into force, if they are of attackers",
		plural(len(read.Held), "ban"), when, plural(c.Clients, "client"), dead)
	a.held = !a.dryRun
}

// manyBans is from how many new bans on a run is worth a warning, if they also
// are more than there were before.
const manyBans = 100

// warnOfMany warns if a run has banned more clients than were banned before it,
// and many. They are banned all the same: a botnet must be.
func (a *app) warnOfMany(p pass.Pass, fresh int) error {
	if fresh < manyBans {
		return nil
	}
	standing := 0
	err := p.Store.View(func(tx *store.Tx) error {
		horizon, err := p.Horizon(tx)
		if err != nil {
			return err
		}
		for b, err := range tx.Bans() { // counted one by one: they may be a million
			if err != nil {
				return err
			}
			if b.Active(horizon) && !b.Held && b.Source() == "" {
				standing++
			}
		}
		return nil
	})
	if before := max(standing-fresh, 0); err == nil && fresh > before {
		a.log.warn("%d new bans at once, where there were %d: a botnet, or something is wrong with Postfix (smtpban report tells what counted)", fresh, before)
	}
	return err
}

// announceEnded tells of bans that are over. One that was held back never was in
// force. Of imported ones there may be so many that only their number is told.
func (a *app) announceEnded(bans []ban.Ban, more int, why string) {
	var real, held []ban.Ban
	imported := map[string][]ban.Ban{}
	for _, b := range bans {
		switch {
		case b.Held:
			held = append(held, b)
		case b.Source() != "":
			imported[b.Origin] = append(imported[b.Origin], b)
		default:
			real = append(real, b)
		}
	}
	for _, set := range slices.Sorted(maps.Keys(imported)) {
		some := imported[set]
		if len(some) > 1 {
			a.log.notice(fmt.Sprintf("%s %d prefixes of %s: %s", a.would("unbanned", "unban"), len(some), set, why), nil)
			continue
		}
		a.log.notice(fmt.Sprintf("%s %s of %s: %s", a.would("unbanned", "unban"), some[0].Prefix, set, why), fields(some[0], idUnbanned))
	}
	a.each(held, 0, a.would("dropped", "drop"), idUnbanned, func(b ban.Ban) string {
		return fmt.Sprintf("%s, which was held back: %s", b.Prefix, why)
	})
	a.each(real, more, a.would("unbanned", "unban"), idUnbanned, func(b ban.Ban) string {
		return fmt.Sprintf("%s: %s", b.Prefix, why)
	})
}

// each gives every ban a line that begins with the verb, up to maxLines, and
// then tells how many more there are, those included that are not among them.
func (a *app) each(bans []ban.Ban, more int, verb, id string, text func(ban.Ban) string) {
	named := bans[:min(len(bans), maxLines)]
	for _, b := range named {
		a.log.notice(verb+" "+text(b), fields(b, id))
	}
	if more += len(bans) - len(named); more > 0 {
		a.log.notice(fmt.Sprintf("%s %d more", verb, more), nil)
	}
}

func until(end time.Time) string {
	if end.Before(ban.Forever) {
		return "until " + end.UTC().Format(report.TimeLayout)
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

// announceSettled tells what changed in the kernel, and returns an error for
// what could not be changed. A route of somebody else's, or a family that the
// kernel has not, is no failure of the run, and only worth a line where it is
// about one of the prefixes: it will be the same in every run to come.
func (a *app) announceSettled(s pass.Settled, about []netip.Prefix) error {
	a.announceEnded(s.Expired, s.More, "its time is over")
	if len(s.Added)+s.Deleted > 0 && !a.dryRun {
		a.log.info("%d routes added, %d deleted", len(s.Added), s.Deleted)
	}
	var failed, told []pass.Failure
	for _, f := range s.Failed {
		switch {
		case !errors.Is(f.Err, route.ErrForeign) && !errors.Is(f.Err, route.ErrNoIPv6):
			failed = append(failed, f)
		case slices.ContainsFunc(about, f.Prefix.Overlaps):
			told = append(told, f)
		}
	}
	for _, f := range told[:min(len(told), maxLines)] {
		a.log.warn("%s has no route of ours: %v", f.Prefix, f.Err)
	}
	if len(told) > maxLines {
		a.log.warn("and %d more have none", len(told)-maxLines)
	}
	if len(failed) == 0 {
		return nil
	}
	return fmt.Errorf("could not change %d of the routes; the first: %w", len(failed), failed[0].Err)
}

// announceFreed tells of bans that block all of their prefix only now, since nobody in
// it is protected any more. Those that are told of as new need no second line.
func (a *app) announceFreed(p pass.Pass, k *kernel, added, fresh []netip.Prefix) error {
	var freed []ban.Ban
	err := p.Store.View(func(tx *store.Tx) error {
		horizon, err := p.Horizon(tx)
		if err != nil {
			return err
		}
		for _, prefix := range k.last.Spared {
			if !slices.Contains(added, prefix) || slices.Contains(fresh, prefix) {
				continue
			}
			b, ok, err := tx.InForce(prefix, horizon)
			if err != nil {
				return err
			}
			if !ok { // its route is another ban's
				continue
			}
			freed = append(freed, b)
		}
		return nil
	})
	a.each(freed, 0, a.would("blocks", "block"), idFreed, func(b ban.Ban) string {
		return fmt.Sprintf("%s %s: protected no longer", b.Prefix, until(b.Until))
	})
	return err
}

// tellSurplus tells once that there is no room for all routes.
func (a *app) tellSurplus(k *kernel, surplus int) {
	k.Surplus = surplus > 0
	if k.Surplus && !k.last.Surplus {
		a.log.warn("%d more prefixes are banned than may have routes: those with the fewest failures have none (max_ipv4, max_ipv6 in [route])", surplus)
	}
}

// would puts a verb into the mood of a dry run.
func (a *app) would(done, todo string) string {
	if a.dryRun {
		return "would " + todo
	}
	return done
}
