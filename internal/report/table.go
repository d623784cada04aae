package report

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Table prints rows in columns as systemctl does: no borders, two blanks
// between columns, and the number of rows at the end.
//
// Where that is wider than the terminal, times lose their year, seconds and zone;
// then text is cut short, at its end in the last column, in its middle in others,
// but never a number nor the first column, which says what a row is about; then
// the columns with the spare headings are left out, the first of them first.
func (t Text) Table(w io.Writer, what string, header []string, rows [][]string, spare ...string) error {
	return t.longTable(w, what, header, len(rows), func(i int) []string { return rows[i] }, spare...)
}

// longTable is Table for n rows that are not kept in memory, but made when they are
// asked for, more than once.
func (t Text) longTable(w io.Writer, what string, header []string, n int, row func(i int) []string, spare ...string) error {
	g := &grid{n: n, row: row, legend: t.Legend, limit: t.Width}
	g.measure(header)
	if t.Width > 0 && g.total() > t.Width {
		g.fit(header, spare)
	}
	out := bufio.NewWriter(w)
	if t.Legend {
		heading := strings.TrimRight(g.line(header, func(_, cell string) string { return cell }), " ")
		fmt.Fprintln(out, t.Paint(Underlined, heading))
	}
	for i := range n {
		line := g.line(row(i), func(heading, cell string) string { return t.Paint(colourOf(heading, cell), cell) })
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
	if t.Legend {
		fmt.Fprintf(out, "\n%s\n", t.Wrap("", fmt.Sprintf("%d %s listed.", n, what)))
	}
	if t.Legend && g.cut {
		fmt.Fprintln(out, "Some of it is left out for want of room; -l shows all.")
	}
	return out.Flush()
}

// gap is between two columns.
const gap = 2

// grid is a table that is made to fit.
type grid struct {
	n       int
	row     func(i int) []string
	legend  bool
	columns []column
	limit   int  // of its width; 0 for none
	short   bool // are times
	cut     bool // is something
}

type column struct {
	heading string
	from    int // the number of the cell in a row
	width   int
	least   int // the width that it can be brought down to
}

// leastName is what is left of text where there is room for nothing more. In the last
// column it is a quarter of the terminal.
const leastName = 10

// measure finds out how wide the columns are.
func (g *grid) measure(header []string) {
	g.columns = make([]column, len(header))
	text := make([]bool, len(header))  // some cell is
	times := make([]bool, len(header)) // some cell is one
	for i, heading := range header {
		g.columns[i] = column{heading: heading, from: i}
	}
	for i := range g.n {
		for n, cell := range g.row(i) {
			short := shortTime(cell)
			if times[n] = times[n] || short != cell; g.short {
				cell = short
			}
			text[n] = text[n] || !isNumber(cell)
			c := &g.columns[n]
			c.width = max(c.width, utf8.RuneCountInString(cell))
		}
	}
	for i := range g.columns {
		c := &g.columns[i]
		c.least = leastName
		if i == len(g.columns)-1 {
			c.least = max(leastName, g.limit/4)
		}
		if i == 0 || times[i] || !text[i] { // of numbers and times a part means nothing
			c.least = max(c.least, c.width)
		}
		if g.legend {
			c.width = max(c.width, utf8.RuneCountInString(c.heading))
		}
		c.least = min(c.least, c.width)
	}
}

func isNumber(cell string) bool {
	_, err := strconv.ParseFloat(cell, 64)
	return err == nil || cell == "-" || cell == ""
}

// fit makes the table as narrow as it has to be.
func (g *grid) fit(header, spare []string) {
	g.short = true
	g.measure(header)
	for _, heading := range spare {
		if g.least() > g.limit {
			g.columns = slices.DeleteFunc(g.columns, func(c column) bool { return c.heading == heading })
			g.cut = true
		}
	}
	if g.least() > g.limit { // and nothing else helps
		for i := range g.columns {
			g.columns[i].least = min(g.columns[i].width, leastName)
		}
	}
	for excess := g.total() - g.limit; excess > 0; excess-- {
		c := g.widest()
		if c == nil {
			return
		}
		c.width--
	}
}

func (g *grid) total() int {
	return g.sum(func(c column) int { return c.width })
}

// least is how narrow the table can be made.
func (g *grid) least() int {
	return g.sum(func(c column) int { return c.least })
}

func (g *grid) sum(width func(column) int) int {
	sum := gap * (len(g.columns) - 1)
	for _, c := range g.columns {
		sum += width(c)
	}
	return sum
}

// widest returns what to take room from: the last column, then the widest other
// one, nil if none can spare any.
func (g *grid) widest() (found *column) {
	if last := &g.columns[len(g.columns)-1]; last.width > last.least {
		return last
	}
	for i := range g.columns {
		c := &g.columns[i]
		if c.width > c.least && (found == nil || c.width > found.width) {
			found = c
		}
	}
	return found
}

// line writes a row, its cells as show shows them.
func (g *grid) line(row []string, show func(heading, cell string) string) string {
	var line strings.Builder
	for i, c := range g.columns {
		cell := row[c.from]
		if g.short {
			cell = shortTime(cell)
		}
		short := Shorten(cell, c.width, i == len(g.columns)-1)
		g.cut = g.cut || short != cell
		line.WriteString(show(c.heading, short))
		if i < len(g.columns)-1 {
			line.WriteString(strings.Repeat(" ", c.width-utf8.RuneCountInString(short)+gap))
		}
	}
	return line.String()
}

// shortLayout is what is left of a time where there is little room.
const shortLayout = "01-02 15:04"

// shortTime shortens a cell that is a time, and no other.
func shortTime(cell string) string {
	if len(cell) < len(time.DateTime) {
		return cell
	}
	at, err := time.Parse(TimeLayout, cell)
	if err != nil {
		return cell
	}
	return at.Format(shortLayout)
}

// Shorten cuts a text down to so many characters, at its end or in its middle.
func Shorten(text string, width int, end bool) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	before := width / 2
	if end {
		before = width - 1
	}
	return string(runes[:before]) + "…" + string(runes[len(runes)-(width-1-before):])
}
