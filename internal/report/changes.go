package report

import (
	"cmp"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// Changes are the bans that began or ended after the last report. One that did
// both is among both.
type Changes struct {
	New     Group // first ones of a client
	Renewed Group // of clients that had been banned before
	ByHand  Group // by an admin, first ones or not
	Spared  Group // of which nothing is blocked, since who is in them must never be
	Held    Group // back, because of an outage

	Expired Group // their time was over
	Lapsed  Group // they were held back all the time
	Lifted  Group // by unban, or because the client logged in by SSH

	More bool // may have ended, which the store had no room to remember
}

// Group is changes of a kind.
type Group struct {
	Named []Change // those with most failures
	More  int      // beyond the first thousand
}

// Count is how many there are.
func (g Group) Count() int { return len(g.Named) + g.More }

// Change is a ban that began or ended.
type Change struct {
	ban.Ban
	Ended time.Time // zero while it is in force
	Why   string    // of a spared one, in words; "" otherwise
}

// changes collects Changes.
type changes struct {
	since time.Time

	fresh, renewed, byHand, spared, held, expired, lapsed, lifted top[Change]

	remembered int // bans that ended, of those in the history
}

func newChanges(since time.Time) *changes {
	c := &changes{since: since}
	for _, group := range []*top[Change]{&c.fresh, &c.renewed, &c.byHand, &c.spared, &c.held, &c.expired, &c.lapsed, &c.lifted} {
		group.less = func(a, b Change) int { return cmp.Compare(b.Failures, a.Failures) }
	}
	return c
}

func (c *changes) take() Changes {
	group := func(t top[Change]) Group {
		named, more := t.take()
		return Group{named, more}
	}
	return Changes{
		New: group(c.fresh), Renewed: group(c.renewed), ByHand: group(c.byHand), Spared: group(c.spared), Held: group(c.held),
		Expired: group(c.expired), Lapsed: group(c.lapsed), Lifted: group(c.lifted),
		More: c.remembered >= store.MaxHistory,
	}
}

// begin notes a ban that is in force, if it began after the last report. Of one
// adopted with a damaged state nobody knows when it did.
func (c *changes) begin(tx *store.Tx, never ban.NeverBan, b Ban) error {
	change := Change{Ban: b.Ban}
	switch {
	case !b.Start.After(c.since) || b.Origin == ban.OriginAdopted:
		return nil
	case b.Held:
		c.held.add(change)
	case len(b.Targets) == 0:
		evidence, err := tx.Evidence(b.Prefix)
		if err != nil {
			return err
		}
		m, _ := never.Spares(b.Prefix, evidence.Offenders())
		change.Why = m.Reason
		c.spared.add(change)
	default:
		c.start(change)
	}
	return nil
}

func (c *changes) start(change Change) {
	switch {
	case change.Origin == ban.OriginManual:
		c.byHand.add(change)
	case change.Count > 1:
		c.renewed.add(change)
	default:
		c.fresh.add(change)
	}
}

// end notes a ban that ended after the last report.
func (c *changes) end(x store.Ended) {
	if !x.At.After(c.since) || x.Origin == ban.OriginAdopted && x.How == store.Expired {
		return
	}
	change := Change{Ban: x.Ban, Ended: x.At}
	if x.Start.After(c.since) && x.How != store.Lapsed && x.Origin != ban.OriginAdopted {
		c.start(change)
	}
	switch x.How {
	case store.Lapsed:
		c.lapsed.add(change)
	case store.Unbanned:
		c.lifted.add(change)
	default:
		c.expired.add(change)
	}
}

// nameEnded finds the bans of the past, those among them of which nobody has
// noticed yet that their time is over.
func nameEnded(tx *store.Tx, now time.Time, course *course, changes *changes) error {
	note := func(x store.Ended) {
		changes.end(x)
		course.ban(x.Ban, x.At)
	}
	for x, err := range tx.History() {
		if err != nil {
			return err
		}
		if x.At.After(changes.since) {
			changes.remembered++
		}
		note(x)
	}
	for b, err := range tx.Bans() {
		switch {
		case err != nil:
			return err
		case b.Active(now), b.Source() != "": // who imports a set knows when it ends
		case b.Held:
			note(store.Ended{Ban: b, At: b.Until, How: store.Lapsed})
		default:
			note(store.Ended{Ban: b, At: b.Until, How: store.Expired})
		}
	}
	return nil
}
