package store

import (
	"fmt"
	"maps"
	"slices"

	"smtpban/internal/ban"
)

// Totals count what happened since the state was made. Unlike hours and gaps,
// nothing of them is ever forgotten.
type Totals struct {
	Classes map[ban.Class]Count
	Bans    map[string]int // by their origin, also if their time was over when the log was read
	Gaps    int
	Lost    int // messages in gaps of which that is known
}

// Totals returns what was counted up to now.
func (t *Tx) Totals() (Totals, error) {
	v := t.get(bucketMeta, keyTotals)
	if v == nil {
		return Totals{}, nil
	}
	x, err := decodeTotals(v)
	if err != nil {
		return Totals{}, fmt.Errorf("totals: %w", err)
	}
	return x, nil
}

// AddTotals adds to what was counted up to now. Nothing to add is no change.
func (t *Tx) AddTotals(more Totals) error {
	if len(more.Classes) == 0 && len(more.Bans) == 0 && more.Gaps == 0 {
		return nil
	}
	sum, err := t.Totals()
	if err != nil {
		return err
	}
	classes, bans := map[ban.Class]Count{}, map[string]int{}
	for _, x := range []Totals{sum, more} {
		for class, n := range x.Classes {
			classes[class] = Count{classes[class].Events + n.Events, classes[class].Counted + n.Counted}
		}
		for origin, n := range x.Bans {
			bans[origin] += n
		}
	}
	return t.put(bucketMeta, keyTotals, encodeTotals(Totals{classes, bans, sum.Gaps + more.Gaps, sum.Lost + more.Lost}))
}

func encodeTotals(x Totals) []byte {
	e := newEncoder()
	e.classes(x.Classes)
	e.uint(uint64(len(x.Bans)))
	for _, origin := range slices.Sorted(maps.Keys(x.Bans)) {
		e.string(origin)
		e.uint(uint64(x.Bans[origin]))
	}
	e.uint(uint64(x.Gaps))
	e.uint(uint64(x.Lost))
	return e.seal()
}

func decodeTotals(value []byte) (Totals, error) {
	d := newDecoder(value)
	x := Totals{Classes: d.classes(), Bans: map[string]int{}}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		origin := d.string()
		x.Bans[origin] = int(d.uint())
	}
	x.Gaps, x.Lost = int(d.uint()), int(d.uint())
	return x, d.finish()
}
