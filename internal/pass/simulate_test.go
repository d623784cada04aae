package pass_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
	"smtpban/internal/pass"
)

// simulated judges a log by the policies.
func simulated(log tape, since, until time.Time, policies ...ban.Policy) *pass.Simulation {
	s := pass.NewSimulation(since, until, newest(log), policies...)
	for _, e := range log {
		s.Add(e)
	}
	return s
}

// What is simulated is what a run would have done: the same bans, but for the
// failures during them, which a simulation tells apart.
func TestASimulationBansAsARunDoes(t *testing.T) {
	dir := t.TempDir()
	bans := 0
	rapid.Check(t, func(t *rapid.T) {
		scratch, err := os.MkdirTemp(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(scratch)
		policy, log := drawPolicy(t), drawLog(t, true)
		m := &machine{t: t, path: filepath.Join(scratch, "state.db"), policy: policy}
		m.run(log, false)
		kept := m.state()
		want := map[string]int{} // failures by ban
		for _, b := range kept.Bans {
			want[key(b)] = b.Failures
		}
		for _, e := range kept.Ended {
			want[key(e.Ban)] = e.Failures
		}
		got := map[string]int{}
		other := ban.DefaultPolicy() // what another policy makes of it changes nothing
		for _, c := range simulated(log, time.Time{}, ban.Forever, other, policy).Verdicts[1].Clients() {
			for _, b := range c.Bans {
				got[key(b)] = b.Failures
			}
		}
		bans += len(got)
		check(t, keys(want), keys(got))
		for k, n := range got {
			if n > want[k] {
				t.Errorf("%s: %d failures up to the ban, but %d with those during it", k, n, want[k])
			}
		}
	})
	if bans == 0 {
		t.Error("nobody was ever banned")
	}
}

func key(b ban.Ban) string { return fmt.Sprint(b.Prefix, b.Start, b.Until, b.Count, b.Class) }

func keys(m map[string]int) (all []string) {
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func TestASimulationTellsWhatABanPrevents(t *testing.T) {
	log := failures("203.0.113.9", 0, 1, 2, 3, 4, 5, 6)
	log = append(log, failures("203.0.113.10", 7)...)
	s := simulated(log, time.Time{}, ban.Forever, ban.DefaultPolicy())
	clients := s.Verdicts[0].Clients()
	if len(clients) != 2 {
		t.Fatalf("%d clients, want 2", len(clients))
	}
	c := clients[0]
	check(t, prefixes("203.0.113.9/32")[0], c.Prefix)
	check(t, []ban.Ban{firstBan("203.0.113.9/32", at(4))}, c.Bans)
	check(t, []int{7, 2, 0}, []int{c.Failures, c.Prevented, c.Logins})
	check(t, []time.Time{at(0), at(6)}, []time.Time{c.First, c.Last})
	check(t, []pass.ClassCount{{Class: ban.SASLAuth, Count: 7}}, c.Classes)
	check(t, []int{1, 0}, []int{clients[1].Failures, len(clients[1].Bans)})
	check(t, []time.Time{at(0), at(7)}, []time.Time{s.First, s.Last})
	check(t, 8, s.Entries)
}

func TestASimulationLooksAtItsTimeOnly(t *testing.T) {
	log := failures("203.0.113.9", 0, 1, 2, 3, 4, 5)
	s := simulated(log, at(1), at(4), ban.DefaultPolicy())
	check(t, 4, s.Entries)
	c := s.Verdicts[0].Clients()[0]
	check(t, []time.Time{at(1), at(4)}, []time.Time{c.First, c.Last})
	check(t, []ban.Ban(nil), c.Bans)
}

// A session with a success is one, however many lines tell of it.
func TestASimulationCountsLoginsBySession(t *testing.T) {
	line := func(pid int, message string) journal.Entry {
		e := connect("203.0.113.9", at(1))
		e.PID, e.Message = pid, message
		return e
	}
	const (
		mail = "4B2C5D6E7F: client=unknown[203.0.113.9], sasl_method=PLAIN, sasl_username=alice"
		end  = "disconnect from unknown[203.0.113.9] ehlo=1 auth=1 mail=1 quit=1 commands=4"
	)
	log := append(failures("203.0.113.9", 0), line(1, mail), line(1, mail), line(1, end), line(1, end), line(2, mail), line(3, mail), line(3, end))
	s := simulated(log, time.Time{}, ban.Forever, ban.DefaultPolicy())
	check(t, 4, s.Verdicts[0].Clients()[0].Logins)
}
