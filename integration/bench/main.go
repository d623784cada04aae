// Bench measures smtpban beside a small C program, ip(8), journalctl(1) and
// fail2ban on a journal that it makes itself, and prints which goals are met. It
// must run as root: it works in a network namespace of its own.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == childArgument {
		exit(child(os.Args[2:]))
	}
	var o options
	flag.BoolVar(&o.quick, "quick", false, "a smaller journal and fewer repetitions, for a first impression")
	flag.StringVar(&o.rows, "rows", "", "measure only these rows, such as 1,4,5")
	flag.StringVar(&o.folder, "folder", "build", "where the binary, the journals and bench.json are kept")
	flag.StringVar(&o.binary, "binary", "bin/smtpban", "the program to measure")
	flag.Uint64Var(&o.seed, "seed", 1, "of the journal")
	flag.Parse()
	if os.Getenv(insideVariable) == "" {
		fetchPeers(o.folder)
		exit(enter())
	}
	exit(run(o))
}

type options struct {
	quick                bool
	rows, folder, binary string
	seed                 uint64
}

func exit(err error) {
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed) && failed.ExitCode() > 0:
		os.Exit(failed.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// insideVariable tells that the process is in a network namespace of its own.
const insideVariable = "SMTPBAN_BENCH_INSIDE"

// enter runs the bench once more, in a network namespace of its own.
func enter() error {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	err := cmd.Run()
	if errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("making a network namespace: %w (run as root)", err)
	}
	return err
}

func run(o options) error {
	b, err := newBench(o)
	if err != nil {
		return err
	}
	defer os.RemoveAll(b.scratch)
	if err := b.ip("link", "set", "lo", "up"); err != nil {
		return err
	}
	wanted := strings.FieldsFunc(o.rows, func(r rune) bool { return r == ',' })
	for _, row := range rows() {
		if len(wanted) > 0 && !slices.Contains(wanted, row.number) {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: row %s: %s\n", row.number, row.what)
		if err := row.measure(b, row); err != nil {
			return fmt.Errorf("row %s (%s): %w", row.number, row.what, err)
		}
	}
	report := Report{Machine: machine(b), Quick: o.quick, Seed: o.seed, Results: b.results}
	text, err := json.MarshalIndent(report, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.folder, "bench.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return report.write(os.Stdout)
}
