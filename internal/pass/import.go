package pass

import (
	"net/netip"
	"slices"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// SetChange says what an import changed.
type SetChange struct {
	Count int // bans in the set
	New   int // of these, that were not in it before
	Gone  int // that were, and are not any more
}

// Import makes the bans the whole set of this name: those of an earlier import that
// are not among them end at once. It leaves all other bans alone, those on the same
// prefixes included. The bans are in order of their prefix, each there once.
func (p Pass) Import(name string, bans []ban.Imported) (done SetChange, err error) {
	done.Count = len(bans)
	err = p.Store.Update(func(tx *store.Tx) error {
		gone, kept, err := leftOut(tx, name, bans)
		if err != nil {
			return err
		}
		done.New, done.Gone = len(bans)-kept, len(gone)
		origin := ban.OriginImport + name
		for _, prefix := range gone {
			if err := tx.EndBan(ban.Ban{Prefix: prefix, Origin: origin}, p.Now, store.Unbanned); err != nil {
				return err
			}
		}
		for _, b := range bans {
			if err := tx.PutBan(ban.Ban{Prefix: b.Prefix, Start: b.Start, Until: b.Until, Count: 1, Origin: origin}); err != nil {
				return err
			}
		}
		return p.stamp(tx)
	})
	return done, err
}

// leftOut returns the prefixes in the set that are not among the bans, and how many
// are.
func leftOut(tx *store.Tx, name string, bans []ban.Imported) (gone []netip.Prefix, kept int, err error) {
	for b, err := range tx.Bans() {
		if err != nil {
			return nil, 0, err
		}
		if b.Source() != name {
			continue
		}
		if _, found := slices.BinarySearchFunc(bans, b.Prefix, compareImported); found {
			kept++
		} else {
			gone = append(gone, b.Prefix)
		}
	}
	return gone, kept, nil
}

func compareImported(b ban.Imported, prefix netip.Prefix) int {
	return ban.ComparePrefix(b.Prefix, prefix)
}
