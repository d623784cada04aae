package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

// explanation writes explanations for people.
type explanation struct {
	report.Text
	policy ban.Policy
	outage ban.Outage // the latest
	unread waiting
}

func (x explanation) writeAll(w io.Writer, all []report.Explanation) error {
	out := bufio.NewWriter(w)
	for i, e := range all {
		if i > 0 {
			fmt.Fprintln(out)
		}
		if err := x.write(out, e); err != nil {
			return err
		}
	}
	if x.unread.entries > 0 {
		fmt.Fprintf(out, "\n%s\n", labeled{"Unread", x.unreadText()}.wrapped(x.Text))
	}
	return out.Flush()
}

// unreadText says that not all of the log is in what was explained.
func (x explanation) unreadText() string {
	number, them := entries(x.unread.entries), "them"
	switch x.unread.entries {
	case 1:
		them = "it"
	case maxWaiting:
		number = "at least " + number
	}
	return fmt.Sprintf("%s of the log, from %s on; smtpban block reads %s", number, x.Time(x.unread.oldest), them)
}

func (x explanation) write(w io.Writer, e report.Explanation) error {
	fmt.Fprintln(w, report.ClientName(e.Prefix))
	for _, line := range x.lines(e) {
		fmt.Fprintln(w, line.wrapped(x.Text))
	}
	if len(e.Events) > 0 {
		fmt.Fprintln(w)
		if err := x.writeEvents(w, e.Events); err != nil {
			return err
		}
	}
	if len(e.Earlier) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return x.writeEarlier(w, e.Earlier)
}

type labeled struct{ label, text string }

// wrapped writes the line as systemctl status does. One without a label belongs to the
// one before.
func (l labeled) wrapped(t report.Text) string {
	if l.label == "" {
		return t.Wrap(strings.Repeat(" ", 12), l.text)
	}
	return t.Wrap(fmt.Sprintf("%10s: ", l.label), l.text)
}

func (x explanation) lines(e report.Explanation) []labeled {
	lines := []labeled{{"State", string(e.State())}}
	blocker := e.Ban
	if e.BlockedByWider() {
		lines[0].text += ", by the ban on " + e.Wider.Prefix.String()
		blocker = e.Wider
	}
	if blocker != nil && blocker.Other {
		lines[0].text += ", not by a route of ours alone"
	}
	if e.Protected != nil {
		lines = append(lines, labeled{"Protected", e.Protected.Prefix.String() + ", " + report.Printable(e.Protected.Reason)})
	}
	switch {
	case e.Ban != nil:
		lines = append(lines, labeled{"Ban", x.ban(*e.Ban)}, labeled{"Cause", x.cause(e)})
		if e.Ban.Held {
			lines = append(lines, labeled{"Outage", x.held(*e.Ban)})
		}
	case e.Counted:
		lines = append(lines, labeled{"Tally", x.tally(e)})
	}
	if c := e.Client; c.Failures > 0 {
		lines = append(lines, labeled{"Failures", fmt.Sprintf("%d in all, from %s to %s", c.Failures, x.Time(c.First), x.Time(c.Last)) + x.void(e)})
	}
	if !e.Pardon.IsZero() {
		lines = append(lines, labeled{"Pardoned", "nothing up to " + x.Time(e.Pardon) + " counts"})
	}
	if e.Counted {
		lines = append(lines, labeled{"Next ban", x.next(e)})
	}
	return lines
}

// void says why no failure counts.
func (x explanation) void(e report.Explanation) string {
	return map[report.Void]string{
		report.Pardoned: "; none counts any more, they are pardoned",
		report.UsedUp:   "; none counts any more, a ban that is over used them up",
		report.TooOld:   "; none counts any more, the last is longer ago than " + config.FormatSpan(x.policy.FindTime),
		report.Forgiven: "; none counts any more, they are forgiven since nobody could log in (see OUTAGES in smtpban(8))",
	}[e.Void]
}

// ban says how long a ban lasts.
func (x explanation) ban(b report.Ban) string {
	text := "for ever, from " + x.Time(b.Start)
	if b.Until.Before(ban.Forever) {
		text = fmt.Sprintf("%s, from %s to %s", config.FormatSpan(b.Until.Sub(b.Start)), x.Time(b.Start), x.Time(b.Until))
	}
	if b.Held {
		return text + ", held back"
	}
	return fmt.Sprintf("%s, ban %d within %s", text, b.Count, config.FormatSpan(x.policy.Forget))
}

// held says of a ban that is held back what becomes of it, and what can be done.
func (x explanation) held(b report.Ban) string {
	outage := "it is over, somebody logged in at "
	if x.outage.Recognised {
		outage = "it goes on, the last login was at "
	}
	return outage + x.Time(x.outage.Since) + "; the ban lapses by itself when its time is over; smtpban unban " + b.Prefix.String() +
		" drops it at once; smtpban block --confirm puts all that are held back into force, " + onlyAttackers
}

// cause says what brought a ban.
func (x explanation) cause(e report.Explanation) string {
	switch b := e.Ban; {
	case b.Origin == ban.OriginManual:
		return strings.TrimSuffix("by hand: "+report.Printable(b.Reason), ": ")
	case len(e.Events) == 0:
		return report.Printable(b.Origin)
	}
	within := "at once"
	if span := e.Events[0].Time.Sub(e.Events[len(e.Events)-1].Time); span > 0 {
		within = "within " + config.FormatSpan(span)
	}
	return fmt.Sprintf("%s: %d points %s, %s", e.Ban.Class, e.Points, within, x.rule())
}

func (x explanation) rule() string {
	return fmt.Sprintf("maxretry is %d within %s", x.policy.MaxRetry, config.FormatSpan(x.policy.FindTime))
}

// tally says what is missing for a ban.
func (x explanation) tally(e report.Explanation) string {
	missing := x.policy.MaxRetry - e.Points
	if len(e.Events) == 0 {
		return fmt.Sprintf("0 points; %d bring a ban, %s", missing, x.rule())
	}
	oldest := e.Events[len(e.Events)-1].Time.Add(x.policy.FindTime)
	return fmt.Sprintf("%d points; %d more up to %s bring a ban, %s", e.Points, missing, x.Time(oldest), x.rule())
}

// next says what the next ban would be.
func (x explanation) next(e report.Explanation) string {
	text := config.FormatSpan(e.Length)
	if e.Length == ban.Infinity {
		text = "for ever"
	}
	if e.Count > 1 && x.policy.BanTimeFactor != 1 && x.policy.BanTime < ban.Infinity {
		text += fmt.Sprintf(": bantime %s, times %g for each earlier ban within %s (%d), at most %s", config.FormatSpan(x.policy.BanTime),
			x.policy.BanTimeFactor, config.FormatSpan(x.policy.Forget), e.Count-1, config.FormatSpan(x.policy.BanTimeMax))
	}
	return text
}

func (x explanation) writeEvents(w io.Writer, events []report.Event) error {
	var rows [][]string
	for _, e := range events {
		user := ""
		if e.User != "" {
			user = strconv.Quote(e.User)
		}
		rows = append(rows, []string{
			x.Time(e.Time), e.Class.String(), strconv.Itoa(e.Weight), e.Service, user,
			cmp.Or(report.Printable(e.Line), "(no longer in the log)"),
		})
	}
	return x.Table(w, "events", []string{"TIME", "CLASS", "POINTS", "SERVICE", "USER", "LINE"}, rows, "SERVICE", "POINTS", "USER")
}

func (x explanation) writeEarlier(w io.Writer, earlier []store.Ended) error {
	var rows [][]string
	for _, e := range earlier {
		rows = append(rows, []string{
			x.Time(e.Start), x.Time(e.At), report.Printable(e.How), report.Ban{Ban: e.Ban}.Cause(), strconv.Itoa(e.Failures), strconv.Itoa(e.Count),
		})
	}
	return x.Table(w, "earlier bans", []string{"START", "END", "HOW", "CLASS", "FAILURES", "COUNT"}, rows)
}
