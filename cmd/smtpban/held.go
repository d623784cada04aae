package main

import (
	"fmt"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

// holding is what is known of the bans that are held back, see OUTAGES in smtpban(8).
type holding struct {
	bans   int
	until  time.Time // when the last of them lapses
	outage ban.Outage
}

// findHeld looks for the bans that are held back at now.
func findHeld(tx *store.Tx, now time.Time) (h holding, err error) {
	for b, err := range tx.Bans() {
		if err != nil {
			return h, err
		}
		if !b.Held || !b.Active(now) {
			continue
		}
		h.bans++
		if b.Until.After(h.until) {
			h.until = b.Until
		}
	}
	h.outage, err = tx.Outage()
	return h, err
}

func (h holding) found() string {
	last := h.outage.Since.In(time.Local).Format(report.TimeLayout)
	if h.outage.Recognised {
		return fmt.Sprintf("%s held back, since nobody could log in any more; the last login was at %s", plural(h.bans, "ban"), last)
	}
	return fmt.Sprintf("%s held back by an outage that is over: somebody logged in at %s", plural(h.bans, "ban"), last)
}

// remedy says what the admin can do, above all nothing: putting the bans into force
// is for attacks alone.
func (h holding) remedy() string {
	lapse := "eld bans lapse by themselves, the last at " + h.until.In(time.Local).Format(report.TimeLayout) +
		"; smtpban unban PREFIX drops one at once; smtpban block --confirm puts all into force, " + onlyAttackers
	if h.outage.Recognised {
		return "is saslauthd, or Dovecot, well? H" + lapse
	}
	return "h" + lapse
}

// onlyAttackers warns of confirming the bans of customers.
const onlyAttackers = "which is right only if they are of attackers (see OUTAGES in smtpban(8))"
