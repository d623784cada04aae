package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// anonymous runs a command and returns its anonymous memory at its highest, in
// bytes. The kernel keeps no record of the highest RssAnon, so it is asked all the
// time; mapped pages of journal and state, which it can take back, do not count.
func anonymous(name string, args ...string) (highest int, err error) {
	cmd := exec.Command(name, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	watched := make(chan int)
	go func() { watched <- watch(cmd.Process.Pid, ended) }()
	err = cmd.Wait()
	close(ended)
	highest = <-watched
	if err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, said.String())
	}
	return highest, nil
}

// watch looks for the highest RssAnon of a process, see proc(5).
func watch(pid int, ended chan struct{}) (highest int) {
	file := fmt.Sprintf("/proc/%d/status", pid)
	for {
		select {
		case <-ended:
			return highest
		case <-time.After(100 * time.Microsecond):
		}
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		if _, rest, ok := bytes.Cut(text, []byte("\nRssAnon:")); ok {
			kib, err := strconv.Atoi(string(bytes.Fields(rest)[0]))
			if err == nil {
				highest = max(highest, kib<<10)
			}
		}
	}
}

// memory is row 11.
func memory(b *bench, r row) error {
	analysis, _, _, err := b.analysis()
	if err != nil {
		return err
	}
	s, err := b.idleOn(files)
	if err != nil {
		return err
	}
	config, _, err := b.stateOf(b.many())
	if err != nil {
		return err
	}
	first := filepath.Join(b.scratch, "first.db")
	scan := append([]string{"block", "--state", first, "--no-routes"}, analysis[1:len(analysis)-2]...)
	reconcile := []string{"restore", "--config", config, "--now", now()}
	for _, x := range []struct {
		what    string
		prepare func() error
		args    []string
		most    int // MiB
	}{
		{"the first run, which reads the whole journal", func() error { return removed(first) }, scan, 16},
		{"the whole journal simulated", func() error { return nil }, analysis, 16},
		{"idle run", func() error { return b.routesOf(s) }, s.block, 8},
		{"100,000 bans restored", b.flush, reconcile, 48},
		{"100,000 bans reconciled", func() error { return nil }, reconcile, 48},
	} {
		worst := 0
		for range 3 {
			if err := x.prepare(); err != nil {
				return err
			}
			got, err := anonymous(b.binary, x.args...)
			if err != nil {
				return err
			}
			worst = max(worst, got)
		}
		b.add(r, x.what, fmt.Sprintf("%.1f MB", float64(worst)/1e6), "", 0, fmt.Sprintf("at most %d MB", x.most), worst <= x.most*1_000_000)
	}
	return b.flush()
}

// start is row 12. A run that finds no journal ends where it would read the first
// of it; before that it has read its configuration and its state.
func start(b *bench, r row) error {
	info, err := os.Stat(b.binary)
	if err != nil {
		return err
	}
	b.add(r, "stripped binary", fmt.Sprintf("%.1f MB", float64(info.Size())/1e6), "", 0, "at most 12 MB", info.Size() <= 12_000_000)
	s, err := b.idleOn(files)
	if err != nil {
		return err
	}
	args := append([]string{"-D", b.scratch + "/nowhere", "--state", s.state, "--no-routes"}, s.block[1:]...)
	first := func() (time.Duration, error) {
		var total time.Duration
		for range often {
			cmd := exec.Command(b.binary, append([]string{"block"}, args...)...)
			var exit *exec.ExitError
			if err := cmd.Run(); !errors.As(err, &exit) {
				return 0, fmt.Errorf("%v: it found a journal: %w", cmd, err)
			}
			total += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		}
		return total / often, nil
	}
	nothing, err := b.compileNothing()
	if err != nil {
		return err
	}
	ours, theirs, ratio, err := pairs(b.rounds, first, command(often, nothing))
	if err != nil {
		return err
	}
	b.add(r, "start to the first read of the journal", show(ours), "Go with cgo "+show(theirs), ratio, "at most 3 ms", ours <= 3*time.Millisecond)
	return nil
}

// compileNothing makes a program that only starts and ends, as no program of its
// kind can do in less.
func (b *bench) compileNothing() (program string, err error) {
	program = filepath.Join(b.scratch, "nothing")
	const text = "package main\n\nimport \"C\"\n\nfunc main() {}\n"
	if err := os.WriteFile(program+".go", []byte(text), 0o644); err != nil {
		return "", err
	}
	_, err = executeWith([]string{"CGO_ENABLED=1"}, "go", "build", "-ldflags", "-s -w", "-o", program, program+".go")
	return program, err
}
