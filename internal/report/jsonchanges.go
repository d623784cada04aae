package report

import "net/netip"

type jsonChanges struct {
	New     jsonGroup `json:"new"`
	Renewed jsonGroup `json:"renewed"`
	ByHand  jsonGroup `json:"by_hand"`
	Spared  jsonGroup `json:"protected"`
	Held    jsonGroup `json:"held"`
	Expired jsonGroup `json:"expired"`
	Lapsed  jsonGroup `json:"lapsed"`
	Lifted  jsonGroup `json:"lifted"`
}

type jsonGroup struct {
	Count int          `json:"count"`
	Bans  []jsonChange `json:"bans"` // those with most failures, a thousand at most
}

type jsonChange struct {
	Prefix   netip.Prefix `json:"prefix"`
	Class    *string      `json:"class"` // null for a ban not decided from the log
	Failures int          `json:"failures"`
	Start    string       `json:"start"`
	Until    *string      `json:"until"` // null for a permanent ban
	Count    int          `json:"count"`
	Origin   string       `json:"origin"`
	Ended    *string      `json:"ended"` // null while it is in force
}

type jsonNear struct {
	Client string `json:"client"`
	Points int    `json:"points"`
	Last   string `json:"last"`
}

type jsonNetwork struct {
	Network  netip.Prefix `json:"network"`
	Clients  int          `json:"clients"`
	Failures int          `json:"failures"`
}

type jsonUser struct {
	User     string `json:"user"`
	Attempts int    `json:"attempts"`
}

type jsonHour struct {
	Start    string         `json:"start"`
	Attempts map[string]int `json:"attempts"` // by class
	Bans     int            `json:"bans"`
}

func (c Changes) toJSON() jsonChanges {
	return jsonChanges{
		New: c.New.toJSON(), Renewed: c.Renewed.toJSON(), ByHand: c.ByHand.toJSON(), Spared: c.Spared.toJSON(), Held: c.Held.toJSON(),
		Expired: c.Expired.toJSON(), Lapsed: c.Lapsed.toJSON(), Lifted: c.Lifted.toJSON(),
	}
}

func (g Group) toJSON() jsonGroup {
	out := jsonGroup{g.Count(), make([]jsonChange, 0, len(g.Named))}
	for _, c := range g.Named {
		b := toJSON([]Ban{{Ban: c.Ban}})[0]
		out.Bans = append(out.Bans, jsonChange{b.Prefix, b.Class, b.Failures, b.Start, b.Until, b.Count, b.Origin, Known(c.Ended)})
	}
	return out
}

func (n Near) toJSON() []jsonNear {
	out := make([]jsonNear, 0, len(n.Clients))
	for _, x := range n.Clients {
		out = append(out, jsonNear{ClientName(x.Prefix), x.Points, Stamp(x.At)})
	}
	return out
}

func networksJSON(networks []Network) []jsonNetwork {
	out := make([]jsonNetwork, 0, len(networks))
	for _, n := range networks {
		out = append(out, jsonNetwork{n.Prefix, n.Clients, n.Failures})
	}
	return out
}

func (u Users) toJSON() []jsonUser {
	out := make([]jsonUser, 0, len(u.Named))
	for _, x := range u.Named {
		out = append(out, jsonUser{x.Name, x.Attempts})
	}
	return out
}

func hoursJSON(hours []Hour) []jsonHour {
	out := make([]jsonHour, 0, len(hours))
	for _, h := range hours {
		j := jsonHour{Stamp(h.Start), map[string]int{}, h.Bans}
		for class, n := range h.Attempts {
			j.Attempts[class.String()] = n
		}
		out = append(out, j)
	}
	return out
}
