package report

import (
	"fmt"
	"io"
	"strconv"
)

// maxTop is how many networks and user names are worth a line.
const maxTop = 10

// writeNear prints the clients that came close to a ban.
func (t Text) writeNear(w io.Writer, r Report) error {
	var rows [][]string
	for _, x := range r.Near.Clients {
		rows = append(rows, []string{ClientName(x.Prefix), fmt.Sprintf("%d of %d", x.Points, r.Near.MaxRetry), t.Time(x.At)})
	}
	if err := t.Table(w, "near misses", []string{"CLIENT", "POINTS", "LATEST"}, rows); err != nil || r.Near.More == 0 || !t.Legend {
		return err
	}
	_, err := fmt.Fprintf(w, "There are %d more, with fewer points or as many.\n", r.Near.More)
	return err
}

// writeNetworks prints those from which most failures came.
func (t Text) writeNetworks(w io.Writer, r Report) error {
	var rows [][]string
	for _, n := range r.Networks[:min(maxTop, len(r.Networks))] {
		rows = append(rows, []string{n.Prefix.String(), strconv.Itoa(n.Clients), strconv.Itoa(n.Failures)})
	}
	return t.Table(w, "networks with several clients", []string{"NETWORK", "CLIENTS", "FAILURES"}, rows)
}

// writeUsers prints the names that were tried most.
func (t Text) writeUsers(w io.Writer, r Report) error {
	var rows [][]string
	for _, u := range r.Users.Named[:min(maxTop, len(r.Users.Named))] {
		rows = append(rows, []string{quoted(u.Name), strconv.Itoa(u.Attempts)})
	}
	return t.Table(w, "user names", []string{"USER NAME", "ATTEMPTS"}, rows)
}
