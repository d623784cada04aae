package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// bench is what the rows share.
type bench struct {
	options
	plan    plan
	rounds  int    // pairs of measurements
	scratch string // a folder that is removed at the end
	anchor  string // the C program
	results []Result
	states  map[int]idleState // by the number of journal files
}

func newBench(o options) (*bench, error) {
	b := &bench{options: o, plan: plan{Seed: o.seed, Entries: 1_000_000, Clients: 5000}, rounds: 7, states: map[int]idleState{}}
	if o.quick {
		b.plan.Entries, b.plan.Clients, b.rounds = 100_000, 1000, 5
	}
	var err error
	if b.binary, err = filepath.Abs(o.binary); err != nil {
		return nil, err
	}
	if b.folder, err = filepath.Abs(o.folder); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(b.folder, "bench"), 0o755); err != nil {
		return nil, err
	}
	if b.scratch, err = os.MkdirTemp(filepath.Join(b.folder, "bench"), "run-"); err != nil {
		return nil, err
	}
	return b, b.compileAnchor()
}

func (b *bench) compileAnchor() error {
	b.anchor = filepath.Join(b.scratch, "anchor")
	out, err := exec.Command("cc", "-O2", "-Wall", "-o", b.anchor, "integration/bench/anchor/anchor.c", "-lsystemd").CombinedOutput()
	if err != nil {
		return fmt.Errorf("compiling the anchor: %w (it needs gcc and libsystemd-dev)\n%s", err, out)
	}
	return nil
}

// journal returns the folder of the journal in so many files.
func (b *bench) journal(files int) (dir string, truth Truth, err error) {
	return journalDir(filepath.Join(b.folder, "bench"), b.plan, files)
}

// use is what a process needed.
type use struct {
	cpu, wall time.Duration // user and system
	out       []byte
}

// execute runs a command, which must succeed.
func execute(name string, args ...string) (use, error) { return executeWith(nil, name, args...) }

func executeWith(env []string, name string, args ...string) (use, error) {
	cmd := exec.Command(name, args...)
	var out, said bytes.Buffer
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &said
	begin := time.Now()
	err := cmd.Run()
	if err != nil {
		return use{}, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, said.String())
	}
	return use{cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), time.Since(begin), out.Bytes()}, nil
}

// ip runs ip(8).
func (b *bench) ip(args ...string) error {
	_, err := execute("ip", args...)
	return err
}

// measurement takes one sample of the CPU time of what is compared.
type measurement func() (time.Duration, error)

// command is the measurement of a command that is run n times.
func command(n int, name string, args ...string) measurement {
	return func() (time.Duration, error) {
		var total time.Duration
		for range n {
			u, err := execute(name, args...)
			if err != nil {
				return 0, err
			}
			total += u.cpu
		}
		return total / time.Duration(n), nil
	}
}

// prepared is a measurement before which something is done that is not measured.
func prepared(prepare func() error, m measurement) measurement {
	return func() (time.Duration, error) {
		if err := prepare(); err != nil {
			return 0, err
		}
		return m()
	}
}

// pairs takes the samples by turns, after one of each that does not count, and
// returns the median of each and of the ratios of the pairs: what else happens on
// the machine then concerns both.
func pairs(rounds int, ours, theirs measurement) (a, b time.Duration, ratio float64, err error) {
	var as, bs []time.Duration
	var ratios []float64
	for i := range rounds + 1 {
		x, errX := ours()
		y, errY := theirs()
		if err := errors.Join(errX, errY); err != nil {
			return 0, 0, 0, err
		}
		if i > 0 {
			as, bs, ratios = append(as, x), append(bs, y), append(ratios, float64(x)/float64(y))
		}
	}
	return median(as), median(bs), median(ratios), nil
}

// single takes the samples of one thing alone.
func single(rounds int, m measurement) (time.Duration, error) {
	a, _, _, err := pairs(rounds, m, func() (time.Duration, error) { return 1, nil })
	return a, err
}

func median[T time.Duration | float64](values []T) T {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}
