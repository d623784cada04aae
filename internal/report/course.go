package report

import (
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// Hour is what happened in an hour.
type Hour struct {
	Start    time.Time
	Attempts map[ban.Class]int // offences, whether they counted or not
	Bans     int               // in force at its end, but for those held back
}

// maxHours is for how long the store has what was seen.
const maxHours = 13 * 7 * 24

// course finds out how attempts and bans went, hour by hour. It needs as much
// memory however many there are.
type course struct {
	begin time.Time // of the first hour
	whole bool      // it was asked for, even where nothing happened
	hours []Hour
	steps []int // how many bans more there are at the end of each hour than of the one before
}

func newCourse(since, now time.Time) *course {
	end := now.Add(-1).Truncate(time.Hour).Add(time.Hour)
	c := course{begin: end.Add(-maxHours * time.Hour)}
	if since.After(c.begin) {
		c.begin, c.whole = since.Truncate(time.Hour), true
	}
	n := max(int(end.Sub(c.begin)/time.Hour), 0)
	c.hours, c.steps = make([]Hour, n), make([]int, n+1)
	return &c
}

// readHours notes what the log told of.
func (c *course) readHours(tx *store.Tx) error {
	for h, err := range tx.Hours() {
		if err != nil {
			return err
		}
		i := int(h.Start.Sub(c.begin) / time.Hour)
		if h.Start.Before(c.begin) || i >= len(c.hours) {
			continue
		}
		attempts := map[ban.Class]int{}
		for class, n := range h.Classes {
			if class != ban.Login {
				attempts[class] = n.Events
			}
		}
		c.hours[i].Attempts = attempts
	}
	return nil
}

// ban notes a ban that ended, or that is in force if end is zero.
func (c *course) ban(b ban.Ban, end time.Time) {
	if b.Held {
		return
	}
	c.steps[c.firstEnd(b.Start)]++
	if !end.IsZero() {
		c.steps[c.firstEnd(end)]--
	}
}

// firstEnd returns the first hour that does not end before t.
func (c *course) firstEnd(t time.Time) int {
	switch {
	case !t.After(c.begin):
		return 0
	case t.After(c.begin.Add(time.Duration(len(c.hours)) * time.Hour)):
		return len(c.hours)
	}
	return int((t.Sub(c.begin) - 1) / time.Hour)
}

// take returns the hours, without those at the beginning in which nothing was if
// nobody asked for them.
func (c *course) take() []Hour {
	first, bans := len(c.hours), 0
	for i := range c.hours {
		bans += c.steps[i]
		c.hours[i].Start, c.hours[i].Bans = c.begin.Add(time.Duration(i)*time.Hour), bans
		if c.whole || bans > 0 || len(c.hours[i].Attempts) > 0 {
			first = min(first, i)
		}
	}
	return c.hours[first:]
}
