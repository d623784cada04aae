package torture_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// model is what the state must be, worked out in the plainest way: everything is
// done at once, in order, and nothing ever fails.
type model struct {
	content
	clients map[netip.Prefix]suspect
}

// suspect is what the model knows of a client.
type suspect struct {
	failures int
	hits     int
	hit      bool // had a hit since its last pardon
	until    time.Time
	ends     []time.Time
	pardon   time.Time
}

// failure is a refused password that was logged.
type failure struct {
	at     time.Time
	client netip.Prefix
}

func newModel() model {
	return model{content: content{Bans: map[string]ban.Ban{}}, clients: map[netip.Prefix]suspect{}}
}

// clone returns a model that goes its own way.
func (m model) clone() model {
	m.Bans, m.clients = maps.Clone(m.Bans), maps.Clone(m.clients)
	m.Ended = slices.Clone(m.Ended)
	return m
}

// fold counts the failures.
func (m model) fold(failures []failure) model {
	m = m.clone()
	for _, f := range failures {
		m.add(f)
	}
	return m
}

func (m *model) add(f failure) {
	m.Events++
	s := m.clients[f.client]
	if !f.at.After(s.pardon) || !f.at.After(m.Pardoned) {
		return
	}
	m.Counted++
	within := f.at.Before(s.until)
	if !within && !s.hit { // what came within a ban by hand began no tally
		s.failures = 0
	}
	s.failures++
	b, banned := m.Bans[f.client.String()]
	switch {
	case within:
		if banned {
			b.Failures++
			m.Bans[f.client.String()] = b
		}
	case s.hits+1 == maxretry:
		if banned {
			m.end(b, b.Until, store.Expired)
		}
		s.hits, s.hit, s.until = 0, true, f.at.Add(bantime)
		s.ends = append(slices.Clone(s.ends), s.until)
		m.Made++
		m.Bans[f.client.String()] = ban.Ban{
			Prefix: f.client, Class: ban.SASLAuth, Failures: s.failures, Start: f.at, Until: s.until,
			Count: len(s.ends), Origin: ban.OriginJournal,
		}
	default:
		s.hits, s.hit = s.hits+1, true
	}
	m.clients[f.client] = s
}

func (m *model) end(b ban.Ban, at time.Time, how string) {
	delete(m.Bans, b.Prefix.String())
	m.Ended = append(m.Ended, store.Ended{Ban: b, At: at, How: how})
}

// expire ends what is over.
func (m model) expire(now time.Time) model {
	m = m.clone()
	for _, b := range m.Bans {
		if !b.Active(now) {
			m.end(b, b.Until, store.Expired)
		}
	}
	return m
}

// ban is the admin's.
func (m model) ban(client netip.Prefix, now time.Time, length time.Duration) model {
	m = m.clone()
	s := m.clients[client]
	b := ban.Ban{Prefix: client, Start: now, Until: now.Add(length), Count: 1, Origin: ban.OriginManual}
	if s.hit || now.Before(s.until) {
		b.Failures = s.failures
	}
	if old, ok := m.Bans[client.String()]; ok && old.Active(now) {
		if b.Until.After(old.Until) {
			old.Until = b.Until
		}
		old.Origin = ban.OriginManual
		b = old
	} else {
		m.Made++
		if ok {
			m.end(old, old.Until, store.Expired)
		}
	}
	m.Bans[client.String()] = b
	if b.Until.After(s.until) {
		s.until = b.Until
	}
	m.clients[client] = s
	return m
}

// unban forgives a client, everybody if it is the zero prefix.
func (m model) unban(client netip.Prefix, now time.Time) model {
	m = m.clone()
	for _, b := range m.Bans {
		if b.Active(now) && (b.Prefix == client || !client.IsValid()) {
			m.end(b, now, store.Unbanned)
		}
	}
	forgiven := []netip.Prefix{client}
	if !client.IsValid() {
		m.Pardoned = now
		forgiven = slices.Collect(maps.Keys(m.clients))
	}
	for _, p := range forgiven {
		s := m.clients[p]
		ends := slices.DeleteFunc(slices.Clone(s.ends), now.Before)
		m.clients[p] = suspect{ends: ends, pardon: now}
	}
	return m
}

// state is the model as a state is read.
func (m model) state() content {
	c := m.content
	c.Clients = map[string]tally{}
	for p, s := range m.clients {
		if y := (tally{Failures: s.failures, Points: s.hits, Pardon: s.pardon}); y != (tally{}) {
			c.Clients[p.String()] = y
		}
	}
	c.Ended = slices.Clone(c.Ended)
	sortEnded(c.Ended)
	return c
}

// sortEnded orders ended bans by time, as the history does, and by prefix.
func sortEnded(ended []store.Ended) {
	slices.SortStableFunc(ended, func(a, b store.Ended) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(a.Prefix.String(), b.Prefix.String())
	})
}
