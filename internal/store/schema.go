package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// migrations lead from one layout to the next: the first one from schema 1 to
// 2. A missing bucket reads as empty, so a new one needs a step only if an earlier
// version must not go on without knowing of it.
//
// The first change that is written to a file takes them. Who only reads, perhaps
// from a disk that can't be written to, takes the file as it is: all that reads
// values must know their earlier forms.
var migrations = []func(*bolt.Tx) error{
	func(*bolt.Tx) error { return nil }, // ignores: an earlier version would ban who is ignored
}

// newestSchema is the number of the layout to which the steps lead.
func newestSchema(steps []func(*bolt.Tx) error) uint32 { return uint32(1 + len(steps)) }

func writeSchema(tx *bolt.Tx, n uint32) error {
	meta, err := tx.CreateBucketIfNotExists(bucketMeta)
	if err != nil {
		return err
	}
	return meta.Put(keySchema, binary.BigEndian.AppendUint32(nil, n))
}

// readSchema returns the file's schema, which this version knows if it is not
// after newest.
func readSchema(tx *bolt.Tx, newest uint32) (uint32, error) {
	meta := tx.Bucket(bucketMeta)
	if meta == nil || meta.Get(keySchema) == nil {
		if isForeign(tx) {
			return 0, errors.New("not a state file of smtpban")
		}
		return 0, fmt.Errorf("schema number: %w", errDamaged)
	}
	value := meta.Get(keySchema)
	if len(value) != 4 {
		return 0, fmt.Errorf("schema number: %w", errDamaged)
	}
	n := binary.BigEndian.Uint32(value)
	switch {
	case n == 0:
		return 0, fmt.Errorf("schema number: %w", errDamaged)
	case n > newest:
		return 0, fmt.Errorf("schema %d, this version knows up to %d: %w", n, newest, ErrNewer)
	}
	return n, nil
}

// isForeign reports whether a file without a schema is another program's: it has
// buckets, and none of ours.
func isForeign(tx *bolt.Tx) bool {
	bucket, _ := tx.Cursor().First()
	return bucket != nil && tx.Bucket(bucketClients) == nil && tx.Bucket(bucketBans) == nil && tx.Bucket(bucketPositions) == nil
}

// migrate brings the file from its schema up to the one after the last step.
func migrate(tx *bolt.Tx, steps []func(*bolt.Tx) error) (changed bool, err error) {
	newest := newestSchema(steps)
	n, err := readSchema(tx, newest)
	if err != nil || n == newest {
		return false, err
	}
	for ; n < newest; n++ {
		if err := steps[n-1](tx); err != nil {
			return false, fmt.Errorf("migrating from schema %d: %w", n, err)
		}
	}
	return true, writeSchema(tx, newest)
}
