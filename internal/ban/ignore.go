package ban

import (
	"net/netip"
	"time"
)

// Ignore says that nobody in a prefix is to be banned until a time, because the
// admin said so.
type Ignore struct {
	Prefix netip.Prefix
	Added  time.Time // what was done before was forgiven then
	Until  time.Time // Forever for one without end
	Reason string    // the admin's words
}

// Active reports whether its time is not over at now.
func (i Ignore) Active(now time.Time) bool { return now.Before(i.Until) }

// Rewind returns it as it begins no later than now, and lasts as long.
func (i Ignore) Rewind(now time.Time) Ignore {
	if i.Added.After(now) {
		i.Added, i.Until = now, after(now, i.Until.Sub(i.Added))
	}
	return i
}
