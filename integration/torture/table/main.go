// Table prints what make torture found as integration/README.md shows it: a row for each
// name given, in this order.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"smtpban/integration/torture"
)

func main() {
	if err := table(os.Stdout, torture.Results("."), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

// table prints the results in a folder. Rows that were not run are left out.
func table(w io.Writer, folder string, rows []string) error {
	fmt.Fprintln(w, "| what | figure | seed | command |")
	fmt.Fprintln(w, "| --- | --- | --- | --- |")
	var where []string
	for _, row := range rows {
		r, err := torture.ReadResult(filepath.Join(folder, row+".json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "| %s | %s | %d | `make torture-%s` |\n", r.Title, figure(r), r.Seed, r.Row)
		line := fmt.Sprintf("smtpban %s on %s, %s", r.Version, r.Machine, r.Ended)
		if !slices.Contains(where, line) {
			where = append(where, line)
		}
	}
	fmt.Fprintln(w)
	for _, line := range where {
		fmt.Fprintln(w, line)
	}
	return nil
}

func figure(r torture.Result) string {
	if r.Figure == "" {
		return fmt.Sprintf("interrupted after %d of %d rounds, %d violations", r.Tally.Rounds, r.Wanted, r.Tally.Violations)
	}
	return fmt.Sprintf("%s; %d violations", r.Figure, r.Tally.Violations)
}
