package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

// Metrics is what the monitoring learns. No label names a client, so that the number
// of series does not depend on who attacks.
type Metrics struct {
	Version string
	Tally   Tally
	Totals  store.Totals
	Commit  time.Time // when the state last changed; zero if never
	Read    time.Time // when the newest entry that was read was written; zero if none
	Size    int64     // of the state, in bytes
	Routed  int       // prefixes that have a route of ours
	Missing int       // that are to have one and have none
	Surplus int       // prefixes that get none because there are too many
}

// Tally counts the bans in force.
type Tally struct {
	Active    map[Sort]int // that block somebody
	Protected int          // whose clients must never be blocked
	Held      int          // because of an outage
}

// Sort is what distinguishes bans that are counted apart.
type Sort struct {
	Class  ban.Class // 0 for one not decided from the log
	Origin string
}

// Count counts the bans in force at a time, one by one: there may be very many.
func Count(tx *store.Tx, never ban.NeverBan, now time.Time) (Tally, error) {
	c := Tally{Active: map[Sort]int{}}
	for b, err := range tx.Bans() {
		if err != nil {
			return Tally{}, err
		}
		if !b.Active(now) {
			continue
		}
		targets, err := tx.Targets(b, never)
		if err != nil {
			return Tally{}, err
		}
		switch {
		case b.Held:
			c.Held++
		case len(targets) == 0:
			c.Protected++
		default:
			c.Active[Sort{b.Class, b.Origin}]++
		}
	}
	return c, nil
}

// Write writes the metrics in Prometheus' text format, version 0.0.4. The same
// metrics are always the same bytes.
func (m Metrics) Write(w io.Writer) error {
	var text strings.Builder
	for _, f := range m.families() {
		fmt.Fprintf(&text, "# HELP %s %s\n# TYPE %s %s\n", f.name, f.help, f.name, f.kind)
		for _, s := range f.samples {
			text.WriteString(f.name + s.labels + " " + s.value + "\n")
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// family is a metric with its samples.
type family struct {
	name, kind, help string
	samples          []sample
}

type sample struct{ labels, value string }

const (
	counter = "counter"
	gauge   = "gauge"
)

func (m Metrics) families() []family {
	return []family{
		{"smtpban_build_info", gauge, "The version of smtpban that wrote this.", []sample{count(1, "version", m.Version)}},
		{"smtpban_active_bans", gauge, "Bans in force that block somebody.", m.activeBans()},
		{"smtpban_protected_bans", gauge, "Bans in force of somebody who must never be blocked.", []sample{count(m.Tally.Protected)}},
		{"smtpban_held_bans", gauge, "Bans held back because of an outage of the authentication.", []sample{count(m.Tally.Held)}},
		{"smtpban_bans_total", counter, "Bans made, those included that were over when the log was read.", m.bansMade()},
		{"smtpban_events_total", counter, "Events that the log told of.", m.events(func(n store.Count) int { return n.Events })},
		{"smtpban_counted_events_total", counter, "Events among them that counted toward a ban.", m.events(func(n store.Count) int { return n.Counted })},
		{"smtpban_gaps_total", counter, "Stretches of the log that could not be read.", []sample{count(m.Totals.Gaps)}},
		{"smtpban_lost_messages_total", counter, "Messages in gaps, where their number is known.", []sample{count(m.Totals.Lost)}},
		{"smtpban_wanted_routes", gauge, "Prefixes that are to have a route.", []sample{count(m.Routed + m.Missing)}},
		{"smtpban_missing_routes", gauge, "Prefixes among them that have no route of smtpban's.", []sample{count(m.Missing)}},
		{"smtpban_surplus_routes", gauge, "Prefixes that get no route because max_ipv4 or max_ipv6 is reached.", []sample{count(m.Surplus)}},
		{"smtpban_last_commit_timestamp_seconds", gauge, "When the state last changed, 0 for never.", []sample{seconds(m.Commit)}},
		{"smtpban_last_entry_timestamp_seconds", gauge, "When the newest entry of the log that was read was written, 0 for none.", []sample{seconds(m.Read)}},
		{"smtpban_state_size_bytes", gauge, "Size of the state's file.", []sample{count(int(m.Size))}},
	}
}

// activeBans always has a series for every class, lest alerts have nothing to
// compare with.
func (m Metrics) activeBans() (samples []sample) {
	active := map[Sort]int{}
	for _, class := range ban.Offences() {
		active[Sort{class, ban.OriginJournal}] = 0
	}
	maps.Copy(active, m.Tally.Active)
	inOrder := func(a, b Sort) int { return cmp.Or(strings.Compare(a.Origin, b.Origin), cmp.Compare(a.Class, b.Class)) }
	for _, s := range slices.SortedFunc(maps.Keys(active), inOrder) {
		class := "none"
		if s.Class != 0 {
			class = s.Class.String()
		}
		samples = append(samples, count(active[s], "class", class, "origin", s.Origin))
	}
	return samples
}

func (m Metrics) bansMade() (samples []sample) {
	made := map[string]int{ban.OriginJournal: 0, ban.OriginManual: 0, ban.OriginAdopted: 0}
	maps.Copy(made, m.Totals.Bans)
	for _, origin := range slices.Sorted(maps.Keys(made)) {
		samples = append(samples, count(made[origin], "origin", origin))
	}
	return samples
}

func (m Metrics) events(of func(store.Count) int) (samples []sample) {
	counts := map[ban.Class]store.Count{}
	for _, class := range ban.Classes() {
		counts[class] = store.Count{}
	}
	maps.Copy(counts, m.Totals.Classes)
	for _, class := range slices.Sorted(maps.Keys(counts)) {
		samples = append(samples, count(of(counts[class]), "class", class.String()))
	}
	return samples
}

// count is a sample with labels, each a name and a value.
func count(n int, labels ...string) sample {
	var pairs []string
	for pair := range slices.Chunk(labels, 2) {
		value := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(pair[1], "?"))
		pairs = append(pairs, pair[0]+`="`+value+`"`)
	}
	s := sample{value: strconv.Itoa(n)}
	if len(pairs) > 0 {
		s.labels = "{" + strings.Join(pairs, ",") + "}"
	}
	return s
}

// seconds is a sample that is a time.
func seconds(t time.Time) sample {
	if t.IsZero() {
		return count(0)
	}
	return sample{value: fmt.Sprintf("%d.%06d", t.Unix(), t.Nanosecond()/1000)}
}
