package store

import (
	"encoding/binary"
	"fmt"
	"iter"
	"time"
)

// Gap is a stretch of the log that was written but never read.
type Gap struct {
	From, To time.Time // zero where it is not known
	Lost     int       // messages, 0 if it is not known how many
	Reason   string    // for people
	Noticed  time.Time
}

// maxGaps bounds how many are kept: a disk that dies makes new ones at every run.
const maxGaps = 1000

// AddGap records a gap, in place of the oldest one if there are too many.
func (t *Tx) AddGap(g Gap) error {
	n, err := t.sequence(bucketGaps)
	if err != nil {
		return err
	}
	if n > maxGaps {
		if err := t.delete(bucketGaps, gapKey(n-maxGaps)); err != nil {
			return err
		}
	}
	return t.put(bucketGaps, gapKey(n), encodeGap(g))
}

func encodeGap(g Gap) []byte {
	e := newEncoder()
	e.time(g.From)
	e.time(g.To)
	e.uint(uint64(g.Lost))
	e.string(g.Reason)
	e.time(g.Noticed)
	return e.seal()
}

func gapKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// Gaps yields the gaps in the order in which they were noticed.
func (t *Tx) Gaps() iter.Seq2[Gap, error] { return decoded(t, bucketGaps, decodeGap) }

func decodeGap(key, value []byte) (Gap, error) {
	d := newDecoder(value)
	g := Gap{From: d.time(), To: d.time(), Lost: int(d.uint()), Reason: d.string(), Noticed: d.time()}
	if err := d.finish(); err != nil {
		return Gap{}, fmt.Errorf("gap %x: %w", key, err)
	}
	return g, nil
}

// PruneGaps forgets the gaps that were noticed before a time.
func (t *Tx) PruneGaps(before time.Time) error {
	return t.prune(bucketGaps, func(key, value []byte) (bool, error) {
		g, err := decodeGap(key, value)
		return g.Noticed.Before(before), err
	})
}
