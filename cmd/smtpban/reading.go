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
	table := m.output != "json" && !m.noLegend
	some := false // of the lines are lines of a log
	err := m.eachLine(cfg, lines, func(e journal.Entry, ok bool) error {
		r := reading{Reason: "not a line of a syslog file"}
		if ok {
			r, some = m.read(e), true
		}
		if m.lines++; m.lines == 1 && table {
			fmt.Fprintf(out, readingFormat, "LINE", "CLASS", "CLIENT", "POINTS", "COUNTS", "USER, OR WHY")
		}
		r.Line = m.lines
		m.counted += r.times
		if err := m.write(out, r); err != nil || !m.live() {
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

func (m *match) write(w io.Writer, r reading) error {
	if m.output == "json" {
		return report.WriteJSONLine(w, r)
	}
	return r.write(w)
}

// readingFormat holds the columns of the text form. They have a fixed width, so
// that lines appear as they are read.
const readingFormat = "%6s  %-26s  %-20s  %6s  %6s  %s\n"

func (r reading) write(w io.Writer) error {
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
	text := fmt.Sprintf(readingFormat, strconv.Itoa(r.Line), class, client, points, counts, strings.Join(notes, ": "))
	_, err := io.WriteString(w, strings.TrimRight(text, " \n")+"\n")
	return err
}
