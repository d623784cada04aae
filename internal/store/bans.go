package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"time"

	"smtpban/internal/ban"
)

// On a prefix there is one ban of our own at most, and one of each set that was
// imported: none of them shortens another, and when one ends the others stay.

// Ban returns the ban of our own on exactly this prefix.
func (t *Tx) Ban(prefix netip.Prefix) (b ban.Ban, ok bool, err error) {
	key := prefixKey(prefix)
	v := t.get(bucketBans, key)
	if v == nil {
		return ban.Ban{}, false, nil
	}
	b, err = decodeBan(key, v)
	return b, err == nil, err
}

// InForce returns what keeps the prefix out at now: the ban of our own on just this
// prefix or, if it has none, the one that lasts longest of those that were imported.
func (t *Tx) InForce(prefix netip.Prefix, now time.Time) (longest ban.Ban, ok bool, err error) {
	for b, err := range t.BansFrom(prefix) {
		if err != nil || b.Prefix != prefix {
			return longest, ok, err
		}
		if !b.Active(now) {
			continue
		}
		if b.Source() == "" {
			return b, true, nil
		}
		if b.Until.After(longest.Until) {
			longest, ok = b, true
		}
	}
	return longest, ok, nil
}

// Bans yields every ban, in order of its prefix, on one prefix our own first. One
// whose time is over stays until EndBan moves it to the history; not during the
// iteration, which would then skip some.
func (t *Tx) Bans() iter.Seq2[ban.Ban, error] { return t.BansFrom(netip.Prefix{}) }

// BansFrom is Bans without those before a prefix.
func (t *Tx) BansFrom(first netip.Prefix) iter.Seq2[ban.Ban, error] {
	return decodedFrom(t, bucketBans, prefixKey(first), decodeBan)
}

// PutBan records a ban in place of an earlier one on the same prefix, with the same
// source.
func (t *Tx) PutBan(b ban.Ban) error {
	return t.put(bucketBans, banKey(b), encodeBan(b))
}

// PutEvidence records what the ban on prefix rests on.
func (t *Tx) PutEvidence(prefix netip.Prefix, evidence ban.Evidence) error {
	return t.put(bucketEvidence, prefixKey(prefix), encodeEvidence(evidence))
}

// Evidence returns what the ban on prefix rests on, nothing for a manual one.
func (t *Tx) Evidence(prefix netip.Prefix) (ban.Evidence, error) {
	v := t.get(bucketEvidence, prefixKey(prefix))
	if v == nil {
		return ban.Evidence{}, nil
	}
	evidence, err := decodeEvidence(v)
	if err != nil {
		return ban.Evidence{}, fmt.Errorf("evidence against %s: %w", prefix, err)
	}
	return evidence, nil
}

// Enforced says since when the ban on a prefix has its route.
type Enforced struct {
	Since time.Time // zero if that is not known
	Late  time.Time // the client's newest failure that this route should have prevented; zero if there is none
}

// PutEnforced records how the ban on prefix is enforced.
func (t *Tx) PutEnforced(prefix netip.Prefix, x Enforced) error {
	return t.put(bucketEnforced, prefixKey(prefix), encodeEnforced(x))
}

func encodeEnforced(x Enforced) []byte {
	e := newEncoder()
	e.time(x.Since)
	e.time(x.Late)
	return e.seal()
}

// Enforced returns how the ban on prefix is enforced.
func (t *Tx) Enforced(prefix netip.Prefix) (x Enforced, err error) {
	v := t.get(bucketEnforced, prefixKey(prefix))
	if v == nil {
		return Enforced{}, nil
	}
	if x, err = decodeEnforced(v); err != nil {
		return Enforced{}, fmt.Errorf("route of the ban on %s: %w", prefix, err)
	}
	return x, nil
}

func decodeEnforced(value []byte) (Enforced, error) {
	d := newDecoder(value)
	x := Enforced{Since: d.time(), Late: d.time()}
	return x, d.finish()
}

// Targets returns the prefixes that are to be blocked for a ban: its own, or, if
// that holds somebody who must never be blocked, the offenders' own. Of a ban by
// hand, which nobody's offences brought, all the rest is blocked, of one that is
// held back nothing.
func (t *Tx) Targets(b ban.Ban, never ban.NeverBan) ([]netip.Prefix, error) {
	if b.Held {
		return nil, nil
	}
	if !never.AsksForOffenders(b.Prefix) {
		return []netip.Prefix{b.Prefix}, nil
	}
	evidence, err := t.Evidence(b.Prefix)
	if err != nil {
		return nil, err
	}
	if b.Origin == ban.OriginManual {
		return never.Without(b.Prefix, evidence.Offenders()), nil
	}
	return never.Targets(b.Prefix, evidence.Offenders()), nil
}

// How a ban ended.
const (
	Expired  = "expired"
	Lapsed   = "lapsed" // it was held back all the time
	Unbanned = "unbanned"
)

// Ended is a ban of the past.
type Ended struct {
	ban.Ban
	At  time.Time // when it ended
	How string
}

// EndBan moves a ban to the history; one that was imported it only deletes, since
// the history is of what we decided and has room for that alone.
func (t *Tx) EndBan(b ban.Ban, at time.Time, how string) error {
	key := banKey(b)
	if b.Source() != "" {
		return t.delete(bucketBans, key)
	}
	x := Ended{b, at, how}
	err := t.put(bucketHistory, endedKey(x), encodeEnded(x))
	return errors.Join(err, t.delete(bucketBans, key), t.delete(bucketEvidence, key), t.delete(bucketEnforced, key))
}

func endedKey(x Ended) []byte {
	stamp := binary.BigEndian.AppendUint64(nil, uint64(max(x.At.UnixMicro(), 0)))
	return append(stamp, prefixKey(x.Prefix)...)
}

// History yields the ended bans, oldest first.
func (t *Tx) History() iter.Seq2[Ended, error] { return decoded(t, bucketHistory, decodeEnded) }

// MaxHistory is how many ended bans are kept, the newest.
const MaxHistory = 10_000

// PruneHistory drops bans that ended before the given time, and the oldest
// beyond a fixed number.
func (t *Tx) PruneHistory(before time.Time) error {
	history := t.bucket(bucketHistory)
	if history == nil {
		return nil
	}
	var keys [][]byte
	for k := range each(history) {
		if len(k) < 8 {
			return fmt.Errorf("key %x of an ended ban: %w", k, errDamaged)
		}
		keys = append(keys, bytes.Clone(k))
	}
	for i, k := range keys {
		if i >= len(keys)-MaxHistory && int64(binary.BigEndian.Uint64(k)) >= before.UnixMicro() {
			return nil
		}
		if err := t.delete(bucketHistory, k); err != nil {
			return err
		}
	}
	return nil
}
