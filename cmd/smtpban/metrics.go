package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"smtpban/internal/pass"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

// writeMetrics tells the monitoring how things stand after the routes were settled.
// When the last run was is not among it: a run with nothing new writes nothing.
func (a *app) writeMetrics(p pass.Pass, k *kernel, settled pass.Settled) error {
	if k.Textfile == "" || a.private() || a.noRoutes {
		return nil
	}
	m, err := a.measure(p, k, settled)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := m.Write(&text); err != nil {
		return err
	}
	if err := replaceChanged(k.Textfile, text.Bytes()); err != nil {
		return fmt.Errorf("writing the metrics: %w", err)
	}
	return nil
}

func (a *app) measure(p pass.Pass, k *kernel, settled pass.Settled) (report.Metrics, error) {
	m := report.Metrics{Version: version, Routed: len(settled.Blocked), Missing: settled.Missing(), Surplus: settled.Surplus}
	positions, err := pass.Positions(p.Store)
	if err != nil {
		return m, err
	}
	for _, position := range positions {
		if position.Realtime.After(m.Read) {
			m.Read = position.Realtime
		}
	}
	if m.Size, err = p.Store.Size(); err != nil {
		return m, err
	}
	err = p.Store.View(func(tx *store.Tx) error {
		horizon, err := p.Horizon(tx)
		if err != nil {
			return err
		}
		if m.Tally, err = report.Count(tx, k.never, horizon); err != nil {
			return err
		}
		if m.Totals, err = tx.Totals(); err != nil {
			return err
		}
		m.Commit, err = tx.LastCommit()
		return err
	})
	return m, err
}

// removeMetrics lets the monitoring see that smtpban is no longer at work.
func (a *app) removeMetrics(textfile string) error {
	if textfile == "" || a.private() {
		return nil
	}
	if err := os.Remove(textfile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the metrics: %w", err)
	}
	return nil
}
