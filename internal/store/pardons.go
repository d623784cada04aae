package store

import (
	"fmt"
	"net/netip"
	"time"

	"smtpban/internal/ban"
)

// Pardon says that nothing counts which clients in a network did up to a time.
// A single client's is kept with the client.
type Pardon struct {
	Prefix netip.Prefix
	Until  time.Time
}

// Covers reports whether the event is pardoned.
func (p Pardon) Covers(e ban.Event) bool {
	return p.Prefix.Contains(e.Address) && !e.Time.After(p.Until)
}

// Pardons returns those of networks.
func (t *Tx) Pardons() ([]Pardon, error) {
	var pardons []Pardon
	for p, err := range decoded(t, bucketPardons, decodePardon) {
		if err != nil {
			return nil, err
		}
		pardons = append(pardons, p)
	}
	return pardons, nil
}

// PutPardon records a pardon, unless there is a later one of the same network.
func (t *Tx) PutPardon(p Pardon) error {
	key := prefixKey(p.Prefix)
	if v := t.get(bucketPardons, key); v != nil {
		last, err := decodePardon(key, v)
		if err != nil || last.Until.After(p.Until) {
			return err
		}
	}
	return t.put(bucketPardons, key, encodeTime(p.Until))
}

// EndPardons lets no pardon reach further than to now.
func (t *Tx) EndPardons(now time.Time) error {
	pardons, err := t.Pardons()
	if err != nil {
		return err
	}
	for _, p := range pardons {
		if !p.Until.After(now) {
			continue
		}
		if err := t.delete(bucketPardons, prefixKey(p.Prefix)); err != nil {
			return err
		}
		if err := t.PutPardon(Pardon{p.Prefix, now}); err != nil {
			return err
		}
	}
	return nil
}

// PrunePardons forgets those given before the time.
func (t *Tx) PrunePardons(before time.Time) error {
	return t.prune(bucketPardons, func(key, value []byte) (bool, error) {
		p, err := decodePardon(key, value)
		return p.Until.Before(before), err
	})
}

func decodePardon(key, value []byte) (Pardon, error) {
	prefix, err := parsePrefixKey(key)
	if err != nil {
		return Pardon{}, fmt.Errorf("key %x of a pardon: %w", key, err)
	}
	d := newDecoder(value)
	p := Pardon{Prefix: prefix, Until: d.time()}
	if err := d.finish(); err != nil {
		return Pardon{}, fmt.Errorf("pardon of %s: %w", prefix, err)
	}
	return p, nil
}
