package store

import (
	"bytes"
	"fmt"
	"iter"
	"time"

	bolt "go.etcd.io/bbolt"
)

var (
	bucketMeta      = []byte("meta")      // schema; last commit, report and reading; doubt about the clock; outage; totals; digest
	bucketPositions = []byte("positions") // boot id -> journal position, opaque here
	bucketClients   = []byte("clients")   // rule, prefix -> ban.Client
	bucketDue       = []byte("due")       // hour, rule, prefix -> when to look whether a client can be forgotten
	bucketBans      = []byte("bans")      // prefix, source -> ban.Ban
	bucketEvidence  = []byte("evidence")  // prefix -> ban.Evidence
	bucketEnforced  = []byte("enforced")  // prefix -> Enforced
	bucketHistory   = []byte("history")   // end, prefix -> Ended
	bucketPardons   = []byte("pardons")   // prefix -> up to when nothing counts
	bucketIgnores   = []byte("ignores")   // prefix -> ban.Ignore
	bucketLogins    = []byte("logins")    // prefix -> when it last logged in
	bucketSettings  = []byte("settings")  // name -> what other programs' configuration said, opaque here
	bucketSessions  = []byte("sessions")  // opaque -> what is remembered of an open SMTP session, opaque here
	bucketHours     = []byte("hours")     // hour -> Hour
	bucketUsers     = []byte("users")     // hour, user name -> User
	bucketShapes    = []byte("shapes")    // shape -> Shape
	bucketGaps      = []byte("gaps")      // number, in the order of noticing -> Gap

	keySchema = []byte("schema")
	keyCommit = []byte("commit")
	keyReport = []byte("report")
	keyDoubt  = []byte("doubt")
	keyOutage = []byte("outage")
	keyTotals = []byte("totals")
	keyRead   = []byte("read")
	keyDigest = []byte("digest")
)

// Tx is a transaction on the state. What it returns is only valid as a whole:
// an error means a damaged file.
type Tx struct {
	bolt *bolt.Tx // nil for a file that does not exist
	due  [][]byte // keys for bucketDue, put before the commit

	changed bool   // something was put or deleted
	delta   uint64 // what that adds to the digest
}

func (t *Tx) get(bucket, key []byte) []byte {
	if b := t.bucket(bucket); b != nil {
		return b.Get(key)
	}
	return nil
}

func (t *Tx) bucket(name []byte) *bolt.Bucket {
	if t.bolt == nil {
		return nil
	}
	return t.bolt.Bucket(name)
}

func (t *Tx) put(bucket, key, value []byte) error {
	b, err := t.bolt.CreateBucketIfNotExists(bucket)
	if err != nil {
		return err
	}
	t.replace(bucket, key, b.Get(key))
	t.delta += fingerprint(bucket, key, value)
	return b.Put(key, value)
}

// sequence returns a number that the bucket has never given before, from 1 on.
func (t *Tx) sequence(bucket []byte) (uint64, error) {
	b, err := t.bolt.CreateBucketIfNotExists(bucket)
	if err != nil {
		return 0, err
	}
	return b.NextSequence()
}

func (t *Tx) delete(bucket, key []byte) error {
	b := t.bucket(bucket)
	if b == nil {
		return nil
	}
	t.replace(bucket, key, b.Get(key))
	return b.Delete(key)
}

// replace takes off the digest what stands under the key, if anything.
func (t *Tx) replace(bucket, key, old []byte) {
	t.changed = true
	if old != nil {
		t.delta -= fingerprint(bucket, key, old)
	}
}

// putDigest brings the digest up to date. Migrations change what they like.
func (t *Tx) putDigest(migrated bool) error {
	sum, known, err := storedDigest(t.bolt)
	if err != nil {
		return err
	}
	if migrated || !known {
		return putDigest(t.bolt, digest(t.bolt))
	}
	return putDigest(t.bolt, sum+t.delta)
}

// Positions returns how far the journal was read, for each boot.
func (t *Tx) Positions() (map[[16]byte][]byte, error) {
	positions := map[[16]byte][]byte{}
	b := t.bucket(bucketPositions)
	if b == nil {
		return positions, nil
	}
	for k, v := range each(b) {
		position, err := opened(v)
		if err != nil || len(k) != 16 {
			return nil, fmt.Errorf("position in boot %x: %w", k, errDamaged)
		}
		positions[[16]byte(k)] = position
	}
	return positions, nil
}

// PutPosition records how far a boot was read.
func (t *Tx) PutPosition(boot [16]byte, position []byte) error {
	return t.put(bucketPositions, boot[:], sealed(position))
}

// DeletePosition forgets a boot.
func (t *Tx) DeletePosition(boot [16]byte) error {
	return t.delete(bucketPositions, boot[:])
}

// LastCommit returns when the state last changed, by a clock that is believed,
// zero if never.
func (t *Tx) LastCommit() (time.Time, error) { return t.metaTime(keyCommit) }

// PutLastCommit records when the state last changed.
func (t *Tx) PutLastCommit(now time.Time) error { return t.putMetaTime(keyCommit, now) }

// Doubt returns since when the clock is in doubt, zero if it is not.
func (t *Tx) Doubt() (time.Time, error) { return t.metaTime(keyDoubt) }

// PutDoubt records since when the clock is in doubt; the zero time ends that.
func (t *Tx) PutDoubt(now time.Time) error {
	if now.IsZero() {
		return t.delete(bucketMeta, keyDoubt)
	}
	return t.putMetaTime(keyDoubt, now)
}

// LastReport returns up to when the last marked report told, zero if never.
func (t *Tx) LastReport() (time.Time, error) { return t.metaTime(keyReport) }

// PutLastReport marks a report.
func (t *Tx) PutLastReport(now time.Time) error { return t.putMetaTime(keyReport, now) }

func (t *Tx) metaTime(key []byte) (time.Time, error) {
	v := t.get(bucketMeta, key)
	if v == nil {
		return time.Time{}, nil
	}
	at, err := decodeTime(v)
	if err != nil {
		return time.Time{}, fmt.Errorf("time of last %s: %w", key, err)
	}
	return at, nil
}

func (t *Tx) putMetaTime(key []byte, at time.Time) error {
	return t.put(bucketMeta, key, encodeTime(at))
}

// Setting returns what PutSetting recorded under the name, nil if nothing.
func (t *Tx) Setting(name string) ([]byte, error) {
	v := t.get(bucketSettings, []byte(name))
	if v == nil {
		return nil, nil
	}
	value, err := opened(v)
	if err != nil {
		return nil, fmt.Errorf("setting %s: %w", name, err)
	}
	return value, nil
}

// PutSetting records what another program's configuration said.
func (t *Tx) PutSetting(name string, value []byte) error {
	return t.put(bucketSettings, []byte(name), sealed(value))
}

// Sessions yields the keys and values of the open SMTP sessions.
func (t *Tx) Sessions() iter.Seq2[Session, error] {
	return decoded(t, bucketSessions, func(key, value []byte) (Session, error) {
		plain, err := opened(value)
		if err != nil {
			return Session{}, fmt.Errorf("session %x: %w", key, err)
		}
		return Session{bytes.Clone(key), plain}, nil
	})
}

// Session is an open SMTP session; both parts mean something to others only.
type Session struct{ Key, Value []byte }

// PutSession records a session, or that it is over if it has no value.
func (t *Tx) PutSession(s Session) error {
	if s.Value == nil {
		return t.delete(bucketSessions, s.Key)
	}
	return t.put(bucketSessions, s.Key, sealed(s.Value))
}

// each yields the pairs of a bucket in order of their keys. They are valid
// until the bucket is written to.
func each(b *bolt.Bucket) iter.Seq2[[]byte, []byte] { return eachFrom(b, nil) }

// eachFrom is each without the keys before a first one.
func eachFrom(b *bolt.Bucket, first []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		c := b.Cursor()
		for k, v := c.Seek(first); k != nil; k, v = c.Next() {
			if !yield(k, v) {
				return
			}
		}
	}
}

// decoded yields what decode makes of each pair of a bucket, in order of the
// keys and up to the first failure.
func decoded[T any](t *Tx, bucket []byte, decode func(key, value []byte) (T, error)) iter.Seq2[T, error] {
	return decodedFrom(t, bucket, nil, decode)
}

// decodedFrom is decoded without the keys before a first one.
func decodedFrom[T any](t *Tx, bucket, first []byte, decode func(key, value []byte) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		b := t.bucket(bucket)
		if b == nil {
			return
		}
		for k, v := range eachFrom(b, first) {
			x, err := decode(k, v)
			if !yield(x, err) || err != nil {
				return
			}
		}
	}
}

// prune deletes what is old.
func (t *Tx) prune(bucket []byte, old func(key, value []byte) (bool, error)) error {
	b := t.bucket(bucket)
	if b == nil {
		return nil
	}
	var keys [][]byte
	for k, v := range each(b) {
		isOld, err := old(k, v)
		if err != nil {
			return err
		}
		if isOld {
			keys = append(keys, bytes.Clone(k))
		}
	}
	for _, k := range keys {
		if err := t.delete(bucket, k); err != nil {
			return err
		}
	}
	return nil
}
