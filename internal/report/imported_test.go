package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

// withImports has a ban of our own, one that is held back, and two sets that were
// imported, one of which holds the same prefixes as well.
func withImports(t *testing.T) *store.Store {
	t.Helper()
	own, first := convict("203.0.113.9/32", 5, -1)
	back, second := convict("203.0.113.10/32", 5, -1)
	second.Held = true
	set := func(name, p string) ban.Ban {
		return ban.Ban{Prefix: prefix(p), Start: at(-1), Until: at(9), Count: 1, Origin: ban.OriginImport + name}
	}
	over := set("a", "192.0.2.1/32")
	over.Until = at(-0.5)
	return newStore(t, []ban.Client{own, back, client("198.51.100.7/32", 2, -2, -1)}, []ban.Ban{
		first, second, over,
		set("a", "203.0.113.9/32"), set("a", "198.51.100.0/24"), set("b", "203.0.113.9/32"),
	})
}

func TestAReportOnlyCountsWhatWasImported(t *testing.T) {
	r := newReport(t, withImports(t), ban.NeverBan{}, time.Time{}, at(0))
	var named []string
	for _, b := range r.Bans {
		named = append(named, b.Prefix.String()+" "+b.Origin)
	}
	check(t, []string{"203.0.113.9/32 journal", "203.0.113.10/32 journal"}, named)
	check(t, map[string]int{"a": 2, "b": 1}, r.Imported)
	counts := []int{r.Changes.New.Count(), r.Changes.Held.Count(), r.Changes.Expired.Count()}
	check(t, []int{1, 1, 0}, counts) // of our own
	var text bytes.Buffer
	if err := (report.Text{Location: time.UTC, Legend: true}).WriteReport(&text, r); err != nil {
		t.Fatal(err)
	}
	if want := "- 2 bans are in force, 1 of them without effect (1 held back), besides 2 of\n  import:a, 1 of import:b.\n"; !strings.Contains(text.String(), want) {
		t.Errorf("it does not say %q:\n%s", want, text.String())
	}
}

func TestAClientIsBlockedByWhatWasImported(t *testing.T) {
	r := newReport(t, withImports(t), ban.NeverBan{}, time.Time{}, at(0))
	r.Enforce(blocked("203.0.113.9/32", "198.51.100.0/24"))
	states := map[string]report.State{}
	for _, c := range r.Clients {
		states[c.Prefix.String()] = c.State
	}
	check(t, map[string]report.State{"203.0.113.9/32": report.Blocked, "203.0.113.10/32": report.Held, "198.51.100.7/32": report.Blocked}, states)
}

func TestAPrefixOfSeveralBansNeedsOneRoute(t *testing.T) {
	r := newReport(t, withImports(t), ban.NeverBan{}, time.Time{}, at(0))
	r.Limit(ban.Limits{IPv4: 2})
	check(t, 0, r.Surplus)
	r.Limit(ban.Limits{IPv4: 1})
	check(t, 1, r.Surplus)
}

func TestWhatWasImportedIsNotAmongOurOwnBans(t *testing.T) {
	var own []report.Ban
	err := withImports(t).View(func(tx *store.Tx) (err error) {
		own, err = report.OwnBans(tx, ban.NeverBan{}, at(0))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	check(t, prefixes("203.0.113.9/32"), report.Targets(own))
}
