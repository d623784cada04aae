package main

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/rogpeppe/go-internal/testscript"
	bolt "go.etcd.io/bbolt"
)

// spoil makes a value of a state unreadable, and lets the digest agree to it.
func spoil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: spoil STATE BUCKET KEY")
	}
	db, err := bolt.Open(ts.MkAbs(args[0]), 0o600, nil)
	ts.Check(err)
	defer db.Close()
	ts.Check(db.Update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket([]byte(args[1]))
		if bucket == nil || bucket.Get([]byte(args[2])) == nil {
			ts.Fatalf("there is no such value")
		}
		if err := bucket.Put([]byte(args[2]), []byte("spoilt")); err != nil {
			return err
		}
		table := crc32.MakeTable(crc32.Castagnoli)
		var sum uint64
		err := tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				if string(k) != "digest" {
					pair := crc32.Update(crc32.Checksum(name, table), table, k)
					sum += uint64(pair)<<32 | uint64(crc32.Update(pair, table, v))
				}
				return nil
			})
		})
		digest := binary.BigEndian.AppendUint64([]byte{1}, sum)
		digest = binary.LittleEndian.AppendUint32(digest, crc32.Checksum(digest, table))
		if err != nil {
			return err
		}
		return tx.Bucket([]byte("meta")).Put([]byte("digest"), digest)
	}))
}
