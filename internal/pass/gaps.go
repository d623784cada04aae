package pass

import (
	"slices"
	"strings"

	"smtpban/internal/journal"
	"smtpban/internal/store"
)

// settingDamage names what the state remembers of damaged places.
const settingDamage = "damage"

// commitDamage stores the undated gaps, but for those that the last run had, too.
// A damaged file says the same at every run until it is gone.
func (r *reading) commitDamage() error {
	var reasons []string
	for _, g := range r.damage {
		reasons = append(reasons, g.Reason)
	}
	slices.Sort(reasons)
	damage := strings.Join(slices.Compact(reasons), "\n")
	var last []byte
	err := r.Store.View(func(tx *store.Tx) (err error) {
		last, err = tx.Setting(settingDamage)
		return err
	})
	if err != nil || string(last) == damage {
		return err
	}
	known := strings.Split(string(last), "\n")
	fresh := slices.DeleteFunc(slices.Clone(r.damage), func(g *journal.Gap) bool { return slices.Contains(known, g.Reason) })
	err = r.Store.Update(func(tx *store.Tx) error {
		if err := r.putGaps(tx, fresh); err != nil {
			return err
		}
		return tx.PutSetting(settingDamage, []byte(damage))
	})
	if err != nil {
		return err
	}
	r.total.Gaps = append(r.total.Gaps, fresh...)
	return nil
}

func (r *reading) putGaps(tx *store.Tx, gaps []*journal.Gap) error {
	total := store.Totals{Gaps: len(gaps)}
	for _, g := range gaps {
		total.Lost += g.Lost
		if err := tx.AddGap(store.Gap{From: g.From, To: g.To, Lost: g.Lost, Reason: g.Reason, Noticed: r.Now}); err != nil {
			return err
		}
	}
	return tx.AddTotals(total)
}
