package ban

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// model decides as the design says, keeping every event for ever.
type model struct {
	Policy
	events []Event
	used   int // events before this index are used up or were within a ban
	bans   []Ban
}

func (m *model) add(e Event) bool {
	m.events = append(m.events, e)
	if n := len(m.bans); n > 0 && e.Time.Before(m.bans[n-1].Until) {
		m.used = len(m.events)
		return false
	}
	points := 0
	for _, old := range m.events[m.used:] {
		if e.Time.Sub(old.Time) <= m.FindTime {
			points += m.Weight(old.Class, old.Service)
		}
	}
	if points < m.MaxRetry {
		return false
	}
	earlier := 0
	for _, b := range m.bans {
		if e.Time.Sub(b.Until) < m.Forget {
			earlier++
		}
	}
	length := min(float64(m.BanTime)*math.Pow(m.BanTimeFactor, float64(earlier)), float64(m.BanTimeMax))
	m.bans = append(m.bans, Ban{Start: e.Time, Until: e.Time.Add(time.Duration(length)), Count: earlier + 1})
	m.used = len(m.events)
	return true
}

func TestDecidesAsTheNaiveModelDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hours := func(name string, lo, hi int) time.Duration {
			return time.Duration(rapid.IntRange(lo, hi).Draw(t, name)) * time.Hour
		}
		p := DefaultPolicy()
		p.MaxRetry = rapid.IntRange(1, 8).Draw(t, "maxretry")
		p.FindTime = hours("findtime", 1, 30)
		p.BanTime = hours("bantime", 1, 30)
		p.BanTimeMax = p.BanTime + hours("more", 0, 100)
		p.Forget = hours("forget", 0, 200)
		p.BanTimeFactor = rapid.SampledFrom([]float64{1, 1.5, 2, 10}).Draw(t, "factor")
		p.Services = map[string]map[Class]int{"heavy": {SASLAuth: rapid.IntRange(1, 4).Draw(t, "weight")}}

		naive, real := model{Policy: p}, client()
		steps := rapid.SliceOfN(rapid.IntRange(0, 8*60), 1, 120).Draw(t, "minutes between events")
		now := epoch
		var got []Ban
		for _, minutes := range steps {
			now = now.Add(time.Duration(minutes) * time.Minute)
			e := Event{Time: now, Class: SASLAuth, Service: rapid.SampledFrom([]string{"smtpd", "heavy"}).Draw(t, "service")}
			naive.add(e)
			v, b, _ := p.Add(real, e)
			if v == Banned {
				got = append(got, Ban{Start: b.Start, Until: b.Until, Count: b.Count})
			}
			if len(real.Hits) > p.MaxRetry {
				t.Fatalf("%d hits kept with maxretry %d", len(real.Hits), p.MaxRetry)
			}
		}
		if diff := cmp.Diff(naive.bans, got, compare); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestHitsStayNewestFirstWhateverTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, c := DefaultPolicy(), client()
		for _, hour := range rapid.SliceOf(rapid.IntRange(0, 100)).Draw(t, "hours") {
			p.Add(c, failure(float64(hour)))
			if !slices.IsSortedFunc(c.Hits, func(a, b Hit) int { return b.Time.Compare(a.Time) }) {
				t.Fatalf("hits out of order: %v", c.Hits)
			}
		}
	})
}
