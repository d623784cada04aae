package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/pass"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

const defaultConfig = "/etc/smtpban/smtpban.toml"

// patience is how long a command waits for another run to end.
const patience = 10 * time.Second

// app is what the commands share: the flags and what follows from them.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	log    *logger

	configPath string
	statePath  string // "" means as configured
	nowText    string
	output     string
	noLegend   bool
	full       bool // nothing is shortened to fit the terminal
	dryRun     bool
	confirm    bool
	noRoutes   bool
	input      inputFlags
	brief      bool // leave the routes alone if nothing that is read changes a ban, and say nothing of what is not read

	trust bool // the state is not looked at as a whole if nobody has changed it
	held  bool // this run has held back bans
	now   time.Time
}

func (a *app) addGlobalFlags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&a.configPath, "config", defaultConfig, "configuration `FILE`")
	f.StringVar(&a.statePath, "state", "", "state `FILE` (default as configured)")
	f.StringVar(&a.nowText, "now", "", "take `TIME` for the present time (default the clock)")
	f.BoolVarP(&a.log.quiet, "quiet", "q", false, "say nothing but warnings and errors")
	f.BoolVarP(&a.log.verbose, "verbose", "v", false, "say more")
}

// addWriteFlags adds the flags of commands that change something.
func (a *app) addWriteFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&a.dryRun, "dry-run", false, "only say what would be done")
	f.BoolVar(&a.noRoutes, "no-routes", false, "leave the kernel's routes alone")
}

// addOutputFlags adds the flags of commands that print tables, in these formats
// besides text and JSON.
func (a *app) addOutputFlags(cmd *cobra.Command, formats ...string) {
	formats = append([]string{"text", "json"}, formats...)
	f := cmd.Flags()
	f.VarP(&choice{&a.output, formats}, "output", "o", "print `FORMAT`: "+strings.Join(formats, ", "))
	f.BoolVar(&a.noLegend, "no-legend", false, "print no headings and no total")
	a.addFullFlag(cmd)
	cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

func (a *app) addFullFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&a.full, "full", "l", false, "shorten nothing that is wider than the terminal")
}

// text says how to print for people, on whatever standard output is.
func (a *app) text() report.Text {
	t := report.Text{Location: time.Local, Legend: !a.noLegend, Colour: coloured(a.stdout)}
	if !a.full {
		t.Width = width(a.stdout)
	}
	return t
}

// prepare checks the global flags.
func (a *app) prepare() error {
	a.now = time.Now()
	if a.nowText != "" {
		now, err := config.ParseTime(a.nowText, a.now, time.Local)
		if err != nil {
			return usageError{fmt.Errorf("--now: %w", err)}
		}
		a.now = now
	}
	a.now = a.now.Truncate(time.Microsecond).UTC()
	return nil
}

// loadConfig reads the configuration, which must exist only where the user
// says so.
func (a *app) loadConfig() (config.Config, error) {
	load := config.Load
	if a.configPath == defaultConfig {
		load = config.LoadOptional
	}
	cfg, err := load(a.configPath)
	if err != nil {
		return config.Config{}, configError{err}
	}
	return cfg, nil
}

// state returns the store that is only looked at.
func (a *app) state(cfg config.Config) *store.Store {
	path := cmp.Or(a.statePath, cfg.Store.Path)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // for whoever comes by a link it is the same, with the same lock
	}
	return store.New(path)
}

// existing returns the configuration and the state that is only looked at, which must
// not be one that was lost.
func (a *app) existing() (config.Config, *store.Store, error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return config.Config{}, nil, err
	}
	s := a.state(cfg)
	return cfg, s, lost(s)
}

// begin starts a pass over the state. It holds the lock until end is called. A
// dry run works on a copy, and one over another log than this machine's, with no
// state named, on an empty state.
func (a *app) begin(cfg config.Config) (p pass.Pass, end func(), err error) {
	debug.SetMemoryLimit(allowance(cfg.Route))
	s := a.state(cfg)
	switch {
	case a.elsewhere():
		s, end, err = store.Empty()
	case a.dryRun:
		real := s
		s, end, err = s.Scratch()
		err = a.hint(real, err)
	default:
		end, err = s.Lock(patience)
	}
	if errors.Is(err, store.ErrLocked) {
		err = fmt.Errorf("%w, for %s (try again; systemctl list-units 'smtpban-*' tells what runs)", err, config.FormatSpan(patience))
	}
	if err != nil {
		return pass.Pass{}, nil, err
	}
	if a.trust {
		s.Trust()
	}
	// What an admin does to this machine's bans by hand belongs into the log
	// of it that the units keep.
	a.log.audit = !a.dryRun && a.statePath == ""
	return pass.Pass{Store: s, Policy: cfg.Policy, Limits: limits(cfg.Route), Now: a.now, Hold: !a.input.given()}, end, nil
}

// allowance is how much memory may be used before what is no longer used is collected
// all the time: who lets more have routes than usual has them held in memory.
func allowance(r config.Route) int64 {
	const perRoute = 300 // bytes: of the ban, and of what there is in the kernel
	usual := config.Defaults().Route
	more := max(0, r.MaxIPv4-usual.MaxIPv4) + max(0, r.MaxIPv6-usual.MaxIPv6)
	return memoryGoal + perRoute*int64(more)
}

func limits(r config.Route) ban.Limits { return ban.Limits{IPv4: r.MaxIPv4, IPv6: r.MaxIPv6} }

// elsewhere reports whether this is a dry run over another machine's log, which
// has nothing to do with the bans and routes of this one.
func (a *app) elsewhere() bool { return a.dryRun && a.input.given() && a.statePath == "" }

// globs resolves the patterns of --file.
func globs(patterns []string) ([]string, error) {
	var files []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, usageError{fmt.Errorf("--file: %q: %w", pattern, err)}
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("--file: no file matches %q (journal files are in a directory below /var/log/journal)", pattern)
		}
		files = append(files, found...)
	}
	return files, nil
}
