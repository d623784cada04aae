package pass_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"smtpban/internal/ban"
)

// ignoreModel does everything at once and in the order of time, while the runs come
// when they like: who is ignored is never blocked, and nothing that was done up to
// the end of that ever counts.
type ignoreModel struct {
	failures map[netip.Prefix]int // of each client, since it was last forgiven
	until    map[netip.Prefix]time.Time
}

const modelRetry = 3

func (m ignoreModel) forgive(prefix netip.Prefix) {
	for c := range m.failures {
		if c.Overlaps(prefix) {
			m.failures[c] = 0
		}
	}
}

// end ends the ignores that are over.
func (m ignoreModel) end(over func(until time.Time) bool) {
	for prefix, until := range m.until {
		if over(until) {
			m.stop(prefix)
		}
	}
}

func (m ignoreModel) stop(prefix netip.Prefix) {
	if _, is := m.until[prefix]; is {
		m.forgive(prefix)
		delete(m.until, prefix)
	}
}

// banned returns who is banned, and who is blocked.
func (m ignoreModel) banned() (banned, blocked []string) {
	for c, n := range m.failures {
		if n < modelRetry {
			continue
		}
		banned = append(banned, c.String())
		spared := false
		for prefix := range m.until {
			spared = spared || prefix.Overlaps(c)
		}
		if !spared {
			blocked = append(blocked, c.String())
		}
	}
	slices.Sort(banned)
	return banned, blocked
}

func TestIgnoringAgreesWithANaiveModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scratch, err := os.MkdirTemp("", "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(scratch)
		real := &machine{t: t, path: filepath.Join(scratch, "state.db"), policy: ban.DefaultPolicy()}
		real.policy.MaxRetry, real.policy.FindTime = modelRetry, ban.Infinity
		real.policy.BanTime, real.policy.BanTimeMax = ban.Infinity, ban.Infinity
		clients := prefixes("203.0.113.9/32", "203.0.113.10/32", "198.51.100.7/32")
		model := ignoreModel{map[netip.Prefix]int{}, map[netip.Prefix]time.Time{}}
		for _, c := range clients {
			model.failures[c] = 0
		}
		var log tape
		enforcer := blocking()
		now := epoch
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(1, 15).Draw(t, "minutes later")) * time.Minute)
			model.end(now.After)
			client := rapid.SampledFrom(clients).Draw(t, "client")
			target := rapid.SampledFrom(append(prefixes("203.0.113.0/24"), clients...)).Draw(t, "target")
			switch rapid.SampledFrom([]string{"fail", "fail", "fail", "fail", "ignore", "stop", "run"}).Draw(t, "step") {
			case "fail":
				log = append(log, failure(client.Addr().String(), now))
				model.failures[client]++
			case "ignore":
				model.until[target] = now.Add(time.Duration(rapid.IntRange(1, 120).Draw(t, "for")) * time.Minute)
				model.forgive(target)
				real.endIgnores(now)
				real.ignore(ban.Ignore{Prefix: target, Added: now, Until: model.until[target]})
			case "stop":
				model.stop(target)
				real.endIgnores(now)
				real.stopIgnoring(now, target.String())
			case "run":
				model.end(func(until time.Time) bool { return !until.After(now) })
				real.round(now, log, enforcer)
				bans, blocked := model.banned()
				enforcer.check(t, blocked...)
				found := banned(real.state().Bans)
				slices.Sort(found)
				check(t, bans, found)
			}
		}
	})
}

func (m *machine) endIgnores(now time.Time) {
	m.t.Helper()
	if _, _, err := m.at(now).EndIgnores(); err != nil {
		m.t.Fatal(err)
	}
}
