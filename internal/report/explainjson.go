package report

import (
	"io"
	"net/netip"

	"smtpban/internal/ban"
)

type jsonExplanation struct {
	Client    string         `json:"client"`
	State     State          `json:"state"`
	BlockedBy *netip.Prefix  `json:"blocked_by"` // a wider one that is banned; null if it is not for that alone
	Protected *jsonProtected `json:"protected"`  // null where nobody is
	Ban       *jsonBan       `json:"ban"`        // null where none is in force
	Events    []jsonEvent    `json:"events"`     // newest first
	Points    int            `json:"points"`
	MaxRetry  int            `json:"maxretry"`
	FindTime  float64        `json:"findtime"` // seconds
	Failures  int            `json:"failures"`
	Void      *Void          `json:"void"` // null where some count
	First     *string        `json:"first"`
	Last      *string        `json:"last"`
	Pardon    *string        `json:"pardoned"`
	Next      jsonNext       `json:"next_ban"`
	Earlier   []jsonEnded    `json:"earlier"` // oldest first
}

type jsonProtected struct {
	Prefix netip.Prefix `json:"prefix"`
	Reason string       `json:"reason"`
}

type jsonEvent struct {
	Time       string     `json:"time"`
	Class      string     `json:"class"`
	Points     int        `json:"points"`
	Service    string     `json:"service"`
	Address    netip.Addr `json:"address"`
	Name       string     `json:"name"` // verified, "" if it has none
	User       string     `json:"user"`
	Identifier string     `json:"identifier"`
	PID        int        `json:"pid"`
	Line       *string    `json:"line"` // null if it is not in the log any more
}

type jsonNext struct {
	Count  int      `json:"count"`
	Length *float64 `json:"length"` // seconds, null for ever
}

type jsonEnded struct {
	jsonBan
	Ended string `json:"ended"`
	How   string `json:"how"`
}

// WriteExplanationsJSON writes the explanations as a JSON array.
func WriteExplanationsJSON(w io.Writer, all []Explanation, policy ban.Policy) error {
	out := make([]jsonExplanation, 0, len(all))
	for _, x := range all {
		j := jsonExplanation{
			Client: ClientName(x.Prefix), State: x.State(), Events: []jsonEvent{}, Points: x.Points,
			MaxRetry: policy.MaxRetry, FindTime: policy.FindTime.Seconds(), Failures: x.Client.Failures,
			First: Known(x.Client.First), Last: Known(x.Client.Last), Pardon: Known(x.Pardon),
			Next: jsonNext{Count: x.Count}, Earlier: []jsonEnded{},
		}
		if x.BlockedByWider() {
			j.BlockedBy = &x.Wider.Prefix
		}
		if x.Protected != nil {
			j.Protected = &jsonProtected{x.Protected.Prefix, x.Protected.Reason}
		}
		if x.Void != "" {
			j.Void = &x.Void
		}
		if x.Ban != nil {
			b := x.Ban.toJSON()
			j.Ban = &b
		}
		if x.Length < ban.Infinity {
			seconds := x.Length.Seconds()
			j.Next.Length = &seconds
		}
		for _, e := range x.Events {
			j.Events = append(j.Events, e.toJSON())
		}
		for _, e := range x.Earlier {
			j.Earlier = append(j.Earlier, jsonEnded{Ban{Ban: e.Ban}.toJSON(), Stamp(e.At), e.How})
		}
		out = append(out, j)
	}
	return WriteJSON(w, out)
}

func (e Event) toJSON() jsonEvent {
	j := jsonEvent{
		Time: Stamp(e.Time), Class: e.Class.String(), Points: e.Weight, Service: e.Service, Address: e.Address,
		Name: e.Name, User: e.User, Identifier: e.Identifier, PID: e.PID,
	}
	if e.Line != "" {
		j.Line = &e.Line
	}
	return j
}
