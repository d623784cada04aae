package store

import (
	"encoding/binary"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"smtpban/internal/ban"
)

const many = 100_000

// nth returns single IPv4 clients in order.
func nth(i int) netip.Prefix {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 0xcb007100+uint32(i))
	return netip.PrefixFrom(netip.AddrFrom4(a), 32)
}

func nthBan(i int) ban.Ban {
	start := epoch.Add(time.Duration(i) * 7919 * time.Second % (24 * time.Hour))
	return ban.Ban{
		Prefix: nth(i), Class: ban.SASLAuth, Failures: 5,
		Start: start, Until: start.Add(24 * time.Hour), Count: 1, Origin: ban.OriginJournal,
	}
}

func nthClient(i int) ban.Client {
	last := epoch.Add(time.Duration(i) * 7919 * time.Second % (24 * time.Hour))
	h := hit(last)
	h.Address = nth(i).Addr()
	return ban.Client{Prefix: nth(i), Failures: 1, First: last, Last: last, LastHit: last, Hits: []ban.Hit{h}}
}

func putManyBans(tx *Tx) error {
	for i := range many {
		if err := tx.PutBan(nthBan(i)); err != nil {
			return err
		}
	}
	return nil
}

// putManyClients has them due in any order, as in a first run over a day's log.
func putManyClients(tx *Tx) error {
	for i := range many {
		c := nthClient(i)
		if err := tx.PutClient(c, c.LastHit.Add(24*time.Hour)); err != nil {
			return err
		}
	}
	return nil
}

func BenchmarkUpdate(b *testing.B) {
	for _, bc := range []struct {
		name string
		fn   func(*Tx) error
	}{
		{"nothing", func(*Tx) error { return nil }},
		{"100k bans", putManyBans},
		{"100k clients", putManyClients},
	} {
		b.Run(bc.name, func(b *testing.B) {
			dir := b.TempDir()
			for b.Loop() {
				b.StopTimer()
				s := New(filepath.Join(dir, "smtpban.db"))
				if err := s.create(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := s.Update(bc.fn); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				remove(b, s.path)
				b.StartTimer()
			}
		})
	}
}

func BenchmarkAfter100kOfEach(b *testing.B) {
	s := newStore(b)
	update(b, s, putManyBans)
	update(b, s, putManyClients)
	b.Run("View of all bans", func(b *testing.B) {
		for b.Loop() {
			view(b, s, func(tx *Tx) error {
				for _, err := range tx.Bans() {
					if err != nil {
						return err
					}
				}
				return nil
			})
		}
	})
	b.Run("first View, which looks whether all is sound", func(b *testing.B) {
		for b.Loop() {
			view(b, New(s.path), nothing)
		}
	})
	b.Run("View of one ban", func(b *testing.B) {
		for b.Loop() {
			view(b, s, func(tx *Tx) error {
				_, _, err := tx.Ban(nth(many / 2))
				return err
			})
		}
	})
	b.Run("Update of one client", func(b *testing.B) {
		for b.Loop() {
			update(b, s, func(tx *Tx) error { return tx.PutClient(nthClient(many/2), epoch) })
		}
	})
	b.Run("Forget with all due that stay", func(b *testing.B) {
		now := at(0)
		for b.Loop() {
			now = now.Add(100 * time.Hour)
			update(b, s, func(tx *Tx) error {
				_, _, err := tx.Forget(now, func(c ban.Client) time.Time { return now.Add(c.LastHit.Sub(epoch) + time.Hour) })
				return err
			})
		}
	})
	b.Run("Forget with none due", func(b *testing.B) {
		for b.Loop() {
			update(b, s, func(tx *Tx) error {
				_, _, err := tx.Forget(epoch, nil)
				return err
			})
		}
	})
}
