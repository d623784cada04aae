package ban

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Where the authentication server is dead every password is wrong, and every
// customer's mail program a guesser. What tells it apart from an attack is who
// fails: clients that used to log in. An attacker can add as many others as he
// likes, and they neither make an outage nor hide one.

// maxVictims bounds how many victims of an outage are remembered.
const maxVictims = 10_000

// quorum is how many victims make an outage.
const quorum = 3

// Outage is what speaks for it that nobody can log in, with whatever password.
type Outage struct {
	Since   time.Time // the last success of anybody; zero if none is known
	Fault   time.Time // newest fault of the authentication server that was logged since; zero if none was
	Victims map[netip.Prefix]Victim

	// Recognised is set once there is no doubt, until somebody succeeds: bans
	// that the outage explains are held back, unless it is Confirmed that they
	// are wanted.
	Recognised, Confirmed bool

	Held bool // a ban was held back
}

// Victim is a client that logged in before the outage and has failed in it.
type Victim struct {
	Last time.Time // newest failure

	// Start and Until are those of the ban that was made before the outage was
	// recognised and that it explains; zero if there is none.
	Start, Until time.Time
}

// DenotesNoLogin reports whether the class tells of a client that tried to log
// in and did not succeed.
func (c Class) DenotesNoLogin() bool {
	return slices.Contains([]Class{SASLAuth, AuthUnlogged, AuthRateLimit, LostConnectionAfterAuth}, c)
}

// Fail notes that a client that used to log in failed to.
func (o *Outage) Fail(client netip.Prefix, t time.Time) {
	v, known := o.Victims[client]
	switch {
	case o.Victims == nil:
		o.Victims = map[netip.Prefix]Victim{}
	case !known && len(o.Victims) >= maxVictims:
		for _, old := range o.oldestFirst()[:maxVictims/4] {
			delete(o.Victims, old)
		}
	}
	v.Last = latest(v.Last, t)
	o.Victims[client] = v
}

func (o *Outage) oldestFirst() []netip.Prefix {
	return slices.SortedFunc(maps.Keys(o.Victims), func(a, b netip.Prefix) int {
		return cmp.Or(o.Victims[a].Last.Compare(o.Victims[b].Last), ComparePrefix(a, b))
	})
}

// Recognise reports whether what was noted makes an outage just now, at t:
// enough victims within findtime, or a single one where the authentication
// server is at fault itself.
func (o *Outage) Recognise(t time.Time, findtime time.Duration) bool {
	if o.Recognised {
		return false
	}
	recent := func(at time.Time) bool { return t.Sub(at) <= findtime }
	missing := quorum
	if !o.Fault.IsZero() && recent(o.Fault) {
		missing = 1
	}
	for _, v := range o.Victims {
		if recent(v.Last) {
			if missing--; missing == 0 {
				o.Recognised = true
				break
			}
		}
	}
	return o.Recognised
}

// Holds reports whether bans that the outage explains are held back.
func (o *Outage) Holds() bool { return o.Recognised && !o.Confirmed }

// explained reports whether a failure may be the outage's.
func (o *Outage) explained(h Hit) bool {
	return h.Class.DenotesNoLogin() && h.Time.After(o.Since)
}

// Explains reports whether the hits of a client that used to log in would not
// have brought a ban without the outage.
func (o *Outage) Explains(hits []Hit, maxretry int) bool {
	points := 0
	for _, h := range hits {
		if !o.explained(h) {
			points += h.Weight
		}
	}
	return points < maxretry
}

// Excuse takes back the victim's hits that the outage explains, so that one more
// mistake after it does not ban.
func (o *Outage) Excuse(c *Client) { c.Hits = slices.DeleteFunc(c.Hits, o.explained) }

// Serves reports whether the ban that began before the outage was recognised is
// still the client's latest, and not over at t.
func (v Victim) Serves(c *Client, t time.Time) bool {
	return t.Before(v.Until) && c.Until.Equal(v.Until) && len(c.Ends) > 0 && c.Ends[0].Equal(v.Until)
}

// Hold holds back the latest ban of a client. It uses up its hits as it did,
// but has no effect, does not lengthen a later one, and is over with its window.
func (p Policy) Hold(c *Client, b Ban) Ban {
	c.Ends = slices.Delete(c.Ends, 0, 1)
	c.Until = b.Start
	b.Held, b.Until = true, after(b.Start, p.FindTime)
	return b
}

// Release lets a ban that was held back take effect, as if it had never been
// held.
func (p Policy) Release(c *Client, b Ban) Ban {
	b.Held = false
	return p.impose(c, b)
}
