package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"smtpban/internal/config"
	"smtpban/internal/pass"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

func newReportCommand(a *app) *cobra.Command {
	r := reporting{app: a}
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Show the offending clients since the last report, and the bans",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return r.run() },
	}
	f := cmd.Flags()
	f.BoolVar(&r.mark, "mark", false, "let the next report begin where this one ends")
	f.StringVar(&r.sinceText, "since", "", "begin at `TIME`, not at the last marked report")
	f.StringVar(&r.to, "to", "", "to whom the mail goes: an `ADDRESS` or a local user")
	f.StringVar(&r.save, "save", "", "write the report into `DIR` as well, in every format")
	a.addOutputFlags(cmd, formatHTML, formatMail)
	return cmd
}

// The formats that only a report has.
const (
	formatHTML = "html"
	formatMail = "mail"
)

// reporting is the command with its flags.
type reporting struct {
	*app
	mark      bool
	sinceText string
	to        string
	save      string

	since time.Time // zero for the last marked report
}

func (r *reporting) run() error {
	if r.to != "" && r.output != formatMail {
		return usageError{errors.New("--to says to whom a mail goes; it wants --output mail")}
	}
	if err := report.CheckRecipient(r.to); err != nil {
		return usageError{fmt.Errorf("--to: %w", err)}
	}
	if r.sinceText != "" {
		since, err := config.ParseTime(r.sinceText, r.now, time.Local)
		if err != nil {
			return usageError{fmt.Errorf("--since: %w", err)}
		}
		r.since = since
	}
	if r.mark {
		return r.marked()
	}
	return r.look(func(_ config.Config, p pass.Pass, k *kernel) error { return r.write(p, k) })
}

// marked reports and remembers when, under the lock, so that no attack falls between
// two reports.
func (r *reporting) marked() error {
	return r.withKernel(func(_ config.Config, p pass.Pass, k *kernel) error {
		if err := r.write(p, k); err != nil {
			return err
		}
		return p.Store.Update(func(tx *store.Tx) error {
			end, err := markAt(tx, p)
			if err != nil {
				return err
			}
			return tx.PutLastReport(end)
		})
	})
}

// unread is the longest time for which the timer leaves a busy log unread.
const unread = 2 * time.Minute

// markAt returns where the next report begins. What was logged since the log was read
// is still to come; but where that is long ago, nothing was logged or nobody reads.
func markAt(tx *store.Tx, p pass.Pass) (time.Time, error) {
	horizon, err := p.Horizon(tx) // under a clock that is ahead it would begin there
	if err != nil {
		return horizon, err
	}
	last, err := tx.LastRead()
	if last.At.After(horizon.Add(-unread)) && last.At.Before(horizon) {
		return last.At, err
	}
	return horizon, err
}

// write keeps the report where it is to be saved, and prints it even if that fails:
// the disk may be full.
func (r *reporting) write(p pass.Pass, k *kernel) error {
	gathered, err := r.gather(p, k, r.since)
	if err != nil {
		return err
	}
	var unsaved error
	if r.save != "" {
		if err := r.saveAll(gathered); err != nil {
			unsaved = fmt.Errorf("saving the report: %w", err)
		}
	}
	return errors.Join(unsaved, r.show(gathered))
}

// show prints the report; with --quiet nothing if nothing happened.
func (r *reporting) show(gathered report.Report) error {
	if r.log.quiet && gathered.Quiet() {
		return nil
	}
	if r.output == "text" || r.output == "" { // the only one that depends on the terminal
		return r.text().WriteReport(r.stdout, gathered)
	}
	return r.writeAs(r.stdout, r.output, gathered)
}

func (r *reporting) writeAs(w io.Writer, format string, gathered report.Report) error {
	text := report.Text{Location: time.Local, Legend: true}
	switch format {
	case "json":
		return gathered.WriteJSON(w)
	case formatHTML:
		return text.WriteHTML(w, gathered)
	case formatMail:
		return text.WriteMail(w, gathered, r.to)
	}
	return text.WriteReport(w, gathered)
}

// saveAll writes the report in every format into the directory that is asked for. There
// is a mail only if something happened.
func (r *reporting) saveAll(gathered report.Report) error {
	if err := os.MkdirAll(r.save, 0o700); err != nil {
		return err
	}
	for _, file := range []struct{ name, format string }{
		{"report.txt", "text"}, {"report.html", formatHTML}, {"report.json", "json"}, {report.MailFile, formatMail},
	} {
		path := filepath.Join(r.save, file.name)
		if file.format == formatMail && gathered.Quiet() {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			continue
		}
		var text bytes.Buffer
		if err := r.writeAs(&text, file.format, gathered); err != nil {
			return err
		}
		if err := replace(path, text.Bytes(), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// look runs what changes nothing, without the lock.
func (a *app) look(do func(config.Config, pass.Pass, *kernel) error) error {
	cfg, s, err := a.existing()
	if err != nil {
		return err
	}
	k, err := a.openKernel(cfg, s)
	if err != nil {
		return a.hint(s, err)
	}
	defer k.close()
	return do(cfg, pass.Pass{Store: s, Policy: cfg.Policy, Limits: limits(cfg.Route), Now: a.now}, k)
}

// print is the old script's --print: it reads what is new, keeps nothing, and
// reports.
func (a *app) print() error {
	dry := *a
	dry.dryRun = true
	return dry.withKernel(func(cfg config.Config, p pass.Pass, k *kernel) error {
		_, err := dry.read(cfg, p, k)
		printed := reporting{app: &dry}
		return errors.Join(err, printed.write(p, k))
	})
}

// gather makes the report on what happened since a time or, if that is zero, since
// the last marked one.
func (a *app) gather(p pass.Pass, k *kernel, since time.Time) (r report.Report, err error) {
	err = p.Store.View(func(tx *store.Tx) error {
		if since.IsZero() {
			if since, err = tx.LastReport(); err != nil {
				return err
			}
		}
		horizon, err := p.Horizon(tx)
		if err != nil {
			return err
		}
		r, err = report.New(tx, p.Policy, k.never, since, horizon)
		r.Until = p.Now // whether the clock is in doubt or not
		return err
	})
	if err != nil {
		return report.Report{}, err
	}
	if r.Host, err = os.Hostname(); err != nil {
		return report.Report{}, err
	}
	blockers, err := k.blockers(r.Targets())
	if err != nil {
		return report.Report{}, err
	}
	r.Enforce(blockers)
	r.Limit(p.Limits)
	return r, nil
}
