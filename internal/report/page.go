package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"smtpban/internal/ban"
)

// page is the report as the templates of HTML want it. Everything in it is text for
// people; the templates escape it.
type page struct {
	Title    string
	Host     string
	Since    string
	Until    string
	Zone     string
	Headline string
	Quiet    bool
	Words    []string
	Figures  []figure

	PerColumn string // of what a column of the charts is made
	Attempts  []chart
	Legend    []series
	Bans      []chart

	Tables []table
}

// figure is a number that is worth large letters.
type figure struct {
	Number string
	Name   string
	Alarm  bool // somebody should look at it
}

// table is one of the page's. The first column tells the rows apart; a number in
// Bars is drawn beside it, in percent of the longest.
type table struct {
	Title   string
	Note    string
	Columns []heading
	Rows    [][]cell
	More    string
}

type heading struct {
	Name  string
	Right bool // numbers stand one below the other
	Wide  bool // left out in a narrow window
}

type cell struct {
	Text  string
	Code  bool   // an address, or what a client chose
	State string // a name of a colour
	Bar   int    // percent; 0 for none
	heading
}

// How many rows of each table a page has; whoever wants more looks at text or JSON.
const (
	pageRows = 100
	pageTop  = 20
	narrow   = 360
	wide     = 760
)

// pageTime is how a page writes a time in full.
const pageTime = "2 Jan 2006 15:04"

// page makes the page of a report.
func (t Text) page(r Report) page {
	p := page{
		Title: r.Subject(), Host: Printable(r.Host), Since: "From the beginning", Until: r.Until.In(t.Location).Format(pageTime),
		Zone: r.Until.In(t.Location).Format("MST"), Headline: upper(r.Headline()), Quiet: r.Quiet(), Words: r.Words(t.Location),
	}
	if !r.Since.IsZero() {
		p.Since = "From " + t.moment(r.Since, r.Until)
		if zone := r.Since.In(t.Location).Format("MST"); zone != p.Zone { // the clock was set forward or back
			p.Since += " " + zone
		}
	}
	if p.Quiet { // what was seen in the hour of Since, the last report has told
		r = Report{Until: r.Until, Bans: r.Bans, MoreBans: r.MoreBans}
	}
	p.Figures = figures(r)
	t.drawCourse(&p, r)
	for _, table := range []table{
		t.clientTable(r), t.networkTable(r), t.userTable(r), t.nearTable(r), t.ineffectiveTable(r), t.banTable(r), t.gapTable(r), classTable(r), t.unknownTable(r),
	} {
		if len(table.Rows) > 0 {
			p.Tables = append(p.Tables, table)
		}
	}
	return p
}

// Subject says whose report this is, and what is most important in it.
func (r Report) Subject() string {
	if r.Host == "" {
		return "smtpban: " + r.Headline()
	}
	return "smtpban on " + Printable(r.Host) + ": " + r.Headline()
}

// moment writes a time without the year, where that is clear.
func (t Text) moment(at, now time.Time) string {
	layout := "2 Jan 15:04"
	if at.In(t.Location).Year() != now.In(t.Location).Year() {
		layout = pageTime
	}
	return at.In(t.Location).Format(layout)
}

func figures(r Report) []figure {
	c := r.Changes
	all := []figure{
		{strconv.Itoa(c.New.Count()), "new bans", false},
		{strconv.Itoa(c.Renewed.Count()), "renewed", false},
		{strconv.Itoa(c.Expired.Count() + c.Lapsed.Count() + c.Lifted.Count()), "ended", false},
		{strconv.Itoa(r.InForce()), "in force", false},
		{strconv.Itoa(r.Attackers), "clients failed", false},
		{strconv.Itoa(r.Counted()), "failures", false},
		{strconv.Itoa(r.Near.Count()), "near misses", false},
	}
	if n := c.ByHand.Count(); n > 0 {
		all = slices.Insert(all, 2, figure{strconv.Itoa(n), "by hand", false})
	}
	for _, odd := range []struct {
		n    int
		name string
	}{
		{c.Held.Count(), "held back"}, {c.Spared.Count(), "protected"}, {r.Surplus, "without a route"}, {len(r.Ineffective), "without effect"}, {len(r.Gaps), "gaps in the log"},
	} {
		if odd.n > 0 {
			all = append(all, figure{strconv.Itoa(odd.n), odd.name, true})
		}
	}
	return all
}

// drawCourse draws attempts and bans, each for wide and narrow windows.
func (t Text) drawCourse(p *page, r Report) {
	colours := legend(r.Hours)
	bans := 0
	for _, h := range r.Hours {
		bans = max(bans, h.Bans)
	}
	n := binHours(len(r.Hours), maxColumns)
	switch n {
	case 1:
		p.PerColumn = "hour"
	case 24:
		p.PerColumn = "day"
	default:
		p.PerColumn = fmt.Sprintf("%d hours", n)
	}
	for _, width := range []int{wide, narrow} {
		if len(colours) > 0 {
			p.Attempts = append(p.Attempts, t.draw(attemptBins(r.Hours, colours, n), width, func(colour, n int) string {
				return fmt.Sprintf("%s %d", colours[colour].Name, n)
			}))
		}
		if bans > 0 {
			p.Bans = append(p.Bans, t.draw(banBins(r.Hours, n), width, func(_, n int) string { return number(n, "ban", "bans") }))
		}
	}
	p.Legend = colours
}

// newTable lays out rows below headings.
func newTable(title string, columns []heading, rows [][]cell) table {
	for _, row := range rows {
		for i := range row {
			row[i].heading = columns[i]
		}
	}
	return table{Title: title, Columns: columns, Rows: rows}
}

func (t table) more(n int, what string) table {
	if n > 0 {
		t.More = fmt.Sprintf("and %d more%s", n, what)
	}
	return t
}

// percent is how long a bar is, never so short that it is not seen.
func percent(n, most int) int {
	if n == 0 || most == 0 {
		return 0
	}
	return max(1, n*100/most)
}

func (t Text) clientTable(r Report) table {
	var rows [][]cell
	for _, c := range r.Clients[:min(pageTop, len(r.Clients))] {
		rows = append(rows, []cell{
			{Text: ClientName(c.Prefix), Code: true}, {Text: strconv.Itoa(c.Failures), Bar: percent(c.Failures, r.Clients[0].Failures)},
			{Text: t.moment(c.Last, r.Until)}, {Text: string(c.State), State: string(c.State)},
		})
	}
	x := newTable("Top clients", []heading{{Name: "Client"}, {Name: "Failures"}, {Name: "Latest", Wide: true}, {Name: "State"}}, rows).
		more(len(r.Clients)-len(rows)+r.MoreClients, " clients")
	x.Note = "All failures of each client's tally, which may have begun earlier."
	return x
}

func (t Text) networkTable(r Report) table {
	var rows [][]cell
	for _, n := range r.Networks[:min(maxTop, len(r.Networks))] {
		rows = append(rows, []cell{
			{Text: n.Prefix.String(), Code: true}, {Text: strconv.Itoa(n.Failures), Bar: percent(n.Failures, r.Networks[0].Failures)},
			{Text: strconv.Itoa(n.Clients)},
		})
	}
	x := newTable("Top networks", []heading{{Name: "Network"}, {Name: "Failures"}, {Name: "Clients", Right: true}}, rows).
		more(len(r.Networks)-len(rows), " networks")
	x.Note = "From which several clients failed."
	return x
}

func (t Text) userTable(r Report) table {
	var rows [][]cell
	for _, u := range r.Users.Named[:min(maxTop, len(r.Users.Named))] {
		rows = append(rows, []cell{
			{Text: quoted(u.Name), Code: true}, {Text: strconv.Itoa(u.Attempts), Bar: percent(u.Attempts, r.Users.Named[0].Attempts)},
		})
	}
	x := newTable("Top targeted user names", []heading{{Name: "User name"}, {Name: "Attempts"}}, rows)
	rest := r.Users.Others
	for _, u := range r.Users.Named[len(rows):] {
		rest += u.Attempts
	}
	return x.more(rest, " attempts for other names")
}

func (t Text) nearTable(r Report) table {
	var rows [][]cell
	for _, x := range r.Near.Clients[:min(pageTop, len(r.Near.Clients))] {
		rows = append(rows, []cell{
			{Text: ClientName(x.Prefix), Code: true},
			{Text: fmt.Sprintf("%d of %d", x.Points, r.Near.MaxRetry), Bar: min(100, percent(x.Points, r.Near.MaxRetry))},
			{Text: t.moment(x.At, r.Until)},
		})
	}
	return newTable("Near misses", []heading{{Name: "Client"}, {Name: "Points"}, {Name: "Latest", Wide: true}}, rows).
		more(r.Near.Count()-len(rows), " clients")
}

func (t Text) ineffectiveTable(r Report) table {
	var rows [][]cell
	for _, x := range r.Ineffective[:min(pageTop, len(r.Ineffective))] {
		rows = append(rows, []cell{{Text: ClientName(x.Prefix), Code: true}, {Text: t.moment(x.Since, r.Until)}, {Text: t.moment(x.Last, r.Until)}})
	}
	x := newTable("Bans without effect", []heading{{Name: "Client"}, {Name: "Blocked since"}, {Name: "Latest failure"}}, rows).
		more(len(r.Ineffective)-len(rows), " clients")
	x.Note = "Postfix logged failures of these clients more than five minutes after our route blocked them. smtpban report says what may cause it."
	return x
}

func (t Text) banTable(r Report) table {
	var rows [][]cell
	for _, b := range r.Bans[:min(pageRows, len(r.Bans))] {
		until := "forever"
		if b.Until.Before(ban.Forever) {
			until = t.moment(b.Until, r.Until)
		}
		rows = append(rows, []cell{
			{Text: ClientName(b.Prefix), Code: true}, {Text: b.Cause()}, {Text: strconv.Itoa(b.Failures)},
			{Text: t.moment(b.Start, r.Until)}, {Text: until}, {Text: strconv.Itoa(b.Count)}, {Text: string(state(b)), State: banState(b)}, {Text: Printable(b.Reason)},
		})
	}
	return newTable("Bans in force", []heading{
		{Name: "Prefix"}, {Name: "Class", Wide: true}, {Name: "Failures", Right: true, Wide: true}, {Name: "Start", Wide: true},
		{Name: "Until"}, {Name: "Count", Right: true, Wide: true}, {Name: "State"}, {Name: "Reason", Wide: true},
	}, rows).more(r.InForce()-len(rows), ": smtpban list")
}

// banState is the state of a ban, but one that should have a route and has none is
// no mere open client.
func banState(b Ban) string {
	if s := state(b); s != Open {
		return string(s)
	}
	return "missing"
}

func (t Text) gapTable(r Report) table {
	known := func(at time.Time) string {
		if at.IsZero() {
			return "–"
		}
		return t.moment(at, r.Until)
	}
	var rows [][]cell
	for _, g := range r.Gaps[:min(pageTop, len(r.Gaps))] {
		lost := "–"
		if g.Lost > 0 {
			lost = strconv.Itoa(g.Lost)
		}
		rows = append(rows, []cell{{Text: known(g.From)}, {Text: known(g.To)}, {Text: lost}, {Text: Printable(g.Reason)}})
	}
	return newTable("Gaps in the log", []heading{{Name: "From"}, {Name: "To"}, {Name: "Lost", Right: true}, {Name: "Reason"}}, rows).
		more(len(r.Gaps)-len(rows), " gaps")
}

func classTable(r Report) table {
	var rows [][]cell
	for _, s := range r.Seen {
		rows = append(rows, []cell{{Text: s.Class.String()}, {Text: strconv.Itoa(s.Events)}, {Text: strconv.Itoa(s.Counted)}})
	}
	return newTable("Events by class", []heading{{Name: "Class"}, {Name: "Events", Right: true}, {Name: "Counted", Right: true}}, rows)
}

func (t Text) unknownTable(r Report) table {
	var rows [][]cell
	for _, s := range r.Unknown[:min(pageTop, len(r.Unknown))] {
		rows = append(rows, []cell{{Text: strconv.Itoa(s.Count)}, {Text: t.moment(s.Last, r.Until)}, {Text: cmp.Or(Printable(s.Text), "(others)"), Code: true}})
	}
	return newTable("Lines that no rule knows", []heading{{Name: "Lines", Right: true}, {Name: "Latest", Wide: true}, {Name: "Shape"}}, rows).
		more(len(r.Unknown)-len(rows), ": smtpban match --unknown")
}
