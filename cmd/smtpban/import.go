package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"smtpban/internal/config"
	"smtpban/internal/journal"
	"smtpban/internal/pass"
	"smtpban/internal/postfix"
	"smtpban/internal/store"
)

func newImportCommand(a *app) *cobra.Command {
	var replace bool
	var o origin
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Read an exported state, or the bans of another program",
		Long: "Make a state of the FILE that smtpban export wrote, - for standard input, all of\n" +
			"it or nothing, and set the routes. A state that holds something already stays,\n" +
			"unless --replace is given.\n\n" +
			"With --from, ban whom another program has banned, beside the bans of our own, in\n" +
			"place of what was imported from there before.",
		Args: func(_ *cobra.Command, args []string) error { return errors.Join(o.check(replace), o.takeFile(args)) },
		RunE: func(*cobra.Command, []string) error {
			if o.from != "" {
				return a.importBans(o)
			}
			return a.importFile(o.file, replace)
		},
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "move the state that there is aside")
	o.addFlags(cmd)
	a.addWriteFlags(cmd)
	return cmd
}

func (a *app) importFile(name string, replace bool) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	p, end, err := a.begin(cfg)
	if err != nil {
		return err
	}
	defer end()
	var told error
	if !p.Store.Missing() || lost(p.Store) != nil { // routes without a state are no obstacle: one comes
		if told, err = a.mend(cfg, p); err != nil {
			return err
		}
	}
	if err := a.fill(p.Store, name, replace); err != nil {
		return errors.Join(told, err)
	}
	return errors.Join(told, a.onKernel(cfg, p, func(_ config.Config, p pass.Pass, k *kernel) error { return a.settle(p, k) }))
}

// fill makes a state of the file.
func (a *app) fill(s *store.Store, name string, replace bool) error {
	in, err := a.openFile(name)
	if err != nil {
		return fmt.Errorf("opening export: %w (smtpban export prints such a file)", err)
	}
	defer in.Close()
	var found store.Imported
	aside, err := s.Fill(replace, func(add func(store.Record) error) (err error) {
		found, err = store.ReadExport(in, name, func(r store.Record) error {
			if isSetting(r, settingPostfix) || isSetting(r, settingMachine) || isSetting(r, settingJournal) { // this machine is asked itself
				return nil
			}
			if err := readable(r); err != nil {
				return err
			}
			return add(r)
		})
		return err
	})
	if errors.Is(err, store.ErrHolds) {
		return fmt.Errorf("%w, and nothing was imported (--replace moves it aside)", err)
	}
	if err != nil {
		return err
	}
	a.log.notice(fmt.Sprintf("%s %s of %s: %s", a.would("imported", "import"), name, found.Exported, counted(found.Records)), nil)
	if aside != "" && !a.dryRun {
		a.log.notice("the state that was here is now "+aside, nil)
	}
	return nil
}

// readable makes sure of what the state itself does not look into, but every
// later run must be able to read.
func readable(r store.Record) error {
	switch {
	case r.Kind == store.KindPosition:
		return new(journal.Position).UnmarshalBinary(r.Value)
	case r.Kind == store.KindSession:
		return postfix.NewSessions().Restore(postfix.Change{Key: r.Key, Value: r.Value})
	}
	return nil
}

func isSetting(r store.Record, name string) bool {
	return r.Kind == store.KindSetting && string(r.Key) == name
}

// counted lists how many records there are of each kind.
func counted(records map[string]int) string {
	if len(records) == 0 {
		return "nothing"
	}
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(records)) {
		parts = append(parts, fmt.Sprintf("%d %s", records[kind], kind))
	}
	return strings.Join(parts, ", ")
}
