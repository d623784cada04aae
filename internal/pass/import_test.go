package pass_test

import (
	"net/netip"
	"testing"

	"smtpban/internal/ban"
	"smtpban/internal/pass"
	"smtpban/internal/store"
)

// imported is a ban of a set from hour to hour.
func imported(set, prefix string, start, until float64) ban.Ban {
	b := manual(prefix, start, until, "")
	b.Origin = ban.OriginImport + set
	return b
}

// importSet imports bans on the prefixes from hour to hour.
func (m *machine) importSet(set string, start, until float64, all ...string) pass.SetChange {
	m.t.Helper()
	var bans []ban.Imported
	for _, p := range prefixes(all...) {
		bans = append(bans, ban.Imported{Prefix: p, Start: at(start), Until: at(until)})
	}
	change, err := m.at(at(start)).Import(set, bans)
	if err != nil {
		m.t.Fatal(err)
	}
	return change
}

func TestAnImportReplacesTheWholeSetAndNothingElse(t *testing.T) {
	m := newMachine(t)
	mine := m.ban(at(0), manual("203.0.113.9/32", 0, 5, "mine"))
	check(t, pass.SetChange{Count: 2, New: 2}, m.importSet("a", 0, 3, "198.51.100.0/24", "203.0.113.9/32"))
	check(t, pass.SetChange{Count: 1, New: 1}, m.importSet("b", 0, 9, "203.0.113.9/32"))
	check(t, []ban.Ban{
		imported("a", "198.51.100.0/24", 0, 3), mine, imported("a", "203.0.113.9/32", 0, 3), imported("b", "203.0.113.9/32", 0, 9),
	}, m.state().Bans)
	check(t, pass.SetChange{Count: 2, New: 1, Gone: 1}, m.importSet("a", 1, 2, "203.0.113.9/32", "2001:db8::5/128"))
	check(t, []ban.Ban{
		mine, imported("a", "203.0.113.9/32", 1, 2), imported("b", "203.0.113.9/32", 0, 9), imported("a", "2001:db8::5/128", 1, 2),
	}, m.state().Bans)
	check(t, pass.SetChange{Gone: 2}, m.importSet("a", 1, 2))
	check(t, []ban.Ban{mine, imported("b", "203.0.113.9/32", 0, 9)}, m.state().Bans)
	check(t, []store.Ended(nil), m.state().Ended)
}

func TestAPrefixIsBlockedUntilTheLastOfItsBansIsOver(t *testing.T) {
	m := newMachine(t)
	m.importSet("a", 0, 2, "203.0.113.9/32")
	m.ban(at(0), manual("203.0.113.9/32", 0, 4, ""))
	m.importSet("b", 0, 6, "203.0.113.9/32")
	r := blocking()
	for _, step := range []struct {
		hour float64
		left int
	}{{0, 3}, {2, 2}, {4, 1}, {6, 0}} {
		m.settle(at(step.hour), ban.NeverBan{}, r)
		check(t, step.left, len(m.state().Bans))
		if step.left > 0 {
			r.check(t, "203.0.113.9/32")
		} else {
			r.check(t)
		}
	}
	check(t, []string{"203.0.113.9/32 expired"}, m.ended()) // only our own makes history
}

func TestAClientThatIsImportedIsJudgedAsAnyOther(t *testing.T) {
	m := newMachine(t)
	m.importSet("a", 0, 48, "203.0.113.9/32")
	m.read(at(1), failures("203.0.113.9", 1, 1, 1, 1, 1))
	check(t, []ban.Ban{firstBan("203.0.113.9/32", at(1)), imported("a", "203.0.113.9/32", 0, 48)}, m.state().Bans)
	m.importSet("a", 2, 48)
	check(t, []ban.Ban{firstBan("203.0.113.9/32", at(1))}, m.state().Bans)
	check(t, 5, len(m.state().Evidence[prefixes("203.0.113.9/32")[0]].Hits))
}

func TestUnbanAndAnSSHSessionEndImportedBansToo(t *testing.T) {
	m := newMachine(t)
	m.importSet("a", 0, 9, "203.0.113.0/24", "203.0.113.9/32")
	check(t, []ban.Ban{imported("a", "203.0.113.0/24", 0, 9), imported("a", "203.0.113.9/32", 0, 9)}, m.unban(at(1), "203.0.113.9/32"))
	m.importSet("a", 2, 9, "203.0.113.0/24", "203.0.113.9/32")
	ended, err := m.at(at(3)).Admit([]netip.Addr{netip.MustParseAddr("203.0.113.9")})
	if err != nil {
		t.Fatal(err)
	}
	check(t, []ban.Ban{imported("a", "203.0.113.9/32", 2, 9)}, ended)
	check(t, []ban.Ban{imported("a", "203.0.113.0/24", 2, 9)}, m.state().Bans)
}

func TestAnImportedPrefixThatOverlapsAProtectedOneIsNotBlockedAtAll(t *testing.T) {
	m := newMachine(t)
	m.importSet("a", 0, 9, "198.51.100.0/24", "203.0.113.0/24")
	r := blocking("203.0.113.0/24")
	m.settle(at(1), never("203.0.113.77/32"), r)
	r.check(t, "198.51.100.0/24")
}

func TestImportedBansGiveWayFirstAndEachPrefixTakesOneRoute(t *testing.T) {
	m := attacked(t, "203.0.113.9")
	m.importSet("a", 0, 9, "198.51.100.7/32", "203.0.113.9/32", "203.0.113.10/32")
	p := m.at(at(1))
	p.Limits.IPv4 = 2
	r := blocking()
	settled, err := p.Settle(ban.NeverBan{}, r, false)
	if err != nil {
		t.Fatal(err)
	}
	check(t, 1, settled.Surplus)
	r.check(t, "203.0.113.9/32", "203.0.113.10/32")
}

func TestImportedBansAreRewoundWithoutTouchingTheirClients(t *testing.T) {
	log := failures("203.0.113.9", year, year, year, year, year)
	m := ahead(t, log)
	m.importSet("a", year, year+2, "203.0.113.9/32")
	m.setRight(log)
	check(t, []ban.Ban{firstBan("203.0.113.9/32", at(1)), imported("a", "203.0.113.9/32", 1, 3)}, m.bans("203.0.113.9/32"))
	check(t, at(25), m.state().Clients[1].Until)
}

func TestWhoIsIgnoredNoLongerIsBlockedForWhatOthersSaid(t *testing.T) {
	m := newMachine(t)
	m.importSet("a", 0, 9, "203.0.113.9/32")
	nine := prefixes("203.0.113.9/32")[0]
	ended, err := m.at(at(1)).Ignore(false, ban.Ignore{Prefix: nine, Added: at(1), Until: ban.Forever})
	if err != nil {
		t.Fatal(err)
	}
	check(t, []ban.Ban{imported("a", "203.0.113.9/32", 0, 9)}, ended)
	m.importSet("a", 2, 9, "203.0.113.9/32")
	if _, ended, err = m.at(at(3)).StopIgnoring(nine); err != nil {
		t.Fatal(err)
	}
	check(t, []ban.Ban(nil), ended)
	check(t, []ban.Ban{imported("a", "203.0.113.9/32", 2, 9)}, m.state().Bans)
}
