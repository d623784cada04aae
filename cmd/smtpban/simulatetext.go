package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/pass"
	"smtpban/internal/report"
)

// simulated is what a simulation found. Its JSON shape is an interface that other
// programs rely on.
type simulated struct {
	*pass.Simulation
	outcomes []outcome // of the configuration and, if there is one to compare, of the other
	other    string    // that one's file
}

func (s simulated) write(w io.Writer, text report.Text) error {
	o := s.outcomes[0]
	if text.Legend && s.Entries > 0 {
		if _, err := fmt.Fprintf(w, "%d entries from %s to %s\n\n", s.Entries, text.Time(s.First), text.Time(s.Last)); err != nil {
			return err
		}
	}
	if err := writeClients(w, text, "banned clients", o.banned()); err != nil {
		return err
	}
	if s.other != "" {
		other := s.outcomes[1]
		for _, change := range []struct {
			what    string
			clients []client
		}{{"clients banned only by " + s.other, other.without(o)}, {"clients not banned by " + s.other, o.without(other)}} {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
			if err := writeClients(w, text, change.what, change.clients); err != nil {
				return err
			}
		}
	}
	if !text.Legend {
		return nil
	}
	return s.writeSums(w, text)
}

// writeSums prints what the outcomes add up to, side by side.
func (s simulated) writeSums(w io.Writer, text report.Text) error {
	rows := [][]string{{"SUM"}, {"clients"}, {"failures"}, {"banned clients"}, {"bans"}, {"failures prevented"}, {"banned clients that also logged in"}, {"protected clients"}}
	for i, o := range s.outcomes {
		rows[0] = append(rows[0], []string{"CONFIGURED", s.other}[i])
		for n, sum := range o.sums() {
			rows[n+1] = append(rows[n+1], strconv.Itoa(sum))
		}
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	text.Legend = false // of sums there is no total
	return text.Table(w, "", rows[0], rows)
}

// sums adds up an outcome, in the order of writeSums.
func (o outcome) sums() []int {
	var bans, prevented, users, protected int
	for _, c := range o.clients {
		switch {
		case c.banned():
			bans += len(c.Bans)
			prevented += c.Prevented
			if c.Logins > 0 {
				users++
			}
		case len(c.Bans) > 0:
			protected++
		}
	}
	return []int{len(o.clients), o.failures, len(o.banned()), bans, prevented, users, protected}
}

func writeClients(w io.Writer, text report.Text, what string, clients []client) error {
	var rows [][]string
	for _, c := range clients {
		first := c.Bans[0]
		rows = append(rows, []string{
			report.ClientName(c.Prefix), first.Class.String(), strconv.Itoa(c.Failures), text.Time(first.Start),
			config.FormatSpan(first.Start.Sub(c.First).Round(time.Millisecond)), strconv.Itoa(len(c.Bans)), strconv.Itoa(c.Prevented), strconv.Itoa(c.Logins),
		})
	}
	return text.Table(w, what, []string{"CLIENT", "CLASS", "FAILURES", "BANNED", "AFTER", "BANS", "PREVENTED", "LOGINS"}, rows, "FAILURES", "BANS")
}

type jsonSimulation struct {
	Entries int                   `json:"entries"`
	Events  int                   `json:"events"` // counted ones
	First   *string               `json:"first"`  // null where there is no entry
	Last    *string               `json:"last"`
	Clients []jsonSimulatedClient `json:"clients"`
	Compare *jsonComparison       `json:"compare,omitempty"`
}

type jsonSimulatedClient struct {
	Client    string            `json:"client"`
	Classes   map[string]int    `json:"classes"`
	Failures  int               `json:"failures"`
	First     string            `json:"first"`
	Last      string            `json:"last"`
	Banned    bool              `json:"banned"`
	Protected bool              `json:"protected"`
	Ban       *jsonSimulatedBan `json:"ban"` // the first one, null if there is none
	Bans      int               `json:"bans"`
	Prevented int               `json:"prevented"`
	Logins    int               `json:"logins"`
}

type jsonSimulatedBan struct {
	Prefix string  `json:"prefix"`
	Start  string  `json:"start"`
	Until  *string `json:"until"` // null for ever
	Class  string  `json:"class"`
}

type jsonComparison struct {
	Config string                `json:"config"`
	Gained []jsonSimulatedClient `json:"gained"`
	Lost   []jsonSimulatedClient `json:"lost"`
}

func (s simulated) writeJSON(w io.Writer) error {
	o := s.outcomes[0]
	out := jsonSimulation{Entries: s.Entries, Events: o.failures, First: report.Known(s.First), Last: report.Known(s.Last), Clients: clientsJSON(o.clients)}
	if s.other != "" {
		other := s.outcomes[1]
		out.Compare = &jsonComparison{s.other, clientsJSON(other.without(o)), clientsJSON(o.without(other))}
	}
	return report.WriteJSON(w, out)
}

func clientsJSON(clients []client) []jsonSimulatedClient {
	all := make([]jsonSimulatedClient, 0, len(clients))
	for _, c := range clients {
		j := jsonSimulatedClient{
			Client: report.ClientName(c.Prefix), Classes: map[string]int{}, Failures: c.Failures, First: report.Stamp(c.First), Last: report.Stamp(c.Last),
			Banned: c.banned(), Protected: c.protected, Bans: len(c.Bans), Prevented: c.Prevented, Logins: c.Logins,
		}
		for _, n := range c.Classes {
			j.Classes[n.Class.String()] = n.Count
		}
		if len(c.Bans) > 0 {
			b := c.Bans[0]
			j.Ban = &jsonSimulatedBan{Prefix: b.Prefix.String(), Start: report.Stamp(b.Start), Class: b.Class.String()}
			if b.Until.Before(ban.Forever) {
				until := report.Stamp(b.Until)
				j.Ban.Until = &until
			}
		}
		all = append(all, j)
	}
	return all
}
