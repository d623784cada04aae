package pass

import (
	"slices"
	"strings"

	"smtpban/internal/journal"
	"smtpban/internal/store"
)

// settingDamage names what the state remembers of damaged places.
const settingDamage = "damage"

// onlyNews drops the gaps without a time, if the last run had the same ones. A
// damaged file says the same at every run until it is gone; what is lost in
// between two entries is passed over once.
func (p Pass) onlyNews(gaps []*journal.Gap) ([]*journal.Gap, error) {
	timeless := func(g *journal.Gap) bool { return g.From.IsZero() }
	var reasons []string
	for _, g := range gaps {
		if timeless(g) {
			reasons = append(reasons, g.Reason)
		}
	}
	damage := strings.Join(reasons, "\n")
	var last []byte
	err := p.Store.View(func(tx *store.Tx) (err error) {
		last, err = tx.Setting(settingDamage)
		return err
	})
	if err != nil {
		return gaps, err
	}
	if string(last) == damage {
		return slices.DeleteFunc(gaps, timeless), nil
	}
	return gaps, p.Store.Update(func(tx *store.Tx) error { return tx.PutSetting(settingDamage, []byte(damage)) })
}
