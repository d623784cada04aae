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
	return p.Store.Update(func(tx *store.Tx) error {
		known, err := positionsIn(tx)
		if err != nil {
			return err
		}
		horizon, err := p.Horizon(tx)
		if err != nil {
			return err
		}
		for boot, position := range known {
			if slices.Contains(present, boot) || horizon.Sub(position.Realtime) <= p.Policy.Forget {
				continue
			}
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
