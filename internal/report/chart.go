package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"smtpban/internal/ban"
)

// chart is a drawing of columns over time, in the units of its viewBox. It is
// drawn twice, for wide and for narrow windows: letters that shrink with the
// window can't be read.
type chart struct {
	Width, Height int
	Left, Right   int // of the area with columns
	Bottom        int
	Columns       []bar
	Lines         []gridLine // from the bottom up
	Ticks         []tick
}

// bar is a piece of a column, with what a pointer over it shows.
type bar struct {
	X, Y, Width, Height float64
	Colour              int
	Title               string
}

type gridLine struct {
	Y     int
	Label string
}

type tick struct {
	X     int
	Label string
}

// series is what a colour stands for.
type series struct {
	Colour int
	Name   string
	Total  int
	class  ban.Class // 0 for all that have no colour of their own
}

const (
	maxColumns = 72 // of a wide chart: narrower ones can't be told apart
	maxColours = 5  // and one for the rest
)

// bin is some hours of which a chart makes one column.
type bin struct {
	begin, end time.Time
	parts      []int // by colour
}

// binHours returns of how many hours a column is made.
func binHours(hours, columns int) int {
	for _, n := range []int{1, 2, 3, 4, 6, 12, 24, 48} {
		if (hours+n-1)/n <= columns {
			return n
		}
	}
	return 7 * 24
}

// legend gives the classes colours that were seen most, and all others one.
func legend(hours []Hour) []series {
	sum := map[ban.Class]int{}
	for _, h := range hours {
		for class, n := range h.Attempts {
			sum[class] += n
		}
	}
	var all []series
	for class, n := range sum {
		all = append(all, series{Name: class.String(), Total: n, class: class})
	}
	slices.SortFunc(all, func(a, b series) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.class, b.class))
	})
	if len(all) > maxColours+1 {
		rest := series{Name: "others"}
		for _, s := range all[maxColours:] {
			rest.Total += s.Total
		}
		all = append(all[:maxColours], rest)
	}
	for i := range all {
		all[i].Colour = i
	}
	return all
}

// attemptBins adds up the attempts by their colour.
func attemptBins(hours []Hour, legend []series, n int) (bins []bin) {
	colours := map[ban.Class]int{}
	for _, s := range legend {
		colours[s.class] = s.Colour
	}
	for some := range slices.Chunk(hours, n) {
		b := newBin(some, len(legend))
		for _, h := range some {
			for class, count := range h.Attempts {
				colour, known := colours[class]
				if !known {
					colour = len(legend) - 1
				}
				b.parts[colour] += count
			}
		}
		bins = append(bins, b)
	}
	return bins
}

// banBins has the most bans at the end of any of the hours.
func banBins(hours []Hour, n int) (bins []bin) {
	for some := range slices.Chunk(hours, n) {
		b := newBin(some, 1)
		for _, h := range some {
			b.parts[0] = max(b.parts[0], h.Bans)
		}
		bins = append(bins, b)
	}
	return bins
}

func newBin(hours []Hour, colours int) bin {
	return bin{hours[0].Start, hours[len(hours)-1].Start.Add(time.Hour), make([]int, colours)}
}

// draw makes a chart of bins. what says what each colour counts.
func (t Text) draw(bins []bin, width int, what func(colour, n int) string) chart {
	const height, top, bottom, left, right = 220, 12, 190, 44, 8
	c := chart{Width: width, Height: height, Left: left, Right: width - right, Bottom: bottom}
	most := 0
	for _, b := range bins {
		most = max(most, b.sum())
	}
	step := gridStep(most)
	scale := float64(bottom-top) / float64(max(step*((most+step-1)/step), 1))
	for n := 0; n <= most+step-1; n += step {
		c.Lines = append(c.Lines, gridLine{bottom - int(math.Round(float64(n)*scale)), short(n)})
	}
	pitch := min(float64(c.Right-left)/float64(max(len(bins), 1)), 60)
	for i, b := range bins {
		x, y := float64(left)+float64(i)*pitch, float64(bottom)
		for colour, n := range b.parts {
			if n == 0 {
				continue
			}
			h := float64(n) * scale
			y -= h
			c.Columns = append(c.Columns, bar{
				X: round(x + pitch*0.08), Y: round(y), Width: round(max(pitch*0.84, 0.5)), Height: round(max(h, 0.5)),
				Colour: colour, Title: t.span(b) + ": " + what(colour, n),
			})
		}
	}
	c.Ticks = t.ticks(bins, float64(left), float64(c.Right), pitch)
	return c
}

func (b bin) sum() (n int) {
	for _, part := range b.parts {
		n += part
	}
	return n
}

// round keeps a tenth of a unit: more is not seen and makes the page long.
func round(x float64) float64 { return math.Round(x*10) / 10 }

// gridStep returns a round number of which two to five reach the top.
func gridStep(most int) int {
	for unit := 1; ; unit *= 10 {
		for _, n := range []int{1, 2, 5} {
			if n*unit*4 >= most {
				return n * unit
			}
		}
	}
}

// short writes a number on little room.
func short(n int) string {
	switch {
	case n >= 1_000_000:
		return fmt.Sprintf("%gM", math.Round(float64(n)/1e5)/10)
	case n >= 10_000:
		return fmt.Sprintf("%gk", math.Round(float64(n)/1e3))
	}
	return fmt.Sprint(n)
}

// span names the time of a column.
func (t Text) span(b bin) string {
	begin, end := b.begin.In(t.Location), b.end.In(t.Location)
	return begin.Format("2 Jan 15:04") + " – " + end.Format("15:04")
}

// ticks labels some of the columns: where another day, or another part of it, begins.
func (t Text) ticks(bins []bin, left, right, pitch float64) (ticks []tick) {
	if len(bins) == 0 {
		return nil
	}
	hours := int(bins[len(bins)-1].end.Sub(bins[0].begin) / time.Hour)
	layout, width := "15:04", 60.0
	switch {
	case hours > 7*24:
		layout = "2 Jan"
	case hours > 36:
		layout, width = "2 Jan 15:04", 100
	}
	every := 14 * 24
	for _, n := range []int{1, 2, 3, 4, 6, 12, 24, 48, 7 * 24} {
		if float64(hours)/float64(n)*width <= right-left && (hours <= 7*24 || n >= 24) {
			every = n
			break
		}
	}
	last, free := -1, left // where there is room for a label
	for i, b := range bins {
		local := b.begin.In(t.Location)
		_, offset := local.Zone()
		part := int((local.Unix() + int64(offset)) / 3600 / int64(every))
		if x := left + float64(i)*pitch; part != last && x >= free && x <= right-width/2+10 {
			ticks = append(ticks, tick{int(math.Round(x)), local.Format(layout)})
			free = x + width
		}
		last = part
	}
	return ticks
}
