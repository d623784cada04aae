package ban

import (
	"net/netip"
	"slices"
	"time"
)

// maxEnds bounds how many earlier bans of a client are remembered. With any
// factor that matters the length has met bantime_max long before.
const maxEnds = 64

// Client is what is remembered of one client: its tally and its past. The zero
// value with a Prefix is a client never seen before.
type Client struct {
	Prefix   netip.Prefix
	Hits     []Hit // the window's, newest first; those of a ban are used up
	Failures int   // counted events since the tally began, those within a ban included
	First    time.Time
	Last     time.Time // newest counted event
	LastHit  time.Time // newest event that was a hit, used up or not
	Until    time.Time // end of the latest ban; what comes earlier is within it

	// Ends holds when the bans decided from the journal end or ended, newest
	// first, for the growth of the next one.
	Ends []time.Time

	// Pardon is when the client was last unbanned. Events up to it never
	// count, even when they are read again.
	Pardon time.Time
}

// Verdict is what an event meant for its client.
type Verdict int

// The verdicts of Add.
const (
	Ignored Verdict = iota // has no weight, or was pardoned
	Counted                // a hit, below maxretry
	Within                 // counted, but the client is banned already
	Banned                 // the hit that reached maxretry
)

// Add counts one event of the client. Events should come in the order of the
// log; one that comes late is sorted in among the hits still kept. When the verdict is Banned, the ban
// and the hits that caused it are returned.
//
// The outcome depends on the client's earlier events alone, never on how runs
// divided them: expiry is judged by the event's own time.
func (p Policy) Add(c *Client, e Event) (Verdict, Ban, []Hit) {
	weight := p.Weight(e.Class, e.Service)
	if weight == 0 || !e.Time.After(c.Pardon) {
		return Ignored, Ban{}, nil
	}
	within := e.Time.Before(c.Until)
	if !within && e.Time.Sub(c.LastHit) > p.FindTime {
		c.Hits, c.Failures, c.First, c.Last = nil, 0, e.Time, e.Time
	}
	c.Failures++
	c.First = earliest(c.First, e.Time)
	c.Last = latest(c.Last, e.Time)
	if within {
		return Within, Ban{}, nil
	}
	c.LastHit = latest(c.LastHit, e.Time)
	c.insert(Hit{Event: e, Weight: weight})
	if window := c.window(e.Time, p); window != nil {
		return Banned, p.sentence(c, e.Time, window), window
	}
	c.trim(p.MaxRetry)
	return Counted, Ban{}, nil
}

func (c *Client) insert(h Hit) {
	at, _ := slices.BinarySearchFunc(c.Hits, h, func(a, b Hit) int {
		if a.Time.After(b.Time) {
			return -1
		}
		return 1
	})
	c.Hits = slices.Insert(c.Hits, at, h)
}

// trim drops the oldest hits that no window of a later hit can need: one that
// reaches back to them has reached maxretry without them.
func (c *Client) trim(maxretry int) {
	points := 0
	for i := range c.Hits {
		if points += c.Hits[i].Weight; points >= maxretry {
			c.Hits = c.Hits[:i+1]
			return
		}
	}
}

// window returns the hits, newest first, of the latest window of findtime that
// holds a hit at t and reaches maxretry, nil if there is none.
func (c *Client) window(t time.Time, p Policy) []Hit {
	for newest := range c.Hits {
		if c.Hits[newest].Time.Before(t) {
			return nil
		}
		points := 0
		for oldest := newest; oldest < len(c.Hits); oldest++ {
			if c.Hits[newest].Time.Sub(c.Hits[oldest].Time) > p.FindTime {
				break
			}
			points += c.Hits[oldest].Weight
			if points >= p.MaxRetry && !c.Hits[oldest].Time.After(t) {
				return slices.Clone(c.Hits[newest : oldest+1])
			}
		}
	}
	return nil
}

// sentence bans the client from start and uses up its hits.
func (p Policy) sentence(c *Client, start time.Time, window []Hit) Ban {
	return p.impose(c, Ban{
		Prefix:   c.Prefix,
		Class:    heaviest(window),
		Failures: c.Failures,
		Start:    start,
		Origin:   OriginJournal,
	})
}

// impose gives a ban its length, by the client's past of which it becomes part.
func (p Policy) impose(c *Client, b Ban) Ban {
	count, length := p.Next(*c, b.Start)
	b.Until, b.Count = after(b.Start, length), count
	c.Hits = nil
	c.Until = b.Until
	c.Ends = slices.Insert(c.Ends, 0, b.Until)
	c.Ends = c.Ends[:min(len(c.Ends), maxEnds)]
	return b
}

// Next returns the count and the length of the client's next ban, if that begins
// at start.
func (p Policy) Next(c Client, start time.Time) (count int, length time.Duration) {
	earlier := 0
	for _, end := range c.Ends {
		if start.Before(after(end, p.Forget)) {
			earlier++
		}
	}
	return earlier + 1, p.length(earlier)
}

// Tally returns the client's hits, newest first, that would count together with
// one at now, and their points.
func (p Policy) Tally(c Client, now time.Time) (hits []Hit, points int) {
	for _, h := range c.Hits {
		if now.Sub(h.Time) <= p.FindTime {
			hits = append(hits, h)
			points += h.Weight
		}
	}
	return hits, points
}

// Peak returns the most points that the client's hits made within findtime, the
// newest of them after since, and when that one was.
func (p Policy) Peak(c Client, since time.Time) (points int, at time.Time) {
	for newest, h := range c.Hits {
		if !h.Time.After(since) {
			break
		}
		sum := 0
		for _, older := range c.Hits[newest:] {
			if h.Time.Sub(older.Time) <= p.FindTime {
				sum += older.Weight
			}
		}
		if sum > points {
			points, at = sum, h.Time
		}
	}
	return points, at
}

// heaviest returns the class with most points, the newest on a tie.
func heaviest(newestFirst []Hit) Class {
	points := map[Class]int{}
	for _, h := range newestFirst {
		points[h.Class] += h.Weight
	}
	best := newestFirst[0].Class
	for _, h := range newestFirst {
		if points[h.Class] > points[best] {
			best = h.Class
		}
	}
	return best
}

// Forgive lifts the client's ban and clears its tally. Nothing that it did up
// to a time counts any more, and no ban lengthens the next one that ends or ended
// after since.
func (c *Client) Forgive(since, to time.Time) {
	ends := slices.DeleteFunc(slices.Clone(c.Ends), since.Before)
	*c = Client{Prefix: c.Prefix, Ends: ends, Pardon: latest(c.Pardon, to)}
}

// Sentence records a ban that was not decided from the journal.
func (c *Client) Sentence(b Ban) { c.Until = latest(c.Until, b.Until) }

// TallyOver reports whether the client's tally has ended at now.
func (p Policy) TallyOver(c Client, now time.Time) bool {
	return !now.Before(c.Until) && now.Sub(c.LastHit) > p.FindTime
}

// Due returns when nothing of the client matters any more, so that it can be
// forgotten.
func (p Policy) Due(c Client) time.Time {
	due := latest(after(c.LastHit, p.FindTime), c.Until)
	if len(c.Ends) > 0 {
		due = latest(due, after(slices.MaxFunc(c.Ends, time.Time.Compare), p.Forget))
	}
	if !c.Pardon.IsZero() {
		due = latest(due, after(c.Pardon, p.Forget))
	}
	return due
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
