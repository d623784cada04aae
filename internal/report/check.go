package report

import (
	"fmt"
	"io"
	"slices"
)

// Result is what a check came to.
type Result string

// The results, the worst last.
const (
	Skipped Result = "skipped" // it could not be made, or has no sense here
	OK      Result = "ok"
	Warning Result = "warning" // smtpban works, but not as well as it could
	Fault   Result = "failure" // smtpban does not work, or soon will not
)

// Worse reports whether the result is worse than another one.
func (r Result) Worse(than Result) bool {
	order := []Result{Skipped, OK, Warning, Fault}
	return slices.Index(order, r) > slices.Index(order, than)
}

// Check is one thing that was looked at.
type Check struct {
	Name   string // stable, other programs rely on it
	Result Result
	Found  string
	Remedy string // what to do, "" if nothing
}

// WriteChecks prints the checks, then what to do.
func (t Text) WriteChecks(w io.Writer, checks []Check) error {
	var rows [][]string
	for _, c := range checks {
		rows = append(rows, []string{c.Name, string(c.Result), Printable(c.Found)})
	}
	if err := t.Table(w, "checks", []string{"CHECK", "RESULT", "FOUND"}, rows); err != nil {
		return err
	}
	before := "\n"
	for _, c := range checks {
		if c.Remedy == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s%s\n", before, t.Wrap(c.Name+": ", Printable(c.Remedy))); err != nil {
			return err
		}
		before = ""
	}
	return nil
}

type jsonCheck struct {
	Check  string  `json:"check"`
	Result Result  `json:"result"`
	Found  string  `json:"found"`
	Remedy *string `json:"remedy"` // null if there is nothing to do
}

// WriteChecksJSON writes the checks as a JSON array.
func WriteChecksJSON(w io.Writer, checks []Check) error {
	out := make([]jsonCheck, 0, len(checks))
	for _, c := range checks {
		j := jsonCheck{Check: c.Name, Result: c.Result, Found: c.Found}
		if c.Remedy != "" {
			j.Remedy = &c.Remedy
		}
		out = append(out, j)
	}
	return WriteJSON(w, out)
}
