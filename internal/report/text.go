package report

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"smtpban/internal/store"
)

// Text says how to print for people.
type Text struct {
	Location *time.Location // of the times
	Legend   bool           // headings and totals
	Width    int            // columns of the terminal; 0 where there is no end of them
	Colour   bool           // the terminal shows colours
}

// WriteReport says in words what happened, and then prints the offending clients,
// the bans, and what is odd. Where nothing happened it prints a line.
func (t Text) WriteReport(w io.Writer, r Report) error {
	if t.Legend && r.Quiet() {
		since := "yet"
		if !r.Since.IsZero() {
			since = "since " + t.Time(r.Since)
		}
		_, err := fmt.Fprintf(w, "Nothing happened %s; %s.\n", since, r.inForce())
		return err
	}
	if err := t.writeWords(w, r); err != nil {
		return err
	}
	for i, part := range []struct {
		there bool
		write func(io.Writer, Report) error
	}{
		{true, t.writeClients},
		{true, t.writeReportedBans},
		{r.Near.Count() > 0, t.writeNear},
		{len(r.Networks) > 0, t.writeNetworks},
		{len(r.Users.Named) > 0, t.writeUsers},
		{len(r.Ineffective) > 0, t.writeIneffective},
		{len(r.Seen) > 0, t.writeSeen},
		{len(r.Gaps) > 0, t.writeGaps},
		{len(r.Unknown) > 0, func(w io.Writer, r Report) error { return t.WriteUnknown(w, r.Unknown) }},
	} {
		if !part.there {
			continue
		}
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if err := part.write(w, r); err != nil {
			return err
		}
	}
	return nil
}

func (t Text) since(r Report) string {
	if r.Since.IsZero() {
		return "the beginning"
	}
	return t.Time(r.Since)
}

// proseWidth is how wide sentences are where nothing limits them.
const proseWidth = 79

// writeWords begins the report.
func (t Text) writeWords(w io.Writer, r Report) error {
	if !t.Legend {
		return nil
	}
	var text strings.Builder
	fmt.Fprintf(&text, "Attacks on Postfix from %s to %s\n\n", t.since(r), t.Time(r.Until))
	folded := Text{Width: cmp.Or(t.Width, proseWidth)}
	for _, sentence := range r.Words(t.Location) {
		text.WriteString(folded.Wrap("- ", sentence) + "\n")
	}
	_, err := fmt.Fprintln(w, text.String())
	return err
}

// writeClients prints who attacked or is banned.
func (t Text) writeClients(w io.Writer, r Report) error {
	rows := make([][]string, 0, len(r.Clients))
	for _, c := range r.Clients {
		rows = append(rows, []string{ClientName(c.Prefix), strconv.Itoa(c.Failures), t.Time(c.Last), string(c.State)})
	}
	if err := t.Table(w, "offending clients", []string{"CLIENT", "FAILURES", "LATEST ATTEMPT", "STATE"}, rows); err != nil {
		return err
	}
	return t.writeMore(w, r.MoreClients, "clients")
}

func (t Text) writeReportedBans(w io.Writer, r Report) error {
	if err := t.WriteBans(w, r.Bans); err != nil {
		return err
	}
	return t.writeMore(w, r.MoreBans, "bans")
}

// writeMore says how many there are that are not listed.
func (t Text) writeMore(w io.Writer, more int, what string) error {
	if more == 0 || !t.Legend {
		return nil
	}
	_, err := fmt.Fprintf(w, "There are %d more %s, with fewer failures or as many.\n", more, what)
	return err
}

// causes says why a ban may have no effect.
const causes = `
The ban of these clients is not effective: Postfix logged failures of them more
than five minutes after our route blocked them. Likely causes:
- a proxy or load balancer in front, which tells Postfix the client by the PROXY
  protocol: block the client there;
- Postfix in a container, to which this system forwards what clients send even if it
  is blocked (net.ipv4.conf.*.rp_filter=0), or that has a network of its own;
- policy routing that answers the client by another table: see ip rule.
`

// writeIneffective prints the bans that do not keep their clients out.
func (t Text) writeIneffective(w io.Writer, r Report) error {
	var rows [][]string
	for _, x := range r.Ineffective {
		rows = append(rows, []string{ClientName(x.Prefix), t.Time(x.Since), t.Time(x.Last)})
	}
	if err := t.Table(w, "ineffective bans", []string{"CLIENT", "BLOCKED SINCE", "LATEST FAILURE"}, rows); err != nil || !t.Legend {
		return err
	}
	_, err := io.WriteString(w, causes)
	return err
}

// writeSeen prints how often each class was seen.
func (t Text) writeSeen(w io.Writer, r Report) error {
	var rows [][]string
	for _, s := range r.Seen {
		rows = append(rows, []string{s.Class.String(), strconv.Itoa(s.Events), strconv.Itoa(s.Counted)})
	}
	return t.Table(w, "classes", []string{"CLASS", "EVENTS", "COUNTED"}, rows)
}

// writeGaps prints what of the log was lost.
func (t Text) writeGaps(w io.Writer, r Report) error {
	var rows [][]string
	for _, g := range r.Gaps {
		row := []string{"-", "-", "-", Printable(g.Reason)}
		if !g.From.IsZero() {
			row[0] = t.Time(g.From)
		}
		if !g.To.IsZero() {
			row[1] = t.Time(g.To)
		}
		if g.Lost > 0 {
			row[2] = strconv.Itoa(g.Lost)
		}
		rows = append(rows, row)
	}
	return t.Table(w, "gaps in the log", []string{"FROM", "TO", "LOST", "REASON"}, rows)
}

// WriteUnknown prints the shapes of lines that no rule knows.
func (t Text) WriteUnknown(w io.Writer, shapes []store.Shape) error {
	var rows [][]string
	for _, s := range shapes {
		text := Printable(s.Text)
		if text == "" {
			text = "(others)"
		}
		rows = append(rows, []string{strconv.Itoa(s.Count), t.Time(s.Last), text})
	}
	return t.Table(w, "unknown kinds of lines", []string{"LINES", "LATEST", "SHAPE"}, rows)
}

// WriteBans prints the bans.
func (t Text) WriteBans(w io.Writer, bans []Ban) error {
	return t.longTable(w, "bans", []string{"PREFIX", "CLASS", "FAILURES", "START", "UNTIL", "COUNT", "ROUTE", "REASON"},
		len(bans), func(i int) []string { return t.banRow(bans[i]) }, "COUNT", "START", "FAILURES", "REASON")
}

func (t Text) banRow(b Ban) []string {
	route := "no"
	switch {
	case b.Route:
		route = "yes"
	case b.Other:
		route = "other"
	case b.Held:
		route = string(Held)
	case len(b.Targets) == 0:
		route = string(Protected)
	}
	return []string{
		b.Prefix.String(), b.Cause(), strconv.Itoa(b.Failures), t.Time(b.Start), t.End(b.Until),
		strconv.Itoa(b.Count), route, Printable(b.Reason),
	}
}

// Cause names what brought a ban: the class of failures, or where it comes from,
// which an imported state may put in any words.
func (b Ban) Cause() string { return cmp.Or(b.Class.String(), Printable(b.Origin)) }

// TimeLayout is how a time is written for people.
const TimeLayout = "2006-01-02 15:04:05 MST"

// Time writes a time.
func (t Text) Time(at time.Time) string { return at.In(t.Location).Format(TimeLayout) }

// Printable replaces what could steer a terminal: control characters, C1 ones
// and bidirectional marks included.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
