package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// row is a line of the table, with what measures it.
type row struct {
	number, what string
	measure      func(*bench, row) error
}

// Result is one figure of a row.
type Result struct {
	Row     string   `json:"row"`
	What    string   `json:"what"`
	Figure  string   `json:"figure"`
	Against string   `json:"against"` // what it is compared with, and its figure
	Ratio   *float64 `json:"ratio"`   // null where nothing is compared
	Goal    string   `json:"goal"`
	Met     *bool    `json:"met"` // null where it was not measured
}

// Report is all that a run found.
type Report struct {
	Machine string   `json:"machine"`
	Quick   bool     `json:"quick"`
	Seed    uint64   `json:"seed"`
	Results []Result `json:"results"`
}

// add notes a figure.
func (b *bench) add(r row, what, figure, against string, ratio float64, goal string, met bool) {
	if what != "" {
		what = r.what + ": " + what
	} else {
		what = r.what
	}
	result := Result{Row: r.number, What: what, Figure: figure, Against: against, Goal: goal, Met: &met}
	if ratio > 0 {
		result.Ratio = &ratio
	}
	b.results = append(b.results, result)
}

// skip notes that something could not be measured here.
func (b *bench) skip(r row, why, goal string) {
	b.results = append(b.results, Result{Row: r.number, What: r.what, Figure: why, Goal: goal})
}

// compare notes a ratio that may be so large.
func (b *bench) compare(r row, what string, ours, theirs time.Duration, ratio float64, name string, most float64) {
	b.add(r, what, show(ours), name+" "+show(theirs), ratio, fmt.Sprintf("at most %.2g", most), ratio <= most)
}

// show writes a duration with three digits that mean something.
func show(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 100*time.Millisecond:
		return fmt.Sprintf("%.0f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.1f ms", float64(d)/1e6)
}

// write prints the table, in the form that a page of Markdown has.
func (r Report) write(w io.Writer) error {
	cells := [][]string{{"row", "what", "figure", "against", "ratio", "goal", "met"}}
	for _, x := range r.Results {
		ratio, met := "", "not measured"
		if x.Ratio != nil {
			ratio = fmt.Sprintf("%.2f", *x.Ratio)
		}
		if x.Met != nil {
			met = map[bool]string{true: "yes", false: "**no**"}[*x.Met]
		}
		cells = append(cells, []string{x.Row, x.What, x.Figure, x.Against, ratio, x.Goal, met})
	}
	var text strings.Builder
	widths := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, c := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	for n, line := range cells {
		for i, c := range line {
			fmt.Fprintf(&text, "| %-*s ", widths[i], c)
		}
		text.WriteString("|\n")
		for i := range line {
			if n == 0 {
				fmt.Fprintf(&text, "|%s", strings.Repeat("-", widths[i]+2))
			}
		}
		if n == 0 {
			text.WriteString("|\n")
		}
	}
	_, err := fmt.Fprintf(w, "%s\n%s, seed %d%s\n", text.String(), r.Machine, r.Seed, map[bool]string{true: ", quick: a tenth of the entries"}[r.Quick])
	return err
}

// machine says what was measured, and where.
func machine(b *bench) string {
	version := func(name string, args ...string) string {
		out, _ := exec.Command(name, args...).Output()
		first, _, _ := strings.Cut(string(out), "\n")
		return first
	}
	var name unix.Utsname
	_ = unix.Uname(&name)
	release, _ := os.ReadFile("/etc/os-release")
	_, pretty, _ := strings.Cut(string(release), "PRETTY_NAME=\"")
	pretty, _, _ = strings.Cut(pretty, "\"")
	return fmt.Sprintf("%s, Linux %s, %d CPUs, %s, %s, %s, %s", pretty, unix.ByteSliceToString(name.Release[:]), runtime.NumCPU(),
		version("systemctl", "--version"), runtime.Version(), version("ip", "-V"), version(b.binary, "--version"))
}
