package main

import (
	"bufio"
	"errors"

	"github.com/spf13/cobra"

	"smtpban/internal/report"
	"smtpban/internal/store"
)

func newExportCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "export",
		Short: "Print everything in the state as lines of JSON",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return a.export() },
	}
}

// export prints a copy of the state, because a slow reader of what is printed
// must not keep the runs that write waiting.
func (a *app) export() error {
	_, s, err := a.existing()
	if err != nil {
		return err
	}
	scratch, remove, err := s.Scratch()
	if err != nil {
		return a.hint(s, err)
	}
	defer remove()
	out := bufio.NewWriter(a.stdout)
	err = scratch.View(func(tx *store.Tx) error {
		remove() // the file stays open; who is interrupted from here on leaves nothing behind
		for line, err := range tx.Export(version, a.now) {
			if err == nil {
				err = report.WriteJSONLine(out, line)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, out.Flush())
}
