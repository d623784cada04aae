package journal

import "time"

// Place is what finds an entry again once its cursor is forgotten. Now and then
// two entries share one.
type Place struct {
	Boot       Boot
	Time       time.Time
	Identifier string
	PID        int
}

// Place returns that of the entry.
func (e Entry) Place() Place { return Place{e.Boot, e.Time, e.Identifier, e.PID} }
