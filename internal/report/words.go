package report

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"smtpban/internal/ban"
)

// Quiet reports whether nothing happened since the last report: no client failed,
// no ban began or ended, and nothing is odd. That bans are in force is no event, nor
// is what does not count.
func (r Report) Quiet() bool {
	c := r.Changes
	for _, g := range []Group{c.New, c.Renewed, c.ByHand, c.Spared, c.Held, c.Expired, c.Lapsed, c.Lifted} {
		if g.Count() > 0 {
			return false
		}
	}
	return r.Attackers == 0 && len(r.held) == 0 && len(r.Gaps) == 0 && len(r.Ineffective) == 0 && r.Surplus == 0 && !r.riddles()
}

// riddles reports whether there were lines after Since that no rule knows.
func (r Report) riddles() bool {
	for _, s := range r.Unknown {
		if s.Last.After(r.Since) {
			return true
		}
	}
	return false
}

// InForce is how many bans are.
func (r Report) InForce() int { return len(r.Bans) + r.MoreBans }

// Counted is how many failures counted since the full hour before Since.
func (r Report) Counted() (n int) {
	for _, s := range r.Seen {
		n += s.Counted
	}
	return n
}

// Headline says in a few words what is most important.
func (r Report) Headline() string {
	if r.Quiet() {
		return "nothing happened"
	}
	c := r.Changes
	var parts []string
	say := func(n int, one, many string) {
		if n > 0 {
			parts = append(parts, number(n, one, many))
		}
	}
	say(c.New.Count(), "new ban", "new bans")
	if c.New.Count() > 0 {
		say(c.Renewed.Count(), "renewed", "renewed")
	} else {
		say(c.Renewed.Count(), "renewed ban", "renewed bans")
	}
	say(c.ByHand.Count(), "ban by hand", "bans by hand")
	say(c.Held.Count(), "ban held back", "bans held back")
	say(c.Spared.Count(), "protected client over the limit", "protected clients over the limit")
	say(r.Surplus, "prefix without a route", "prefixes without a route")
	say(len(r.Ineffective), "ban without effect", "bans without effect")
	say(len(r.Gaps), "gap in the log", "gaps in the log")
	if len(parts) > 0 {
		return strings.Join(parts, ", ")
	}
	say(r.Near.Count(), "near miss", "near misses")
	return strings.Join(append([]string{"no new ban"}, parts...), ", ")
}

// Words says in sentences what happened since the last report, with the time as it is
// in a location.
func (r Report) Words(location *time.Location) []string {
	if r.Quiet() {
		return []string{"Nothing happened; " + r.inForce() + "."}
	}
	var words []string
	for _, sentences := range [][]string{r.attacks(location), r.begun(), r.ended(), r.odd()} {
		words = append(words, sentences...)
	}
	return append(words, upper(r.inForce())+".")
}

// upper begins a sentence.
func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (r Report) inForce() string {
	text := "no ban is in force"
	if n := r.InForce(); n > 0 {
		text = number(n, "ban is", "bans are") + " in force" + r.idle()
	}
	var sets []string
	for _, source := range slices.Sorted(maps.Keys(r.Imported)) {
		sets = append(sets, fmt.Sprintf("%d of %s%s", r.Imported[source], ban.OriginImport, Printable(source)))
	}
	if len(sets) > 0 {
		text += ", besides " + strings.Join(sets, ", ")
	}
	return text
}

// idle says how many of the bans in force keep nobody out.
func (r Report) idle() string {
	var why []string
	if r.protected > 0 {
		why = append(why, fmt.Sprintf("%d protected", r.protected))
	}
	if n := len(r.held); n > 0 {
		why = append(why, fmt.Sprintf("%d held back", n))
	}
	if len(why) == 0 {
		return ""
	}
	return fmt.Sprintf(", %d of them without effect (%s)", r.protected+len(r.held), strings.Join(why, ", "))
}

// hour says from when on failures and user names are counted: since the full hour
// before the report begins.
func (r Report) hour(location *time.Location) string {
	if r.Since.IsZero() {
		return ""
	}
	hour, layout := r.Since.Truncate(time.Hour).In(location), "15:04"
	if until := r.Until.In(location); hour.YearDay() != until.YearDay() || hour.Year() != until.Year() {
		layout = "2006-01-02 15:04"
	}
	return " since " + hour.Format(layout)
}

func (r Report) attacks(location *time.Location) (words []string) {
	who := number(r.Attackers, "client", "clients")
	if r.Attackers == 0 {
		who = "no client"
	}
	letIn := "" // their tallies are gone
	switch {
	case r.Changes.Lifted.Count() > 0 && r.Counted() > 0:
		letIn = ", besides those that were let in again"
	case r.Attackers == 0:
		return []string{"No client failed."}
	}
	words = append(words, fmt.Sprintf("%s failed%s. %s counted%s.",
		upper(who), letIn, number(r.Counted(), "failure", "failures"), r.hour(location)))
	if len(r.Users.Named) > 0 && r.Users.Named[0].Attempts > 1 {
		u := r.Users.Named[0]
		words = append(words, fmt.Sprintf("The user name tried most%s was %s (%d).", r.hour(location), quoted(u.Name), u.Attempts))
	}
	if r.Near.Count() > 0 {
		words = append(words, number(r.Near.Count(), "client", "clients")+" came close to a ban: "+
			some(r.Near.Clients, r.Near.More, func(x NearMiss) string {
				return fmt.Sprintf("%s (%d of %d points)", ClientName(x.Prefix), x.Points, r.Near.MaxRetry)
			}))
	}
	return words
}

func (r Report) begun() (words []string) {
	c := r.Changes
	say := func(g Group, one, many string, name func(Change) string) {
		if g.Count() > 0 {
			words = append(words, number(g.Count(), one, many)+": "+some(g.Named, g.More, name))
		}
	}
	say(c.New, "client was banned for the first time", "clients were banned for the first time", plainly)
	say(c.Renewed, "client was banned again", "clients were banned again", func(c Change) string {
		return fmt.Sprintf("%s (ban %d)", ClientName(c.Prefix), c.Count)
	})
	say(c.ByHand, "ban was made by hand", "bans were made by hand", plainly)
	say(c.Spared, "client would have been banned, but is protected", "clients would have been banned, but are protected", func(c Change) string {
		return strings.TrimSuffix(ClientName(c.Prefix)+" ("+Printable(c.Why)+")", " ()")
	})
	say(c.Held, "ban is held back because of an outage (see OUTAGES in smtpban(8))",
		"bans are held back because of an outage (see OUTAGES in smtpban(8))", plainly)
	return words
}

func plainly(c Change) string { return ClientName(c.Prefix) }

func (r Report) ended() (words []string) {
	c := r.Changes
	var parts []string
	for _, g := range []struct {
		Group
		one, many string
	}{
		{c.Expired, "ban ran out", "bans ran out"},
		{c.Lapsed, "ban that was held back lapsed", "bans that were held back lapsed"},
	} {
		if g.Count() > 0 {
			parts = append(parts, number(g.Count(), g.one, g.many))
		}
	}
	if len(parts) > 0 {
		text := strings.Join(parts, ", ")
		if c.More {
			text = "At least " + text
		}
		words = append(words, text+".")
	}
	if c.Lifted.Count() > 0 {
		words = append(words, number(c.Lifted.Count(), "ban was", "bans were")+" lifted: "+some(c.Lifted.Named, c.Lifted.More, plainly))
	}
	return words
}

// odd says what an admin should look at.
func (r Report) odd() (words []string) {
	if n := len(r.Ineffective); n > 0 {
		words = append(words, number(n, "ban has", "bans have")+" no effect: "+
			some(r.Ineffective, 0, func(x Ineffective) string { return ClientName(x.Prefix) }))
	}
	if r.Surplus > 0 {
		words = append(words, number(r.Surplus, "prefix has", "prefixes have")+" no route: there are more than max_ipv4 or max_ipv6 allows.")
	}
	if n := len(r.Gaps); n > 0 {
		words = append(words, "The log has "+number(n, "gap", "gaps")+"; what was written there counts for nobody.")
	}
	if r.riddles() {
		words = append(words, "There are lines that no rule knows, see smtpban match --unknown.")
	}
	return words
}

// maxSome is how many a sentence names.
const maxSome = 5

// some names the first few of many, and ends the sentence.
func some[T any](all []T, more int, name func(T) string) string {
	var names []string
	for _, x := range all[:min(maxSome, len(all))] {
		names = append(names, name(x))
	}
	more += len(all) - len(names)
	switch last := len(names) - 1; {
	case more > 0:
		return fmt.Sprintf("%s and %d more.", strings.Join(names, ", "), more)
	case last > 0:
		return strings.Join(names[:last], ", ") + " and " + names[last] + "."
	}
	return strings.Join(names, "") + "."
}

func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// quoted is what a client chose, so that it can't pass for our words.
func quoted(s string) string { return strconv.Quote(Printable(s)) }
