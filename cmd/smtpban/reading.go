package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/journal"
	"smtpban/internal/postfix"
	"smtpban/internal/report"
)

// reading is how a line is read. Its JSON shape is an interface that other
// programs rely on.
type reading struct {
	Line       int         `json:"line"`
	Identifier string      `json:"identifier"`
	Service    string      `json:"service"`
	Class      *string     `json:"class"`
	Address    *netip.Addr `json:"address"`
	Client     *string     `json:"client"`
	User       string      `json:"user"`
	Weight     int         `json:"weight"`
	Counted    bool        `json:"counted"`
	Reason     string      `json:"reason"`

	times int // how often it counts
}

// showReadings prints how every line is read.
func (m *match) showReadings(cfg config.Config, lines []string) error {
	out := bufio.NewWriter(m.stdout)
	text := m.text()
	columns := columnsWithin(text.Width)
	table := m.output != "json" && !m.noLegend
	some := false // of the lines are lines of a log
	err := m.eachLine(cfg, lines, func(e journal.Entry, ok bool) error {
		r := reading{Reason: "not a line of a syslog file"}
		if ok {
			r, some = m.read(e), true
		}
		if m.lines++; m.lines == 1 && table {
			fmt.Fprintln(out, text.Paint(report.Underlined, columns.row("LINE", "CLASS", "CLIENT", "POINTS", "COUNTS", "USER, OR WHY")))
		}
		r.Line = m.lines
		m.counted += r.times
		if err := m.write(out, r, columns); err != nil || !m.live() {
			return err
		}
		return out.Flush()
	})
	if err == nil && m.lines > 0 && !some {
		err = errors.New("not one line has the form of a log line (not a syslog file?)")
	}
	if err == nil && table {
		fmt.Fprintf(out, "\n%d lines read, %d failures counted.\n", m.lines, m.counted)
	}
	return errors.Join(out.Flush(), err)
}

// live reports whether somebody may be writing the lines just now.
func (m *match) live() bool { return !m.input.given() || m.input.standardInput() }

// read reads a line after all lines before it.
func (m *match) read(e journal.Entry) reading {
	line := postfix.Parse(e)
	found := m.sessions.Add(e, line)
	r := reading{Identifier: e.Identifier, Service: line.Service, User: line.User, Reason: found.Reason}
	if line.Address.IsValid() {
		client := report.ClientName(m.policy.Client(line.Address))
		r.Address, r.Client = &line.Address, &client
	}
	class := found.Event.Class
	if class == 0 {
		return r
	}
	name := class.String()
	r.Class, r.Weight = &name, m.policy.Weight(class, line.Service)
	switch {
	case found.Times == 0:
	case class == ban.Login:
		r.Reason = "a success"
	case r.Weight == 0:
		r.Reason = "has no points at " + line.Service
	default:
		r.Counted, r.times = true, found.Times
		if found.Times > 1 {
			r.Reason = fmt.Sprintf("counts %d times", found.Times)
		}
	}
	return r
}

func (m *match) write(w io.Writer, r reading, columns readingColumns) error {
	if m.output == "json" {
		return report.WriteJSONLine(w, r)
	}
	_, err := fmt.Fprintln(w, r.row(columns))
	return err
}

// readingColumns are how wide the columns of the text form are. They are so from
// the start, so that lines appear as they are read.
type readingColumns struct {
	class, client int
	note          int // at most; 0 where there is room for all of it
}

// columnsWithin makes them fit a terminal; 0 is for no end of columns.
func columnsWithin(width int) readingColumns {
	c := readingColumns{class: 26, client: 20}
	const others, least = 28, 25 // the other columns, and gaps; a note of less says little
	if width == 0 {
		return c
	}
	for c.class+c.client+others+least > width && c.class > 10 {
		c.class--
	}
	c.note = max(1, width-c.class-c.client-others)
	return c
}

func (c readingColumns) row(line, class, client, points, counts, note string) string {
	if c.note > 0 {
		class, client, note = report.Shorten(class, c.class, false), report.Shorten(client, c.client, false), report.Shorten(note, c.note, true)
	}
	text := fmt.Sprintf("%6s  %-*s  %-*s  %6s  %6s  %s", line, c.class, class, c.client, client, points, counts, note)
	return strings.TrimRight(text, " \n")
}

func (r reading) row(columns readingColumns) string {
	class, client, points, counts := "-", "-", "-", "-"
	if r.Class != nil {
		class, points, counts = *r.Class, strconv.Itoa(r.Weight), strconv.Itoa(r.times)
	}
	if r.Client != nil {
		client = *r.Client
	}
	var notes []string
	if r.User != "" { // in quotes: a user name may read like a reason
		notes = append(notes, strconv.Quote(r.User))
	}
	if r.Reason != "" {
		notes = append(notes, r.Reason)
	}
	return columns.row(strconv.Itoa(r.Line), class, client, points, counts, strings.Join(notes, ": "))
}
