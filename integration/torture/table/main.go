// Table prints what make torture found as the README shows it: a row for each
// name given, in this order.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"smtpban/integration/torture"
)

func main() {
	if err := table(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

func table(rows []string) error {
	fmt.Println("| what | figure | seed | `make torture` with |")
	fmt.Println("| --- | --- | --- | --- |")
	var machines []string
	seen := map[string]bool{}
	for _, row := range rows {
		r, err := torture.ReadResult(filepath.Join(torture.Results("."), row+".json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %s | %d | `ROW=%s` |\n", r.Title, figure(r), r.Seed, r.Row)
		where := fmt.Sprintf("smtpban %s on %s, %s", r.Version, r.Machine, r.Ended)
		if !seen[where] {
			machines = append(machines, where)
		}
		seen[where] = true
	}
	fmt.Println()
	for _, where := range machines {
		fmt.Println(where)
	}
	return nil
}

func figure(r torture.Result) string {
	if r.Figure == "" {
		return fmt.Sprintf("interrupted after %d of %d rounds, %d violations", r.Tally.Rounds, r.Wanted, r.Tally.Violations)
	}
	return fmt.Sprintf("%s, %d violations", r.Figure, r.Tally.Violations)
}
