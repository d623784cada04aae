package store

import (
	"fmt"
	"net/netip"

	"smtpban/internal/ban"
)

// Ignores returns who is ignored, in order of the prefix. One whose time is over
// stays until DeleteIgnore.
func (t *Tx) Ignores() ([]ban.Ignore, error) {
	var ignores []ban.Ignore
	for i, err := range decoded(t, bucketIgnores, decodeIgnore) {
		if err != nil {
			return nil, err
		}
		ignores = append(ignores, i)
	}
	return ignores, nil
}

// PutIgnore records an ignore in place of an earlier one of the same prefix.
func (t *Tx) PutIgnore(i ban.Ignore) error {
	return t.put(bucketIgnores, prefixKey(i.Prefix), encodeIgnore(i))
}

// DeleteIgnore forgets the ignore of just this prefix.
func (t *Tx) DeleteIgnore(prefix netip.Prefix) error {
	return t.delete(bucketIgnores, prefixKey(prefix))
}

func encodeIgnore(i ban.Ignore) []byte {
	e := newEncoder()
	e.time(i.Added)
	e.time(i.Until)
	e.string(i.Reason)
	return e.seal()
}

func decodeIgnore(key, value []byte) (ban.Ignore, error) {
	prefix, err := parsePrefixKey(key)
	if err != nil {
		return ban.Ignore{}, fmt.Errorf("key %x of an ignore: %w", key, err)
	}
	d := newDecoder(value)
	i := ban.Ignore{Prefix: prefix, Added: d.time(), Until: d.time(), Reason: d.string()}
	if err := d.finish(); err != nil {
		return ban.Ignore{}, fmt.Errorf("ignore of %s: %w", prefix, err)
	}
	return i, nil
}

type jsonIgnore struct {
	Record string  `json:"record"`
	Prefix string  `json:"prefix"`
	Added  *string `json:"added"`
	Until  *string `json:"until"` // null for one without end
	Reason any     `json:"reason"`
}

func showIgnore(key, value []byte) (any, error) {
	i, err := decodeIgnore(key, value)
	if err != nil {
		return nil, err
	}
	var o outward
	return jsonIgnore{"ignore", i.Prefix.String(), o.known(i.Added), o.end(i.Until), showText(i.Reason)}, o.err
}

func (j jsonIgnore) record(in *inward) Record {
	i := ban.Ignore{
		Prefix: in.prefix(j.Prefix), Added: in.time("added", j.Added), Until: in.end("until", j.Until),
		Reason: in.text("reason", j.Reason),
	}
	in.order(i.Added, i.Until, "it ends before it was added")
	return Record{pair: pair{key: prefixKey(i.Prefix), value: encodeIgnore(i)}}
}
