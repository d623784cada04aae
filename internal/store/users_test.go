package store

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func usersFrom(hour float64) func(*Tx) iter.Seq2[User, error] {
	return func(tx *Tx) iter.Seq2[User, error] { return tx.Users(at(hour)) }
}

func TestUserNamesAddUpHourByHour(t *testing.T) {
	s := newStore(t)
	for _, step := range []struct {
		hour  float64
		names []string
	}{{2.5, []string{"info", "sales", "info"}}, {0, []string{"info"}}, {2, []string{"info", "a\xff"}}} {
		update(t, s, func(tx *Tx) error { return tx.AddUsers(at(step.hour), step.names) })
	}
	want := []User{{at(0), "info", 1, 0}, {at(2), "a\xff", 1, 0}, {at(2), "info", 3, 0}, {at(2), "sales", 1, 0}}
	if diff := cmp.Diff(want, all(t, s, usersFrom(-5))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[1:], all(t, s, usersFrom(1))); diff != "" {
		t.Errorf("from hour 1 on (-want +got):\n%s", diff)
	}
	update(t, s, func(tx *Tx) error { return tx.PruneUsers(at(2.9)) })
	if diff := cmp.Diff(want[1:], all(t, s, usersFrom(-5))); diff != "" {
		t.Errorf("after pruning (-want +got):\n%s", diff)
	}
}

// A flood of names that are tried once must not hide one that is tried again and
// again, nor grow the state.
func TestAFloodOfUserNamesNeitherHidesOneNorGrowsTheState(t *testing.T) {
	s := newStore(t)
	var names []string
	for i := range 5000 {
		names = append(names, fmt.Sprintf("random%04d", i))
		if i%20 == 0 {
			names = append(names, "info")
		}
	}
	update(t, s, func(tx *Tx) error { return tx.AddUsers(at(1), names) })
	got := all(t, s, usersFrom(0))
	if len(got) != maxUsers {
		t.Errorf("%d names are kept, want %d", len(got), maxUsers)
	}
	sum := 0
	for _, u := range got {
		sum += u.Attempts
	}
	if sum != len(names) {
		t.Errorf("the counts add up to %d, want all %d attempts", sum, len(names))
	}
	slices.SortFunc(got, func(a, b User) int { return (b.Attempts - b.Others) - (a.Attempts - a.Others) })
	if diff := cmp.Diff(User{at(1), "info", 250, 0}, got[0]); diff != "" {
		t.Errorf("the name tried most (-want +got):\n%s", diff)
	}
}

func TestUserNamesDoNotDependOnWhereRunsCutTheLog(t *testing.T) {
	dir := t.TempDir()
	stores := 0
	fresh := func() *Store { stores++; return New(fmt.Sprintf("%s/%d.db", dir, stores)) }
	rapid.Check(t, func(r *rapid.T) {
		// More names than there is room for, some far more often than others.
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 0))
		var names []string
		for range rapid.IntRange(1, 2000).Draw(r, "attempts") {
			names = append(names, fmt.Sprint("u", int(random.ExpFloat64()*maxUsers)))
		}
		whole, pieces := fresh(), fresh()
		update(t, whole, func(tx *Tx) error { return tx.AddUsers(at(1), names) })
		for rest := names; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(r, "cut")
			update(t, pieces, func(tx *Tx) error { return tx.AddUsers(at(1), rest[:n]) })
			rest = rest[n:]
		}
		if diff := cmp.Diff(all(t, whole, usersFrom(0)), all(t, pieces, usersFrom(0))); diff != "" {
			r.Fatalf("(-one run +many):\n%s", diff)
		}
		// What is promised of each count.
		exact := map[string]int{}
		for _, name := range names {
			exact[name]++
		}
		for _, u := range all(t, whole, usersFrom(0)) {
			if n := exact[u.Name]; n > u.Attempts || n < u.Attempts-u.Others {
				r.Fatalf("%s was tried %d times, not between %d and %d", u.Name, n, u.Attempts-u.Others, u.Attempts)
			}
		}
	})
}

func TestUserNamesOfAMissingStateAreNone(t *testing.T) {
	if got := all(t, newStore(t), usersFrom(0)); got != nil {
		t.Errorf("got %v", got)
	}
	if err := newStore(t).Update(func(tx *Tx) error { return tx.PruneUsers(time.Now()) }); err != nil {
		t.Error(err)
	}
}
