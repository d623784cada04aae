package store

import (
	"bytes"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"smtpban/internal/store/storetest"
)

var (
	damageSeed   = flag.Uint64("damage-seed", 1, "seed of the random damage")
	damageRounds = flag.Int("damage-rounds", 1000, "how often a store is damaged")
)

// grown returns the bytes of a store that has lived: its buckets have branches,
// and pages are free.
func grown(t testing.TB) []byte {
	t.Helper()
	s := newStore(t)
	for round := range 4 {
		update(t, s, func(tx *Tx) error {
			for i := range 120 {
				c := nthClient(i*7 + round)
				if err := errors.Join(tx.PutClient(c, c.LastHit), tx.PutBan(nthBan(i*3+round))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	update(t, s, func(tx *Tx) error {
		for i := range 120 {
			if err := tx.EndBan(nthBan(i*3), at(30), Expired); err != nil {
				return err
			}
		}
		return sample().put(tx)
	})
	return readFile(t, s.path)
}

// everything returns all pairs of a store.
func everything(s *Store) (pairs []string, err error) {
	err = s.View(func(tx *Tx) error {
		return tx.bolt.ForEach(func(name []byte, b *bolt.Bucket) error {
			for k, v := range each(b) {
				pairs = append(pairs, string(name)+"/"+string(k)+"="+string(v))
			}
			return nil
		})
	})
	return pairs, err
}

// TestADamagedFileIsEitherNoticedOrHarmless is about both kinds of opening: after
// an update the file must hold what it held, and what was put.
func TestADamagedFileIsEitherNoticedOrHarmless(t *testing.T) {
	whole := grown(t)
	path := filepath.Join(t.TempDir(), "smtpban.db")
	write := func(data []byte) *Store {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return New(path)
	}
	touch := func(s *Store) error {
		return s.Update(func(tx *Tx) error { return tx.PutLastReport(at(77)) })
	}
	before, err := everything(write(whole))
	if err != nil {
		t.Fatal(err)
	}
	s := New(path)
	if err := touch(s); err != nil {
		t.Fatal(err)
	}
	after, err := everything(New(path))
	if err != nil {
		t.Fatal(err)
	}

	r := rand.New(rand.NewPCG(*damageSeed, 0))
	damages := storetest.Damages()
	harmless := map[string]int{}
	for round := range *damageRounds {
		how := damages[round%len(damages)]
		data := how.Do(r, bytes.Clone(whole))
		got, read := everything(write(data))
		if read != nil && !errors.Is(read, ErrDamaged) {
			t.Errorf("round %d, %s: read: %v", round, how.Name, read)
		}
		if diff := cmp.Diff(before, got); read == nil && diff != "" {
			t.Errorf("round %d, %s: other content: %s", round, how.Name, diff)
		}
		wrote := touch(write(data))
		if wrote != nil && !errors.Is(wrote, ErrDamaged) {
			t.Errorf("round %d, %s: write: %v", round, how.Name, wrote)
		}
		if (read == nil) != (wrote == nil) {
			t.Errorf("round %d, %s: read: %v, write: %v", round, how.Name, read, wrote)
		}
		if wrote != nil {
			if !bytes.Equal(data, readFile(t, path)) {
				t.Errorf("round %d, %s: the damaged file was changed", round, how.Name)
			}
			continue
		}
		harmless[how.Name]++
		if got, err := everything(New(path)); err != nil || !cmp.Equal(after, got) {
			t.Errorf("round %d, %s: after an update: %v %s", round, how.Name, err, cmp.Diff(after, got))
		}
	}
	t.Logf("seed %d, %d rounds, a file of %d bytes; without effect were: %v", *damageSeed, *damageRounds, len(whole), harmless)
}

// TestAFlippedBitInTheListOfBucketsIsEitherNoticedOrHarmless flips every one: with
// the wrong one a bucket is a value to bbolt, and what asks for it gets none.
func TestAFlippedBitInTheListOfBucketsIsEitherNoticedOrHarmless(t *testing.T) {
	s := newStore(t)
	update(t, s, sample().put)
	whole := readFile(t, s.path)
	before, err := everything(s)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := newestMeta(whole)
	if err != nil {
		t.Fatal(err)
	}
	root := int(m.root * m.size)
	buckets := int(native.Uint16(whole[root+10:]))
	for i := range (headerSize + buckets*elementSize) * 8 {
		data := bytes.Clone(whole)
		data[root+i/8] ^= 1 << (i % 8)
		writeFile(t, s.path, data)
		got, err := everything(New(s.path))
		if err != nil && !errors.Is(err, ErrDamaged) || err == nil && !cmp.Equal(before, got) {
			t.Errorf("byte %d, bit %d of the page: %v", i/8, i%8, err)
		}
	}
}
