package store

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"smtpban/internal/ban"
)

// Login says when a client last logged in.
type Login struct {
	Prefix netip.Prefix
	At     time.Time
}

// maxLogins bounds how many clients are kept of whom that is known.
const maxLogins = 50_000

// Login returns when a client last logged in, zero if it never did.
func (t *Tx) Login(prefix netip.Prefix) (time.Time, error) {
	key := prefixKey(prefix)
	v := t.get(bucketLogins, key)
	if v == nil {
		return time.Time{}, nil
	}
	l, err := decodeLogin(key, v)
	return l.At, err
}

// Logins yields when each client last logged in, in order of its prefix.
func (t *Tx) Logins() iter.Seq2[Login, error] { return decoded(t, bucketLogins, decodeLogin) }

// PutLogin records when a client last logged in.
func (t *Tx) PutLogin(l Login) error {
	e := newEncoder()
	e.time(l.At)
	return t.put(bucketLogins, prefixKey(l.Prefix), e.seal())
}

func decodeLogin(key, value []byte) (Login, error) {
	prefix, err := parsePrefixKey(key)
	if err != nil {
		return Login{}, fmt.Errorf("key %x of a login: %w", key, err)
	}
	d := newDecoder(value)
	l := Login{Prefix: prefix, At: d.time()}
	if err := d.finish(); err != nil {
		return Login{}, fmt.Errorf("login of %s: %w", prefix, err)
	}
	return l, nil
}

// PruneLogins forgets the clients that last logged in before a time and, beyond
// a fixed number, those that did so longest ago.
func (t *Tx) PruneLogins(before time.Time) error {
	var times []time.Time
	for l, err := range t.Logins() {
		if err != nil {
			return err
		}
		times = append(times, l.At)
	}
	if excess := len(times) - maxLogins; excess > 0 {
		slices.SortFunc(times, time.Time.Compare)
		if oldest := times[excess]; oldest.After(before) {
			before = oldest
		}
	}
	return t.prune(bucketLogins, func(key, value []byte) (bool, error) {
		l, err := decodeLogin(key, value)
		return l.At.Before(before), err
	})
}

// Outage returns what speaks for an outage of the authentication.
func (t *Tx) Outage() (ban.Outage, error) {
	v := t.get(bucketMeta, keyOutage)
	if v == nil {
		return ban.Outage{}, nil
	}
	o, err := decodeOutage(v)
	if err != nil {
		return ban.Outage{}, fmt.Errorf("outage: %w", err)
	}
	return o, nil
}

// PutOutage records what speaks for an outage of the authentication.
func (t *Tx) PutOutage(o ban.Outage) error { return t.put(bucketMeta, keyOutage, encodeOutage(o)) }

func encodeOutage(o ban.Outage) []byte {
	e := newEncoder()
	e.time(o.Since)
	e.time(o.Fault)
	e.bool(o.Recognised)
	e.bool(o.Confirmed)
	e.bool(o.Held)
	e.uint(uint64(len(o.Victims)))
	for _, prefix := range slices.SortedFunc(maps.Keys(o.Victims), ban.ComparePrefix) {
		e.addr(prefix.Addr())
		e.uint(uint64(prefix.Bits()))
		e.time(o.Victims[prefix].Last)
		e.time(o.Victims[prefix].Start)
		e.time(o.Victims[prefix].Until)
	}
	return e.seal()
}

func decodeOutage(value []byte) (ban.Outage, error) {
	d := newDecoder(value)
	o := ban.Outage{Since: d.time(), Fault: d.time(), Recognised: d.bool(), Confirmed: d.bool(), Held: d.bool()}
	for n := d.count(); n > 0 && d.err == nil; n-- {
		if o.Victims == nil {
			o.Victims = map[netip.Prefix]ban.Victim{}
		}
		prefix := netip.PrefixFrom(d.addr(), int(d.uint()))
		if !prefix.IsValid() {
			d.fail()
		}
		o.Victims[prefix] = ban.Victim{Last: d.time(), Start: d.time(), Until: d.time()}
	}
	return o, d.finish()
}
