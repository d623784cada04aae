package report

import (
	"io"
	"net/netip"
	"time"

	"smtpban/internal/ban"
)

// WriteIgnores prints who is ignored.
func (t Text) WriteIgnores(w io.Writer, ignores []ban.Ignore) error {
	rows := make([][]string, 0, len(ignores))
	for _, i := range ignores {
		rows = append(rows, []string{i.Prefix.String(), t.End(i.Until), t.Time(i.Added), Printable(i.Reason)})
	}
	return t.Table(w, "ignored prefixes", []string{"PREFIX", "UNTIL", "ADDED", "REASON"}, rows, "ADDED")
}

// End writes when something ends.
func (t Text) End(at time.Time) string {
	if at.Before(ban.Forever) {
		return t.Time(at)
	}
	return "forever"
}

type jsonIgnore struct {
	Prefix netip.Prefix `json:"prefix"`
	Until  *string      `json:"until"` // null for ever
	Added  string       `json:"added"`
	Reason string       `json:"reason"`
}

// WriteIgnoresJSON writes who is ignored as a JSON array.
func WriteIgnoresJSON(w io.Writer, ignores []ban.Ignore) error {
	out := make([]jsonIgnore, 0, len(ignores))
	for _, i := range ignores {
		out = append(out, jsonIgnore{i.Prefix, end(i.Until), Stamp(i.Added), i.Reason})
	}
	return WriteJSON(w, out)
}

// end is the stamp of when something ends, null for never.
func end(at time.Time) *string {
	if at.Before(ban.Forever) {
		return Known(at)
	}
	return nil
}
