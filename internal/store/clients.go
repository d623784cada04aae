package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"

	"smtpban/internal/ban"
)

// ruleDefault keys the tallies of the one rule there is: maxretry points within
// findtime.
const ruleDefault = 0

func clientKey(p netip.Prefix) []byte { return append([]byte{ruleDefault}, prefixKey(p)...) }

// Client returns what is known of a client, which may be nothing.
func (t *Tx) Client(prefix netip.Prefix) (ban.Client, error) {
	key := clientKey(prefix)
	v := t.get(bucketClients, key)
	if v == nil {
		return ban.Client{Prefix: prefix}, nil
	}
	return decodeClient(key, v)
}

// PutClient records a client. due is when it may be forgotten: a new client is
// looked at then, a known one when it was to be anyway, and Forget judges anew.
func (t *Tx) PutClient(c ban.Client, due time.Time) error {
	key := clientKey(c.Prefix)
	if t.get(bucketClients, key) == nil {
		t.due = append(t.due, dueKey(due, key))
	}
	return t.put(bucketClients, key, encodeClient(c))
}

// Clients yields every client, in order of its prefix.
func (t *Tx) Clients() iter.Seq2[ban.Client, error] { return decoded(t, bucketClients, decodeClient) }

// dueKey rounds up to the hour: nobody needs to be forgotten on the second, and
// a client that stays needs no new key at each visit.
func dueKey(due time.Time, client []byte) []byte {
	hour := due.Unix()/3600 + 1
	return append(binary.BigEndian.AppendUint64(nil, uint64(max(hour, 0))), client...)
}

// putDue writes the new keys of the index in their order. As they come, by
// client, they would take bbolt quadratic time: 37 s for 100,000.
func (t *Tx) putDue() error {
	slices.SortFunc(t.due, bytes.Compare)
	for _, k := range t.due {
		if err := t.put(bucketDue, k, nil); err != nil {
			return err
		}
	}
	return nil
}

// maxForget is how many clients Forget looks at, so that what it changes finds
// room in memory.
const maxForget = 1000

// Forget drops the clients of whom nothing matters any more at now, judged by
// due, and returns how many. There may be more of them to look at in another
// transaction.
func (t *Tx) Forget(now time.Time, due func(ban.Client) time.Time) (forgotten int, more bool, err error) {
	b := t.bucket(bucketDue)
	if b == nil {
		return 0, false, nil
	}
	var keys [][]byte
	for k := range each(b) {
		if len(k) <= 8 {
			return 0, false, fmt.Errorf("key %x of a client due: %w", k, errDamaged)
		}
		if more = len(keys) == maxForget; more || int64(binary.BigEndian.Uint64(k)) > now.Unix()/3600 {
			break
		}
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		gone, err := t.forget(k, now, due)
		if err != nil {
			return forgotten, false, err
		}
		if gone {
			forgotten++
		}
	}
	return forgotten, more, nil
}

func (t *Tx) forget(k []byte, now time.Time, due func(ban.Client) time.Time) (bool, error) {
	if err := t.delete(bucketDue, k); err != nil {
		return false, err
	}
	client := k[8:]
	prefix, err := parsePrefixKey(client[1:])
	if err != nil {
		return false, fmt.Errorf("key %x of a client due: %w", k, err)
	}
	c, err := t.Client(prefix)
	if err != nil {
		return false, err
	}
	if at := due(c); at.After(now) {
		t.due = append(t.due, dueKey(at, client))
		return false, nil
	}
	return true, t.delete(bucketClients, client)
}
