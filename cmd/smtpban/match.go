package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/guard"
	"smtpban/internal/journal"
	"smtpban/internal/journal/sd"
	"smtpban/internal/pass"
	"smtpban/internal/postfix"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

func newMatchCommand(a *app) *cobra.Command {
	m := &match{app: a}
	cmd := &cobra.Command{
		Use:   "match [LINE]...",
		Short: "Show how lines of the log are read, and why they count or not",
		Args:  cobra.ArbitraryArgs,
		RunE:  func(_ *cobra.Command, lines []string) error { return m.run(lines) },
	}
	a.addInputFlags(cmd)
	a.addOutputFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&m.identifier, "identifier", "postfix/smtpd", "take `TAG` for the syslog tag of lines that have none")
	f.BoolVar(&m.unknown, "unknown", false, "show only what no rule knows, by its shape")
	return cmd
}

// match reads lines as block does, but keeps nothing.
type match struct {
	*app
	identifier string
	unknown    bool

	policy   ban.Policy
	sessions *postfix.Sessions
	lines    int
	counted  int
	shapes   pass.Shapes
}

func (m *match) run(lines []string) error {
	if m.input.count() > 1 || len(lines) > 0 && m.input.given() {
		return usageError{errors.New("lines, --directory, --file, --entries and --maillog exclude each other; give one of them")}
	}
	if !journal.ClientFacing(m.identifier) {
		return usageError{fmt.Errorf("--identifier: %q is no tag of smtpd, postscreen or cleanup, such as postfix/submission/smtpd", m.identifier)}
	}
	cfg, err := m.loadConfig()
	if err != nil {
		return err
	}
	m.policy, m.sessions, m.shapes = cfg.Policy, postfix.NewSessions(), pass.Shapes{}
	if !m.unknown {
		return m.showReadings(cfg, lines)
	}
	if len(lines) == 0 && !m.input.given() {
		return m.showKnownShapes(cfg)
	}
	err = m.eachLine(cfg, lines, func(e journal.Entry, ok bool) error {
		if ok && postfix.Parse(e).Unknown {
			m.shapes.Add(e)
		}
		return nil
	})
	return errors.Join(err, m.showShapes(slices.Collect(maps.Values(m.shapes))))
}

// showKnownShapes shows those that block has met.
func (m *match) showKnownShapes(cfg config.Config) error {
	var shapes []store.Shape
	s := m.state(cfg)
	err := s.View(func(tx *store.Tx) (err error) {
		shapes, err = report.Unknown(tx)
		return err
	})
	if err != nil {
		return m.hint(s, err)
	}
	m.log.notice("those that smtpban block has met; with - lines come from standard input", nil)
	return m.showShapes(shapes)
}

func (m *match) showShapes(shapes []store.Shape) error {
	report.SortShapes(shapes)
	if m.output == "json" {
		return report.WriteUnknownJSON(m.stdout, shapes)
	}
	return m.text().WriteUnknown(m.stdout, shapes)
}

// eachLine hands over every line or entry of the input in order; ok is false for
// what is no line of a log.
func (m *match) eachLine(cfg config.Config, lines []string, do func(e journal.Entry, ok bool) error) error {
	switch {
	case len(lines) > 0 && !slices.Equal(lines, []string{"-"}):
		return m.eachText(strings.NewReader(strings.Join(lines, "\n")), do)
	case m.input.maillog != "":
		file, err := m.openFile(m.input.maillog)
		if err != nil {
			return fmt.Errorf("opening maillog: %w", err)
		}
		defer file.Close()
		return m.eachText(file, do)
	case !m.input.given():
		return m.eachText(m.stdin, do)
	}
	uid, err := m.postfixUID(cfg)
	if err != nil {
		return err
	}
	in, err := m.openInput(cfg, uid, nil, sd.Options{})
	if err != nil {
		return err
	}
	defer in.Close()
	none := true
	for e, err := range in.Entries() {
		none = false
		var gap *journal.Gap
		if errors.As(err, &gap) {
			m.log.warn("%v", gap)
			continue
		}
		if err != nil {
			return err
		}
		if err := do(e, true); err != nil {
			return err
		}
	}
	if none {
		m.log.warn("there is no entry of smtpd, postscreen or cleanup by the uid %d; name Postfix's user with --postfix-user", uid)
	}
	return nil
}

func (m *match) postfixUID(cfg config.Config) (int, error) {
	settings, _, err := guard.ReadPostfix(nil)
	if err != nil {
		m.log.warn("%v", err)
	}
	return m.trusted(cfg, settings)
}

// eachText reads lines of text: as syslog daemons write them, or from the tag
// on, or the mere messages.
func (m *match) eachText(r io.Reader, do func(e journal.Entry, ok bool) error) error {
	const longest = 64 << 10
	parser := journal.NewLineParser(m.now, time.Local)
	lines := bufio.NewReaderSize(r, longest)
	for {
		line, err := lines.ReadSlice('\n')
		tooLong := err == bufio.ErrBufferFull
		for err == bufio.ErrBufferFull {
			_, err = lines.ReadSlice('\n')
		}
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("reading lines: %w", err)
		}
		e, ok := m.entry(parser, strings.TrimRight(string(line), "\r\n"))
		if err := do(e, ok && !tooLong); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
	}
}

func (m *match) entry(parser *journal.LineParser, line string) (e journal.Entry, ok bool) {
	if e, ok := parser.Parse(line); ok {
		return e, true
	}
	e, ok = journal.ParseTagged(line)
	if !ok || !journal.ClientFacing(e.Identifier) {
		e = journal.Entry{Identifier: m.identifier, Message: line}
	}
	if m.input.maillog != "" {
		// A file may hold anything: text counts as a message only if it reads like one.
		if l := postfix.Parse(e); !l.Address.IsValid() && !l.Unknown {
			return journal.Entry{}, false
		}
	}
	e.Time = m.now
	if e.PID == 0 {
		e.PID = os.Getpid() // lines without any are taken for those of one process
	}
	return e, true
}
