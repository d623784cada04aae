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

// damages are ways to break a file.
var damages = []struct {
	name string
	do   func(r *rand.Rand, data []byte) []byte
}{
	{"emptied", func(*rand.Rand, []byte) []byte { return nil }},
	{"cut off", func(r *rand.Rand, data []byte) []byte { return data[:r.IntN(len(data))] }},
	{"cut off at a page", func(r *rand.Rand, data []byte) []byte { return data[:r.IntN(len(data)/4096)*4096] }},
	{"zeroed", func(r *rand.Rand, data []byte) []byte {
		begin := r.IntN(len(data))
		clear(data[begin:min(begin+1+r.IntN(8192), len(data))])
		return data
	}},
	{"a bit flipped", func(r *rand.Rand, data []byte) []byte {
		data[r.IntN(len(data))] ^= 1 << r.IntN(8)
		return data
	}},
	{"a bit flipped at the head of a page", func(r *rand.Rand, data []byte) []byte {
		data[r.IntN(len(data)/4096)*4096+r.IntN(96)] ^= 1 << r.IntN(8)
		return data
	}},
	{"garbage", func(r *rand.Rand, data []byte) []byte {
		begin := r.IntN(len(data))
		for i := begin; i < min(begin+1+r.IntN(512), len(data)); i++ {
			data[i] = byte(r.Uint32())
		}
		return data
	}},
	{"all garbage", func(r *rand.Rand, data []byte) []byte {
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		return data
	}},
	{"pages swapped", func(r *rand.Rand, data []byte) []byte {
		a, b := r.IntN(len(data)/4096)*4096, r.IntN(len(data)/4096)*4096
		page := bytes.Clone(data[a : a+4096])
		copy(data[a:a+4096], data[b:b+4096])
		copy(data[b:b+4096], page)
		return data
	}},
	{"a page of an earlier time", func(r *rand.Rand, data []byte) []byte {
		a, b := r.IntN(len(data)/4096)*4096, r.IntN(len(data)/4096)*4096
		copy(data[a:a+4096], data[b:b+4096])
		copy(data[a:a+8], native.AppendUint64(nil, uint64(a/4096)))
		return data
	}},
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
	harmless := map[string]int{}
	for round := range *damageRounds {
		how := damages[round%len(damages)]
		data := how.do(r, bytes.Clone(whole))
		got, read := everything(write(data))
		if read != nil && !errors.Is(read, ErrDamaged) {
			t.Errorf("round %d, %s: read: %v", round, how.name, read)
		}
		if diff := cmp.Diff(before, got); read == nil && diff != "" {
			t.Errorf("round %d, %s: other content: %s", round, how.name, diff)
		}
		wrote := touch(write(data))
		if wrote != nil && !errors.Is(wrote, ErrDamaged) {
			t.Errorf("round %d, %s: write: %v", round, how.name, wrote)
		}
		if (read == nil) != (wrote == nil) {
			t.Errorf("round %d, %s: read: %v, write: %v", round, how.name, read, wrote)
		}
		if wrote != nil {
			if !bytes.Equal(data, readFile(t, path)) {
				t.Errorf("round %d, %s: the damaged file was changed", round, how.name)
			}
			continue
		}
		harmless[how.name]++
		if got, err := everything(New(path)); err != nil || !cmp.Equal(after, got) {
			t.Errorf("round %d, %s: after an update: %v %s", round, how.name, err, cmp.Diff(after, got))
		}
	}
	t.Logf("seed %d, %d rounds, a file of %d bytes; without effect were: %v", *damageSeed, *damageRounds, len(whole), harmless)
}
