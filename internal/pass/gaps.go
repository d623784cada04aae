package pass

import (
	"strings"

	"smtpban/internal/journal"
	"smtpban/internal/store"
)

// settingDamage names what the state remembers of damaged places.
const settingDamage = "damage"

// commitDamage stores the undated gaps, unless the last run had the same ones. A
// damaged file says the same at every run until it is gone.
func (r *reading) commitDamage() error {
	var reasons []string
	for _, g := range r.damage {
		reasons = append(reasons, g.Reason)
	}
	damage := strings.Join(reasons, "\n")
	var last []byte
	err := r.Store.View(func(tx *store.Tx) (err error) {
		last, err = tx.Setting(settingDamage)
		return err
	})
	if err != nil || string(last) == damage {
		return err
	}
	err = r.Store.Update(func(tx *store.Tx) error {
		if err := r.putGaps(tx, r.damage); err != nil {
			return err
		}
		return tx.PutSetting(settingDamage, []byte(damage))
	})
	if err != nil {
		return err
	}
	r.total.Gaps = append(r.total.Gaps, r.damage...)
	return nil
}

func (r *reading) putGaps(tx *store.Tx, gaps []*journal.Gap) error {
	for _, g := range gaps {
		if err := tx.AddGap(store.Gap{From: g.From, To: g.To, Lost: g.Lost, Reason: g.Reason, Noticed: r.Now}); err != nil {
			return err
		}
	}
	return nil
}
