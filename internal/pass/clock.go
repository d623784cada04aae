package pass

import (
	"errors"
	"net/netip"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// A clock that jumped is not believed at once: before the network is up it may
// be years off, and nobody whose ban was made to run for a week must be let in
// for that. What a machine that was really off has missed is found out by a
// second look.
const (
	// Further from the last commit the clock is in doubt. A job that runs once a day
	// may come late.
	maxJump = 25 * time.Hour

	// A second look that agrees comes so long after the first one: about an
	// hour, since a timer may be early, and at most a good week, since by then
	// the clock may have jumped again (who runs a job every week is served).
	minLook = 55 * time.Minute
	maxLook = 8 * 24 * time.Hour

	// maxAge is how old the last commit becomes where nothing else changes the
	// state. Otherwise a quiet week would look like a jump.
	maxAge = 12 * time.Hour
)

// believed reports whether the clock shows about what it may after the last
// commit; there is nothing to compare a fresh state's with.
func (p Pass) believed(last time.Time) bool {
	return p.Believe || last.IsZero() || p.Now.Sub(last).Abs() <= maxJump
}

// Horizon returns up to when bans have run out and old things may be forgotten:
// now, but where the clock is in doubt not beyond the last commit. So nothing
// expires meanwhile.
func (p Pass) Horizon(tx *store.Tx) (time.Time, error) {
	last, err := tx.LastCommit()
	if err != nil || p.believed(last) || p.Now.Before(last) {
		return p.Now, err
	}
	return last, nil
}

// latest returns the latest time that is known of: now, or the last commit where
// the clock is behind it.
func (p Pass) latest(tx *store.Tx) (time.Time, error) {
	last, err := tx.LastCommit()
	if last.After(p.Now) {
		return last, err
	}
	return p.Now, err
}

// stamp records when the state changed, unless the clock is in doubt.
func (p Pass) stamp(tx *store.Tx) error {
	last, err := tx.LastCommit()
	if err != nil || !p.believed(last) {
		return err
	}
	return tx.PutLastCommit(p.Now)
}

// CheckClock compares the clock with the last commit. Where the two are more
// than a day apart the clock is in doubt, until a check about an hour later
// finds that it went on from there, or that it is back. If the doubt is new,
// the time of the last commit is returned, otherwise the zero time.
//
// Every run that may change something begins with it. Where the doubt can't be
// written down there will be no second look: set Believe then, since otherwise
// no ban would ever end on a full or read-only disk.
func (p Pass) CheckClock() (jumpedFrom time.Time, err error) {
	var last, doubt time.Time
	err = p.Store.View(func(tx *store.Tx) (err error) {
		if last, err = tx.LastCommit(); err != nil {
			return err
		}
		doubt, err = tx.Doubt()
		return err
	})
	if err != nil || last.IsZero() {
		return time.Time{}, err
	}
	age, look := p.Now.Sub(last).Abs(), p.Now.Sub(doubt)
	switch {
	case p.believed(last) && doubt.IsZero() && age < maxAge:
		return time.Time{}, nil
	case !p.believed(last) && (look < 0 || look > maxLook): // no doubt yet is long ago, too
		if err := p.Store.Update(func(tx *store.Tx) error { return tx.PutDoubt(p.Now) }); err != nil {
			return time.Time{}, err
		}
		return last, nil
	case !p.believed(last) && look < minLook:
		return time.Time{}, nil
	}
	return time.Time{}, p.Store.Update(func(tx *store.Tx) error {
		if !doubt.IsZero() {
			if err := errors.Join(tx.PutDoubt(time.Time{}), p.endDoubt(tx, last)); err != nil {
				return err
			}
		}
		return tx.PutLastCommit(p.Now)
	})
}

// settingJump names what the state remembers of a jump ahead that was believed:
// the time of the last commit before it.
const settingJump = "clock"

// endDoubt finds out whether the clock was ahead and is set right, and rewinds
// the state then: it is back at the last commit, or, if a jump ahead was
// believed, it is where it would be without that. A clock that is further back
// may be wrong, even if it is believed: who was banned before must not be let
// out when it is set right.
func (p Pass) endDoubt(tx *store.Tx, last time.Time) error {
	if p.believed(last) {
		return p.rewind(tx)
	}
	if p.Now.After(last) {
		value, err := last.MarshalBinary()
		if err != nil {
			return err
		}
		return tx.PutSetting(settingJump, value)
	}
	value, err := tx.Setting(settingJump)
	if err != nil || value == nil {
		return err
	}
	var before time.Time
	if before.UnmarshalBinary(value) != nil || p.Now.Before(before) { // one that can't be read is none
		return nil
	}
	return p.rewind(tx)
}

// rewind takes back to now what was recorded under a clock that was ahead, and is
// set right. Otherwise who was banned under it would be so until that time has
// come, and who was let go could do as he likes.
func (p Pass) rewind(tx *store.Tx) error {
	was, is := map[netip.Prefix]time.Time{}, map[netip.Prefix]time.Time{}
	var bans []ban.Ban
	for b, err := range tx.Bans() {
		if err != nil {
			return err
		}
		rewound := b.Rewind(p.Now)
		if b.Source() == "" {
			was[b.Prefix], is[b.Prefix] = b.Until, rewound.Until
		}
		if rewound != b {
			bans = append(bans, rewound)
		}
	}
	for _, b := range bans {
		if err := errors.Join(tx.PutBan(b), p.rewindEnforced(tx, b.Prefix)); err != nil {
			return err
		}
	}
	var clients []ban.Client
	for c, err := range tx.Clients() {
		if err != nil {
			return err
		}
		if c.Rewind(p.Now, was[c.Prefix], is[c.Prefix]) {
			clients = append(clients, c)
		}
	}
	for _, c := range clients {
		if err := tx.PutClient(c, p.Policy.Due(c)); err != nil {
			return err
		}
	}
	return errors.Join(p.rewindLogins(tx), p.rewindIgnores(tx), tx.EndPardons(p.Now))
}

// rewindLogins takes back what is known of who could log in, and who could not.
func (p Pass) rewindLogins(tx *store.Tx) error {
	outage, err := tx.Outage()
	if err != nil {
		return err
	}
	if outage.Rewind(p.Now) {
		if err := tx.PutOutage(outage); err != nil {
			return err
		}
	}
	var ahead []store.Login
	for l, err := range tx.Logins() {
		if err != nil {
			return err
		}
		if l.At.After(p.Now) {
			ahead = append(ahead, store.Login{Prefix: l.Prefix, At: p.Now})
		}
	}
	for _, l := range ahead {
		if err := tx.PutLogin(l); err != nil {
			return err
		}
	}
	return nil
}

func (p Pass) rewindEnforced(tx *store.Tx, prefix netip.Prefix) error {
	x, err := tx.Enforced(prefix)
	if err != nil || !x.Since.After(p.Now) {
		return err
	}
	return tx.PutEnforced(prefix, store.Enforced{Since: p.Now})
}
