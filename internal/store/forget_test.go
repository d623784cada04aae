package store

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/ban"
)

// forget runs Forget at so many hours, with each client due at its Until, and
// returns who was looked at, who is left, and how many were forgotten.
func forget(t *testing.T, s *Store, hours float64) (looked, left []netip.Prefix, n int) {
	t.Helper()
	update(t, s, func(tx *Tx) (err error) {
		n, _, err = tx.Forget(at(hours), func(c ban.Client) time.Time {
			looked = append(looked, c.Prefix)
			return c.Until
		})
		return err
	})
	for _, c := range load(t, s).Clients {
		left = append(left, c.Prefix)
	}
	return looked, left, n
}

func TestForgetDropsTheClientsThatAreDueAndLooksAtNoOther(t *testing.T) {
	early, late, longer := nth(0), nth(1), nth(2)
	s := newStore(t)
	update(t, s, func(tx *Tx) error {
		return content{
			Clients: []ban.Client{{Prefix: early, Until: at(1)}, {Prefix: late, Until: at(5)}, {Prefix: longer, Until: at(1.5)}},
			Due:     map[netip.Prefix]time.Time{early: at(1), late: at(5), longer: at(1.5)},
		}.put(tx)
	})
	// longer is banned anew, and the index still has its first due time.
	update(t, s, func(tx *Tx) error { return tx.PutClient(ban.Client{Prefix: longer, Until: at(9.2)}, at(9.2)) })

	all := []netip.Prefix{early, late, longer}
	for _, step := range []struct {
		hours        float64
		looked, left []netip.Prefix
		n            int
	}{
		{0, nil, all, 0},
		{1.9, nil, all, 0}, // due at 1, looked at from the next full hour on
		{2, []netip.Prefix{early, longer}, all[1:], 1},
		{2, nil, all[1:], 0},
		{5.9, nil, all[1:], 0},
		{9, []netip.Prefix{late}, all[2:], 1},
		{9.9, nil, all[2:], 0},
		{500, []netip.Prefix{longer}, nil, 1},
		{1e5, nil, nil, 0},
	} {
		looked, left, n := forget(t, s, step.hours)
		if diff := cmp.Diff(step.looked, looked, exact); diff != "" {
			t.Errorf("looked at in hour %v: %s", step.hours, diff)
		}
		if diff := cmp.Diff(step.left, left, exact); diff != "" || n != step.n {
			t.Errorf("left after hour %v, %d forgotten: %s", step.hours, n, diff)
		}
	}
	if due := load(t, s).Due; len(due) > 0 {
		t.Errorf("the index still has %v", due)
	}
}

func TestAForgottenClientIsIndexedAgainWhenItComesBack(t *testing.T) {
	s := newStore(t)
	for _, hour := range []float64{10, 20} {
		update(t, s, func(tx *Tx) error { return tx.PutClient(ban.Client{Prefix: nth(0), Until: at(hour)}, at(hour)) })
		if _, left, n := forget(t, s, hour+1); left != nil || n != 1 {
			t.Errorf("hour %v: %d forgotten, left %v", hour, n, left)
		}
	}
}

func TestForgetOnAnEmptyStoreForgetsNobody(t *testing.T) {
	if looked, left, n := forget(t, newStore(t), 1e6); looked != nil || left != nil || n != 0 {
		t.Errorf("looked at %v, left %v, forgot %d", looked, left, n)
	}
}

func TestPruneHistoryDropsWhatEndedBefore(t *testing.T) {
	s := newStore(t)
	ended := func(hour int) Ended {
		return Ended{ban.Ban{Prefix: nth(100 - hour), Start: at(-9), Until: at(50), Count: 1, Origin: ban.OriginJournal}, at(float64(hour)), Unbanned}
	}
	var all []Ended
	for hour := range 5 {
		all = append(all, ended(hour))
	}
	update(t, s, content{History: all}.put)
	for _, step := range []struct {
		before float64
		want   []Ended
	}{{-1, all}, {0, all}, {2, all[2:]}, {2.5, all[3:]}, {4, all[4:]}, {4.1, nil}, {9, nil}} {
		update(t, s, func(tx *Tx) error { return tx.PruneHistory(at(step.before)) })
		if diff := cmp.Diff(step.want, load(t, s).History, exact); diff != "" {
			t.Errorf("before %v: %s", step.before, diff)
		}
	}
}

func TestPruneHistoryKeepsTheNewestOfTooMany(t *testing.T) {
	s := newStore(t)
	var want []Ended
	update(t, s, func(tx *Tx) error {
		for i := range MaxHistory + 3 {
			x := Ended{ban.Ban{Prefix: nth(i), Start: at(0), Until: at(1)}, at(1).Add(time.Duration(i) * time.Second), Expired}
			if err := tx.EndBan(x.Ban, x.At, x.How); err != nil {
				return err
			}
			if i >= 3 {
				want = append(want, x)
			}
		}
		return nil
	})
	for range 2 {
		update(t, s, func(tx *Tx) error { return tx.PruneHistory(at(0)) })
		if diff := cmp.Diff(want, load(t, s).History, exact); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestForgetLooksAtSoManyClientsAndSaysThatThereAreMore(t *testing.T) {
	s := newStore(t)
	update(t, s, func(tx *Tx) error {
		for i := range maxForget + 10 {
			if err := tx.PutClient(ban.Client{Prefix: nth(i), Until: at(1)}, at(1)); err != nil {
				return err
			}
		}
		return nil
	})
	for _, want := range []struct {
		n    int
		more bool
	}{{maxForget, true}, {10, false}, {0, false}} {
		update(t, s, func(tx *Tx) error {
			n, more, err := tx.Forget(at(5), func(c ban.Client) time.Time { return c.Until })
			if n != want.n || more != want.more {
				t.Errorf("%d forgotten, more: %v; want %+v", n, more, want)
			}
			return err
		})
	}
}

func TestBansFromLeavesOutThoseBefore(t *testing.T) {
	s := newStore(t)
	var want []netip.Prefix
	update(t, s, func(tx *Tx) error {
		for i := range 5 {
			if i >= 2 {
				want = append(want, nth(i))
			}
			if err := tx.PutBan(ban.Ban{Prefix: nth(i), Until: at(1)}); err != nil {
				return err
			}
		}
		return nil
	})
	var got []netip.Prefix
	err := s.View(func(tx *Tx) error {
		for b, err := range tx.BansFrom(nth(2)) {
			if err != nil {
				return err
			}
			got = append(got, b.Prefix)
		}
		return nil
	})
	if diff := cmp.Diff(want, got, exact); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
