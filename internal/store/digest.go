package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// A value's checksum can't tell that a key was lost or changed. Hence the digest:
// the sum of a fingerprint of every pair. Each commit adds what it puts and
// takes off what it replaces, so that it costs no look at the rest. A later
// schema that makes it in another way must keep it under another key.

// fingerprint is that of one pair. It tells where the key ends.
func fingerprint(bucket, key, value []byte) uint64 {
	sum := crc32.Update(crc32.Checksum(bucket, castagnoli), castagnoli, key)
	return uint64(sum)<<32 | uint64(crc32.Update(sum, castagnoli, value))
}

// digest looks at every pair.
func digest(tx *bolt.Tx) (sum uint64) {
	_ = tx.ForEach(func(bucket []byte, b *bolt.Bucket) error { // there is no error in it
		for k, v := range each(b) {
			if string(bucket) != string(bucketMeta) || string(k) != string(keyDigest) {
				sum += fingerprint(bucket, k, v)
			}
		}
		return nil
	})
	return sum
}

// storedDigest returns the digest that was committed, unless the file is older
// than digests.
func storedDigest(tx *bolt.Tx) (sum uint64, ok bool, err error) {
	value := tx.Bucket(bucketMeta).Get(keyDigest)
	if value == nil {
		return 0, false, nil
	}
	plain, err := opened(value)
	if err != nil || len(plain) != 8 {
		return 0, false, fmt.Errorf("digest: %w", errDamaged)
	}
	return binary.BigEndian.Uint64(plain), true, nil
}

func putDigest(tx *bolt.Tx, sum uint64) error {
	return tx.Bucket(bucketMeta).Put(keyDigest, sealed(binary.BigEndian.AppendUint64(nil, sum)))
}

// checkContent makes sure that the file holds what was committed.
func checkContent(tx *bolt.Tx) error {
	var first error
	for err := range tx.Check() { // to the end, or its goroutine stays
		if first == nil {
			first = damage{err}
		}
	}
	if first != nil {
		return first
	}
	n, err := readSchema(tx, ^uint32(0))
	if err != nil {
		return err
	}
	want, known, err := storedDigest(tx)
	switch {
	case err != nil:
		return err
	case known && want != digest(tx):
		return damagef("it holds something else than what was committed")
	case !known && n <= newestSchema(migrations):
		return checkUndigested(tx)
	}
	return nil
}

// checkUndigested looks at a file that has no digest, which must be older than
// digests and so have nothing in meta that came with them or after.
func checkUndigested(tx *bolt.Tx) error {
	for k := range each(tx.Bucket(bucketMeta)) {
		if !slices.Contains([]string{string(keySchema), string(keyCommit), string(keyReport)}, string(k)) {
			return damagef("key %x of meta: it should not be there", k)
		}
	}
	return decodeEach(tx)
}

// decodeEach makes sure that every value can be read.
func decodeEach(tx *bolt.Tx) error {
	kinds := kinds()
	return tx.ForEach(func(bucket []byte, b *bolt.Bucket) error {
		for k, v := range each(b) {
			if isMadeAnew(bucket, k) {
				continue
			}
			if _, err := show(kinds, bucket, k, v); errors.Is(err, ErrDamaged) {
				return err
			}
		}
		return nil
	})
}
