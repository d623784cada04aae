package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"time"
	"unicode"
	"unicode/utf16"

	"smtpban/internal/store"
)

// The JSON shapes are an interface that other programs rely on.

type jsonBan struct {
	Prefix   netip.Prefix `json:"prefix"`
	Class    *string      `json:"class"` // null for a manual ban
	Failures int          `json:"failures"`
	Start    string       `json:"start"`
	Until    *string      `json:"until"` // null for a permanent ban
	Count    int          `json:"count"`
	Origin   string       `json:"origin"`
	Reason   string       `json:"reason"`
	Route    bool         `json:"route"`
	Held     bool         `json:"held"`
}

type jsonClient struct {
	Client   string `json:"client"` // an address for a single one, otherwise a prefix
	Failures int    `json:"failures"`
	First    string `json:"first"`
	Last     string `json:"last"`
	State    State  `json:"state"`
}

type jsonReport struct {
	Since   *string      `json:"since"` // null for the beginning
	Until   string       `json:"until"`
	Clients []jsonClient `json:"clients"`
	Bans    []jsonBan    `json:"bans"`

	MoreClients int `json:"more_clients"` // beyond the first thousand of each
	MoreBans    int `json:"more_bans"`

	Imported map[string]int `json:"imported,omitempty"` // bans in force of each set that was imported

	Surplus     int               `json:"surplus"` // prefixes without a route because there are too many
	Ineffective []jsonIneffective `json:"ineffective"`

	Seen    []jsonSeen  `json:"classes"`
	Gaps    []jsonGap   `json:"gaps"`
	Unknown []jsonShape `json:"unknown"`

	Host      string        `json:"host"`
	Quiet     bool          `json:"quiet"`
	Headline  string        `json:"headline"`
	Words     []string      `json:"words"`
	Attackers int           `json:"attackers"`
	Changes   jsonChanges   `json:"changes"`
	MaxRetry  int           `json:"maxretry"`
	Near      []jsonNear    `json:"near_misses"`
	MoreNear  int           `json:"more_near_misses"`
	Networks  []jsonNetwork `json:"networks"`
	Users     []jsonUser    `json:"users"`
	Others    int           `json:"other_users"` // attempts for them
	Hours     []jsonHour    `json:"hours"`
}

type jsonIneffective struct {
	Client string `json:"client"`
	Since  string `json:"since"`
	Last   string `json:"last"`
}

type jsonSeen struct {
	Class   string `json:"class"`
	Events  int    `json:"events"`
	Counted int    `json:"counted"`
}

type jsonGap struct {
	From   *string `json:"from"` // null where it is not known
	To     *string `json:"to"`
	Lost   *int    `json:"lost"`
	Reason string  `json:"reason"`
}

type jsonShape struct {
	Shape string `json:"shape"` // "" for all those for which there was no room
	Lines int    `json:"lines"`
	First string `json:"first"`
	Last  string `json:"last"`
}

// WriteJSON writes the report as a JSON object.
func (r Report) WriteJSON(w io.Writer) error {
	out := jsonReport{
		Since: Known(r.Since), Until: Stamp(r.Until), Clients: []jsonClient{}, Bans: toJSON(r.Bans),
		MoreClients: r.MoreClients, MoreBans: r.MoreBans, Imported: r.Imported, Surplus: r.Surplus,
		Ineffective: []jsonIneffective{}, Seen: []jsonSeen{}, Gaps: []jsonGap{}, Unknown: unknownJSON(r.Unknown),
		Host: r.Host, Quiet: r.Quiet(), Headline: r.Headline(), Words: r.Words(time.UTC), Attackers: r.Attackers, Changes: r.Changes.toJSON(),
		MaxRetry: r.Near.MaxRetry, Near: r.Near.toJSON(), MoreNear: r.Near.More, Networks: networksJSON(r.Networks),
		Users: r.Users.toJSON(), Others: r.Users.Others, Hours: hoursJSON(r.Hours),
	}
	for _, x := range r.Ineffective {
		out.Ineffective = append(out.Ineffective, jsonIneffective{ClientName(x.Prefix), Stamp(x.Since), Stamp(x.Last)})
	}
	for _, s := range r.Seen {
		out.Seen = append(out.Seen, jsonSeen{s.Class.String(), s.Events, s.Counted})
	}
	for _, g := range r.Gaps {
		gap := jsonGap{From: Known(g.From), To: Known(g.To), Reason: g.Reason}
		if g.Lost > 0 {
			gap.Lost = &g.Lost
		}
		out.Gaps = append(out.Gaps, gap)
	}
	for _, c := range r.Clients {
		out.Clients = append(out.Clients, jsonClient{
			Client: ClientName(c.Prefix), Failures: c.Failures, First: Stamp(c.First), Last: Stamp(c.Last), State: c.State,
		})
	}
	return WriteJSON(w, out)
}

// WriteUnknownJSON writes the shapes as a JSON array.
func WriteUnknownJSON(w io.Writer, shapes []store.Shape) error {
	return WriteJSON(w, unknownJSON(shapes))
}

func unknownJSON(shapes []store.Shape) []jsonShape {
	out := make([]jsonShape, 0, len(shapes))
	for _, s := range shapes {
		out = append(out, jsonShape{s.Text, s.Count, Stamp(s.First), Stamp(s.Last)})
	}
	return out
}

func toJSON(bans []Ban) []jsonBan {
	out := make([]jsonBan, 0, len(bans))
	for _, b := range bans {
		out = append(out, b.toJSON())
	}
	return out
}

func (b Ban) toJSON() jsonBan {
	j := jsonBan{
		Prefix: b.Prefix, Failures: b.Failures, Start: Stamp(b.Start), Until: end(b.Until), Count: b.Count,
		Origin: b.Origin, Reason: b.Reason, Route: b.Route, Held: b.Held,
	}
	if b.Class != 0 {
		class := b.Class.String()
		j.Class = &class
	}
	return j
}

// WriteJSON writes v over several lines.
func WriteJSON(w io.Writer, v any) error { return encode(w, v, "  ") }

// WriteJSONLine writes v on a line of its own.
func WriteJSONLine(w io.Writer, v any) error { return encode(w, v, "") }

func encode(w io.Writer, v any, indent string) error {
	text, err := encoded(v, "", indent)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// encoded returns v as a line or several, the first of which lacks the prefix. What
// could steer a terminal is escaped: outside of strings, the encoder prints nothing
// else than ASCII and line breaks.
func encoded(v any, prefix, indent string) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent(prefix, indent)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	if isPlain(text.Bytes()) {
		return text.Bytes(), nil
	}
	var safe bytes.Buffer
	for _, r := range text.String() {
		if r == '\n' || unicode.IsPrint(r) {
			safe.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&safe, `\u%04x`, unit)
		}
	}
	return safe.Bytes(), nil
}

// isPlain reports whether a text is made of printable ASCII and line breaks.
func isPlain(text []byte) bool {
	for _, b := range text {
		if b != '\n' && (b < ' ' || b > '~') {
			return false
		}
	}
	return true
}

// Stamp writes a time in RFC 3339, UTC, with microseconds.
func Stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// Known is the stamp of a time, null for the zero one.
func Known(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := Stamp(t)
	return &s
}

// ClientName writes a client as the log names it, where it is a single address.
func ClientName(p netip.Prefix) string {
	if p.IsSingleIP() && p.Addr().Is4() {
		return p.Addr().String()
	}
	return p.String()
}
