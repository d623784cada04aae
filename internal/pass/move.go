package pass

import (
	"slices"

	"smtpban/internal/journal"
	"smtpban/internal/store"
)

// Move sets the positions without having read anything, and forgets those of
// boots that the journal has had nothing of for longer than bans are
// remembered.
func (p Pass) Move(positions journal.Positions, present []journal.Boot) error {
	known, err := Positions(p.Store)
	if err != nil {
		return err
	}
	var gone []journal.Boot
	for boot, position := range known {
		if !slices.Contains(present, boot) && p.Now.Sub(position.Realtime) > p.Policy.Forget {
			gone = append(gone, boot)
		}
	}
	if len(positions) == 0 && len(gone) == 0 {
		return nil
	}
	return p.Store.Update(func(tx *store.Tx) error {
		for _, boot := range gone {
			if err := tx.DeletePosition(boot); err != nil {
				return err
			}
		}
		return putPositions(tx, positions)
	})
}

func putPositions(tx *store.Tx, positions journal.Positions) error {
	for boot, position := range positions {
		value, err := position.MarshalBinary()
		if err != nil {
			return err
		}
		if err := tx.PutPosition(boot, value); err != nil {
			return err
		}
	}
	return nil
}
