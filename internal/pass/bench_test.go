package pass_test

import (
	"encoding/binary"
	"net/netip"
	"os"
	"testing"
	"time"

	"smtpban/internal/ban"
)

const manyBans = 100_000

// nth returns single IPv4 clients in order, from 198.18.0.0/15, which is set
// aside for benchmarks (RFC 2544).
func nth(i int) netip.Prefix {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 198<<24|18<<16+uint32(i))
	return netip.PrefixFrom(netip.AddrFrom4(a), 32)
}

// BenchmarkRestore settles 100,000 bans, as after a boot, and once more.
func BenchmarkRestore(b *testing.B) {
	m := newMachine(b)
	m.update(putBans(manyBans))
	b.Run("no routes yet", func(b *testing.B) {
		for b.Loop() {
			if added := len(m.settle(at(1), ban.NeverBan{}, blocking()).Added); added != manyBans {
				b.Fatalf("%d routes added", added)
			}
		}
	})
	b.Run("nothing to do", func(b *testing.B) {
		r := blocking()
		m.settle(at(1), ban.NeverBan{}, r)
		for b.Loop() {
			if settled := m.settle(at(1), ban.NeverBan{}, r); len(settled.Added)+settled.Deleted > 0 {
				b.Fatalf("%+v", settled)
			}
		}
	})
}

// BenchmarkRead reads 100,000 failures of 20,000 clients into an empty state.
func BenchmarkRead(b *testing.B) {
	var log tape
	for i := range 100_000 {
		address := nth(i * 7919 % 20_000).Addr().String()
		log = append(log, failure(address, epoch.Add(time.Duration(i)*100*time.Millisecond)))
	}
	m := newMachine(b)
	for b.Loop() {
		if bans := len(m.read(at(3), log).Bans); bans != 20_000 {
			b.Fatalf("%d bans", bans)
		}
		b.StopTimer()
		if err := os.Remove(m.path); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(len(log))*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
