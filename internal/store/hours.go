package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"smtpban/internal/ban"
)

// Count says how often something was seen, and how often it counted toward a
// ban.
type Count struct{ Events, Counted int }

// Hour is what was seen in an hour, whether it counted or not.
type Hour struct {
	Start   time.Time // of the hour, by the time of the events
	Classes map[ban.Class]Count
}

func hourKey(t time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(max(t.Unix()/3600, 0)))
}

// AddHour adds to what was seen in the hour.
func (t *Tx) AddHour(h Hour) error {
	key := hourKey(h.Start)
	sum := Hour{Classes: map[ban.Class]Count{}}
	if v := t.get(bucketHours, key); v != nil {
		var err error
		if sum, err = decodeHour(key, v); err != nil {
			return err
		}
	}
	for class, n := range h.Classes {
		old := sum.Classes[class]
		sum.Classes[class] = Count{old.Events + n.Events, old.Counted + n.Counted}
	}
	return t.put(bucketHours, key, encodeHour(sum))
}

func encodeHour(h Hour) []byte {
	e := newEncoder()
	e.classes(h.Classes)
	return e.seal()
}

func (e *encoder) classes(counts map[ban.Class]Count) {
	e.uint(uint64(len(counts)))
	for _, class := range slices.Sorted(maps.Keys(counts)) {
		e.uint(uint64(class))
		e.uint(uint64(counts[class].Events))
		e.uint(uint64(counts[class].Counted))
	}
}

// Hours yields what was seen hour by hour, oldest first.
func (t *Tx) Hours() iter.Seq2[Hour, error] { return decoded(t, bucketHours, decodeHour) }

func decodeHour(key, value []byte) (Hour, error) {
	if len(key) != 8 {
		return Hour{}, fmt.Errorf("key %x of an hour: %w", key, errDamaged)
	}
	d := newDecoder(value)
	h := Hour{Start: time.Unix(int64(binary.BigEndian.Uint64(key))*3600, 0).UTC(), Classes: d.classes()}
	if err := d.finish(); err != nil {
		return Hour{}, fmt.Errorf("hour %s: %w", h.Start.Format(time.RFC3339), err)
	}
	return h, nil
}

func (d *decoder) classes() map[ban.Class]Count {
	counts := map[ban.Class]Count{}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		class := ban.Class(d.uint())
		counts[class] = Count{Events: int(d.uint()), Counted: int(d.uint())}
	}
	return counts
}

// PruneHours forgets the hours before a time.
func (t *Tx) PruneHours(before time.Time) error { return t.pruneHours(bucketHours, before) }

// pruneHours deletes what a bucket, whose keys begin with an hour, has of the hours
// before that of a time.
func (t *Tx) pruneHours(bucket []byte, before time.Time) error {
	first := hourKey(before)
	return t.prune(bucket, func(key, _ []byte) (bool, error) { return bytes.Compare(key, first) < 0, nil })
}
