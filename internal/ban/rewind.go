package ban

import "time"

// A clock that is ahead leaves times behind that have not come yet. Once it is
// set right they count as now, as an entry from the future does.

// Rewind returns the ban as it begins no later than now, and lasts as long.
func (b Ban) Rewind(now time.Time) Ban {
	if b.Start.After(now) {
		b.Start, b.Until = now, after(now, b.Until.Sub(b.Start))
	}
	return b
}

// Rewind takes what the client did back to now, and reports whether that changes
// anything. Its ban, if there is one, ended at was and ends at is; others are over.
func (c *Client) Rewind(now, was, is time.Time) (changed bool) {
	limit := func(at *time.Time, to time.Time) {
		if at.After(to) {
			*at, changed = to, true
		}
	}
	limit(&c.Until, latest(is, now))
	for i := range c.Ends {
		if c.Ends[i].Equal(was) {
			limit(&c.Ends[i], is)
		} else {
			limit(&c.Ends[i], now)
		}
	}
	for i := range c.Hits {
		limit(&c.Hits[i].Time, now)
	}
	for _, at := range []*time.Time{&c.First, &c.Last, &c.LastHit, &c.Pardon} {
		limit(at, now)
	}
	return changed
}

// Rewind takes what speaks for an outage back to now, and reports whether that
// changes anything. A ban that began later is no more as it was noted.
func (o *Outage) Rewind(now time.Time) (changed bool) {
	limit := func(at *time.Time) {
		if at.After(now) {
			*at, changed = now, true
		}
	}
	limit(&o.Since)
	limit(&o.Fault)
	for prefix, v := range o.Victims {
		limit(&v.Last)
		if v.Start.After(now) {
			v.Start, v.Until, changed = time.Time{}, time.Time{}, true
		}
		o.Victims[prefix] = v
	}
	return changed
}
