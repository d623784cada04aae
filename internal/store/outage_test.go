package store

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLoginsOfLongAgoAreForgotten(t *testing.T) {
	s := newStore(t)
	logins := []Login{
		{netip.MustParsePrefix("192.0.2.1/32"), at(1)},
		{netip.MustParsePrefix("192.0.2.2/32"), at(2)},
		{netip.MustParsePrefix("192.0.2.3/32"), at(3)},
	}
	update(t, s, func(tx *Tx) error {
		for _, l := range logins {
			if err := tx.PutLogin(l); err != nil {
				return err
			}
		}
		return nil
	})
	update(t, s, func(tx *Tx) error { return tx.PruneLogins(at(2)) })
	if diff := cmp.Diff(logins[1:], all(t, s, (*Tx).Logins), exact); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOnlyTheLatestLoginsAreKept(t *testing.T) {
	s := newStore(t)
	var want []Login
	update(t, s, func(tx *Tx) error {
		for n := range maxLogins + 7 {
			l := Login{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32), at(0).Add(time.Duration(n) * time.Second)}
			want = append(want, l)
			if err := tx.PutLogin(l); err != nil {
				return err
			}
		}
		return nil
	})
	update(t, s, func(tx *Tx) error { return tx.PruneLogins(at(-1000)) })
	if diff := cmp.Diff(want[7:], all(t, s, (*Tx).Logins), exact); diff != "" {
		t.Error("not the latest ones are left")
	}
}

// In a file of an earlier version bans say nothing of whether they are held back.
func TestABanOfAnEarlierVersionIsNotHeldBack(t *testing.T) {
	b := sample().Bans[1]
	e := newEncoder()
	e.time(b.Until)
	e.time(b.Start)
	e.uint(uint64(b.Class))
	e.uint(uint64(b.Failures))
	e.uint(uint64(b.Count))
	e.string(b.Origin)
	e.string(b.Reason)
	got, err := decodeBan(prefixKey(b.Prefix), e.seal())
	if diff := cmp.Diff(b, got, exact); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if !bytes.Equal(e.seal(), encodeBan(b)) {
		t.Error("an earlier version can't read it")
	}
}
