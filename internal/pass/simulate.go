package pass

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
	"smtpban/internal/postfix"
)

// Simulation judges a log by several policies at once, as runs would that had
// begun with it, and keeps nothing.
type Simulation struct {
	since, until, latest time.Time
	sessions             *postfix.Sessions

	Entries     int // from since to until
	First, Last time.Time
	Verdicts    []Verdict // one for each policy
}

// Verdict is what a policy makes of a log.
type Verdict struct {
	policy  ban.Policy
	clients map[netip.Prefix]*Simulated
}

// Simulated is what a policy makes of a client.
type Simulated struct {
	Prefix    netip.Prefix
	Failures  int // counted events
	Classes   []ClassCount
	First     time.Time
	Last      time.Time
	Bans      []ban.Ban // in the order in which they would have been made
	Prevented int       // counted events during the bans
	Logins    int       // sessions with a success
	Evidence  ban.Evidence

	tally ban.Client
	login session // the latest one with a success that is not over
}

// ClassCount is how many counted events of a class there are.
type ClassCount struct {
	Class ban.Class
	Count int
}

// session is as much of an SMTP session as tells whether a success is another one.
type session struct {
	identifier string
	pid        int
}

// NewSimulation prepares one over what was logged from since to until. An entry
// too far ahead of now counts as now.
func NewSimulation(since, until, now time.Time, policies ...ban.Policy) *Simulation {
	s := &Simulation{since: since, until: until, latest: now, sessions: postfix.NewSessions()}
	for _, p := range policies {
		s.Verdicts = append(s.Verdicts, Verdict{p, map[netip.Prefix]*Simulated{}})
	}
	return s
}

// Add judges the next entry of the log.
func (s *Simulation) Add(e journal.Entry) {
	if e.Time.After(s.latest.Add(maxAhead)) {
		e.Time = s.latest
	}
	found := s.sessions.Add(e, postfix.Parse(e))
	if e.Time.Before(s.since) || e.Time.After(s.until) {
		return
	}
	s.Entries++
	if s.First.IsZero() || e.Time.Before(s.First) {
		s.First = e.Time
	}
	if e.Time.After(s.Last) {
		s.Last = e.Time
	}
	for _, v := range s.Verdicts {
		if found.Times > 0 {
			v.add(found, strings.HasPrefix(e.Message, "disconnect from "))
		}
	}
}

func (v Verdict) add(f postfix.Finding, ends bool) {
	prefix := v.policy.Client(f.Event.Address)
	c := v.clients[prefix]
	if c == nil {
		c = &Simulated{Prefix: prefix, tally: ban.Client{Prefix: prefix}}
		v.clients[prefix] = c
	}
	if f.Event.Class == ban.Login {
		c.loggedIn(session{f.Event.Identifier, f.Event.PID}, ends)
		return
	}
	for range f.Times {
		c.failed(v.policy, f.Event)
	}
}

// loggedIn counts a success. Mail that is accepted tells of it and, at the end of
// the session, its statistics.
func (c *Simulated) loggedIn(s session, ends bool) {
	if c.login != s {
		c.Logins++
	}
	if c.login = s; ends {
		c.login = session{}
	}
}

func (c *Simulated) failed(p ban.Policy, e ban.Event) {
	verdict, b, hits := p.Add(&c.tally, e)
	if verdict == ban.Ignored {
		return
	}
	if c.Failures++; c.Failures == 1 || e.Time.Before(c.First) {
		c.First = e.Time
	}
	if e.Time.After(c.Last) {
		c.Last = e.Time
	}
	i := slices.IndexFunc(c.Classes, func(n ClassCount) bool { return n.Class == e.Class })
	if i < 0 {
		i, c.Classes = len(c.Classes), append(c.Classes, ClassCount{Class: e.Class})
	}
	c.Classes[i].Count++
	switch verdict {
	case ban.Banned:
		c.Bans = append(c.Bans, b)
		c.offended(hits)
	case ban.Within:
		c.Prevented++
		c.Evidence.Add(ban.Offender{Address: e.Address, Name: e.Name})
	}
}

// offended keeps who made the hits of a ban, each address once by each of its names.
func (c *Simulated) offended(hits []ban.Hit) {
	for _, h := range hits {
		known := slices.ContainsFunc(c.Evidence.Hits, func(k ban.Hit) bool { return k.Address == h.Address && k.Name == h.Name })
		if !known {
			c.Evidence.Hits = append(c.Evidence.Hits, h)
		}
	}
}

// Clients returns those that failed, in order of their prefix.
func (v Verdict) Clients() []*Simulated {
	var all []*Simulated
	for _, c := range v.clients {
		if c.Failures > 0 {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *Simulated) int { return ban.ComparePrefix(a.Prefix, b.Prefix) })
	return all
}
