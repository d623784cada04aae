package torture_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"smtpban/integration/torture"
	"smtpban/internal/journal/journaltest"
)

// What is the same on the two days of a month that are compared. Day 8 is the
// first one on which everything is as old as it gets: clients are kept for eight
// days after their last failure, the journal for seven.
const (
	earlyDay, lateDay = 8, 30
	mostGrowth        = 1.1
	journalDays       = 7
)

// TestTortureMonth lets thirty days go by under a steady attack, by ever new
// clients, some of which come back: a run of block every minute, expire every
// hour, a report every day, the journal rotated every day and bounded. What a run
// needs, and what is kept, must not grow after the first week.
func TestTortureMonth(t *testing.T) {
	needRemote(t)
	private(t)
	binary := build(t)
	torture.Run(t, torture.Row{
		Title: "30 simulated days of runs under steady attack, day 8 and day 30",
		Goal:  "run time, anonymous memory, state and routes on day 30 at most 1.1 of day 8",
		Short: 1, Full: 1,
		Figure: func(y torture.Tally) string {
			var parts []string
			for _, what := range []string{"ms", "MiB of memory", "MiB of state", "routes"} {
				early, late := y.Worst[what+" early"], y.Worst[what+" late"]
				parts = append(parts, fmt.Sprintf("%.1f to %.1f %s (%.2f)", early, late, what, late/early))
			}
			return fmt.Sprintf("%d runs of block, %d failures counted once; %s", y.Counts["runs"], y.Counts["failures"], strings.Join(parts, ", "))
		},
	}, func(r *torture.Round) error {
		machine := newMachine(t, binary, r.Dir(t))
		defer machine.table.Close()
		m := &month{Round: r, machine: machine, t: t, writer: newWriter(machine.journal(), r.Rand, 0), pause: 12 * time.Hour, every: 20 * time.Minute}
		if torture.Full() {
			m.pause, m.every = time.Minute, 2*time.Minute
		}
		defer m.kill()
		return m.tell()
	})
}

// month is the one round.
type month struct {
	*torture.Round
	*machine
	*writer
	t     *testing.T
	pause time.Duration // between two runs of block
	every time.Duration // attackers come
	came  int           // pairs of them
	days  []day
}

// day is what was measured on it.
type day struct{ times, memory, sizes, routes []float64 }

// The rules are those of a machine where nothing was configured, but for forget:
// by default a banned client is remembered for twelve weeks.
const monthConfig = `[policy]
forget = "6d"
[journal]
directory = %q
postfix_user = "%d"
[store]
path = %q
`

func (m *month) tell() error {
	text := fmt.Sprintf(monthConfig, m.journal(), postfixUID, m.state())
	if err := os.WriteFile(m.config(), []byte(text), 0o644); err != nil {
		return err
	}
	if err := m.start(); err != nil {
		return err
	}
	for range lateDay {
		if err := m.live(); err != nil {
			return fmt.Errorf("day %d: %w", len(m.days), err)
		}
	}
	if err := m.stop(); err != nil {
		return err
	}
	end := began.Add(lateDay * 24 * time.Hour)
	if err := m.command(end, "block").succeed(); err != nil {
		return err
	}
	got, err := m.read()
	if err == nil && (got.Events != len(m.failures) || got.Gaps != 0) {
		err = fmt.Errorf("counted %d failures and %d gaps, want %d and none", got.Events, got.Gaps, len(m.failures))
	}
	if err != nil {
		return err
	}
	m.Count("failures", got.Events)
	return m.compare()
}

// live is a day of it.
func (m *month) live() error {
	start := began.Add(time.Duration(len(m.days)) * 24 * time.Hour)
	m.days = append(m.days, day{})
	for since := time.Duration(0); since < 24*time.Hour; since += m.pause {
		now := start.Add(since + m.pause)
		if err := m.logAttack(now); err != nil {
			return err
		}
		if err := m.measure(now); err != nil {
			return err
		}
		if (since+m.pause)%time.Hour == 0 {
			if err := m.keepHouse(now); err != nil {
				return err
			}
		}
	}
	if err := m.command(start.Add(24*time.Hour), "report", "--mark", "-q").succeed(); err != nil {
		return err
	}
	return m.vacuum()
}

// logAttack logs what happens before a time: of each pair somebody fails five
// times and somebody once, and with every tenth pair somebody who was banned a day
// and a half ago comes back.
func (m *month) logAttack(until time.Time) error {
	const absent = 36 * time.Hour
	for ; ; m.came++ {
		m.clock = began.Add(time.Duration(m.came) * m.every)
		if !m.clock.Before(until) {
			return nil
		}
		if err := errors.Join(m.attempt(2*m.came, 5), m.attempt(2*m.came+1, 1)); err != nil {
			return err
		}
		if earlier := m.came - int(absent/m.every); m.came%10 == 0 && earlier >= 0 {
			if err := m.attempt(2*earlier, 5); err != nil {
				return err
			}
		}
	}
}

// attempt logs a session of the nth client, with so many refused passwords.
func (m *month) attempt(nth, tries int) error {
	address := floodIPv4(nth)
	client := netip.PrefixFrom(address, 32)
	if nth/2%3 == 2 {
		address = floodIPv6(nth * 10)
		client = netip.PrefixFrom(address, 64).Masked()
	}
	m.pid++
	var entries []journaltest.Entry
	for range tries {
		m.clock = m.clock.Add(time.Second)
		entries = append(entries, m.entry(fmt.Sprintf("warning: unknown[%s]: SASL LOGIN authentication failed: UGFzc3dvcmQ6", address)))
		m.failures = append(m.failures, failure{at: m.clock, client: client})
	}
	entries = append(entries, m.entry(fmt.Sprintf("disconnect from unknown[%s] ehlo=1 auth=0/%d quit=1 commands=2/%d", address, tries, tries+2)))
	_, err := m.stdin.Write(journaltest.Export(entries...))
	return err
}

// measure is a run of block.
func (m *month) measure(now time.Time) error {
	u, err := m.command(now, "block", "-q").measured()
	if err != nil {
		return err
	}
	m.Count("runs", 1)
	today := &m.days[len(m.days)-1]
	today.times = append(today.times, float64(u.cpu.Microseconds())/1000)
	today.memory = append(today.memory, u.memory)
	return nil
}

// keepHouse is a run of expire, after which it is looked at what is kept.
func (m *month) keepHouse(now time.Time) error {
	if err := m.command(now, "expire", "-q").succeed(); err != nil {
		return err
	}
	info, err := os.Stat(m.state())
	if err != nil {
		return err
	}
	today := &m.days[len(m.days)-1]
	today.sizes = append(today.sizes, float64(info.Size())/(1<<20))
	today.routes = append(today.routes, float64(len(m.machine.routes(m.t))))
	return nil
}

// vacuum rotates the journal and removes what is too old.
func (m *month) vacuum() error {
	if err := m.rotate(); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(m.dir(), "system@*.journal"))
	if err != nil {
		return err
	}
	slices.Sort(files)
	for _, file := range files[:max(len(files)-journalDays, 0)] {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}

func (m *month) dir() string { return m.machine.journal() }

// compare looks at the two days. Other work on the machine makes single runs slow,
// so it is the time that nine of ten runs need at least that counts.
func (m *month) compare() error {
	early, late := m.days[earlyDay-1], m.days[lateDay-1]
	var grown []string
	for _, x := range []struct {
		what        string
		early, late float64
	}{
		{"ms", quantile(early.times, .1), quantile(late.times, .1)},
		{"MiB of memory", quantile(early.memory, .5), quantile(late.memory, .5)},
		{"MiB of state", quantile(early.sizes, .5), quantile(late.sizes, .5)},
		{"routes", quantile(early.routes, .5), quantile(late.routes, .5)},
	} {
		m.Worst(x.what+" early", x.early)
		m.Worst(x.what+" late", x.late)
		if x.late > mostGrowth*x.early && (torture.Full() || x.what != "ms") { // few runs tell nothing about time
			grown = append(grown, fmt.Sprintf("%s: %.2f on day %d, %.2f on day %d", x.what, x.early, earlyDay, x.late, lateDay))
		}
	}
	if len(grown) > 0 {
		return fmt.Errorf("it grows: %s", strings.Join(grown, "; "))
	}
	return nil
}

// quantile returns the value that this part of the values does not exceed.
func quantile(values []float64, part float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[int(part*float64(len(values)-1))]
}
