package pass_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/pass"
	"smtpban/internal/store"
)

// ignored is an ignore from hour to hour.
func ignored(prefix string, added, until float64, reason string) ban.Ignore {
	return ban.Ignore{Prefix: prefixes(prefix)[0], Added: at(added), Until: at(until), Reason: reason}
}

func (m *machine) ignore(ignores ...ban.Ignore) []ban.Ban {
	m.t.Helper()
	ended, err := m.at(ignores[0].Added).Ignore(false, ignores...)
	if err != nil {
		m.t.Fatal(err)
	}
	return ended
}

func (m *machine) stopIgnoring(now time.Time, p ...string) (stopped []ban.Ignore, ended []ban.Ban) {
	m.t.Helper()
	stopped, ended, err := m.at(now).StopIgnoring(prefixes(p...)...)
	if err != nil {
		m.t.Fatal(err)
	}
	return stopped, ended
}

// round is what a run of smtpban block does: it ends ignores, reads, and settles.
func (m *machine) round(now time.Time, log tape, enforcer ban.Enforcer) (over []ban.Ignore) {
	m.t.Helper()
	over, _, err := m.at(now).EndIgnores()
	if err != nil {
		m.t.Fatal(err)
	}
	m.read(now, log)
	m.settle(now, m.never(now), enforcer)
	return over
}

// never is the set that the ignores make.
func (m *machine) never(now time.Time) ban.NeverBan {
	m.t.Helper()
	ignores, err := m.at(now).Ignores()
	if err != nil {
		m.t.Fatal(err)
	}
	var members []ban.Protected
	for _, i := range ignores {
		members = append(members, ban.Protected{Prefix: i.Prefix, Reason: "ignored"})
	}
	return ban.NewNeverBan(members, nil)
}

func (m *machine) ignores() (all []ban.Ignore) {
	m.t.Helper()
	err := store.New(m.path).View(func(tx *store.Tx) (err error) {
		all, err = tx.Ignores()
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return all
}

func TestIgnoringLiftsTheBansOnClientsAndClearsTheirTallies(t *testing.T) {
	for name, tc := range map[string]struct {
		ignore string
		wider  bool
		ended  []string
		left   []string
	}{
		"a client":                    {"203.0.113.9/32", false, []string{"203.0.113.9/32"}, []string{"2001:db8::/64", "203.0.113.0/24"}},
		"a client, as unban does":     {"203.0.113.9/32", true, []string{"203.0.113.0/24", "203.0.113.9/32"}, []string{"2001:db8::/64"}},
		"a network":                   {"203.0.0.0/16", false, []string{"203.0.113.0/24", "203.0.113.9/32"}, []string{"2001:db8::/64"}},
		"an address of a /64":         {"2001:db8::5/128", false, []string{"2001:db8::/64"}, []string{"203.0.113.0/24", "203.0.113.9/32"}},
		"everybody":                   {"0.0.0.0/0", false, []string{"203.0.113.0/24", "203.0.113.9/32"}, []string{"2001:db8::/64"}},
		"somebody who was not banned": {"203.0.113.10/32", false, nil, []string{"2001:db8::/64", "203.0.113.0/24", "203.0.113.9/32"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			log := append(failures("203.0.113.9", 0, 0, 0, 0, 0), failures("2001:db8::5", 0, 0, 0, 0, 0)...)
			log = append(log, failures("203.0.113.10", 0, 0, 0, 0)...)
			m.read(at(0), log)
			m.ban(at(0), manual("203.0.113.0/24", 0, 99, ""))
			x := ignored(tc.ignore, 1, 9, "")
			ended, err := m.at(at(1)).Ignore(tc.wider, x)
			check(t, nil, err)
			slices.Sort(tc.left)
			left := banned(m.state().Bans)
			slices.Sort(left)
			check(t, [][]string{tc.ended, tc.left}, [][]string{banned(ended), left})
			check(t, []ban.Ignore{x}, m.ignores())
			for _, c := range m.state().Clients {
				if forgiven := c.Failures == 0 && len(c.Hits) == 0 && c.Pardon.Equal(at(1)); forgiven != x.Prefix.Overlaps(c.Prefix) {
					t.Errorf("%s has %d failures and is pardoned up to %v", c.Prefix, c.Failures, c.Pardon)
				}
			}
		})
	}
}

func TestAnIgnoredClientIsSparedAndIsNotBannedWhenThatEndsForWhatItDidMeanwhile(t *testing.T) {
	for name, end := range map[string]func(*machine, time.Time){
		"its time is over": func(m *machine, now time.Time) {
			check(m.t, []ban.Ignore{ignored("203.0.113.9/32", 0, 5, "")}, m.round(now, nil, blocking()))
		},
		"by hand": func(m *machine, now time.Time) {
			stopped, ended := m.stopIgnoring(now, "203.0.113.9/32", "192.0.2.9/32")
			check(m.t, []ban.Ignore{ignored("203.0.113.9/32", 0, 5, "")}, stopped)
			check(m.t, []string{"203.0.113.9/32"}, banned(ended))
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.policy.BanTime = time.Hour
			m.ignore(ignored("203.0.113.9/32", 0, 5, ""))
			enforcer := blocking()
			log := failures("203.0.113.9", 1, 1, 1, 1, 1, 3, 3, 3, 3, 3.6) // the first of two bans is over meanwhile
			m.round(at(3.6), log, enforcer)
			enforcer.check(t)
			check(t, []string{"203.0.113.9/32"}, banned(m.state().Bans))

			log = append(log, failures("203.0.113.9", 3.7, 4, 4, 4, 4, 5)...) // not yet read
			end(m, at(5))
			check(t, []ban.Ignore(nil), m.ignores())
			check(t, []ban.Ban(nil), m.state().Bans)
			m.round(at(5.5), log, enforcer)
			enforcer.check(t)

			log = append(log, failures("203.0.113.9", 6, 6, 6, 6)...)
			m.round(at(6), log, enforcer)
			enforcer.check(t)
			log = append(log, failures("203.0.113.9", 6.1)...)
			m.round(at(6.1), log, enforcer)
			enforcer.check(t, "203.0.113.9/32")
			check(t, 1, m.state().Bans[0].Count)
		})
	}
}

// What comes after the end counts, also where no run took note of the end in time.
func TestWhatComesAfterTheEndOfAnIgnoreCounts(t *testing.T) {
	m := newMachine(t)
	m.ignore(ignored("203.0.113.0/24", 0, 5, ""))
	enforcer := blocking()
	m.round(at(9), failures("203.0.113.9", 4, 4, 4, 4, 5, 6, 6, 6, 6, 6), enforcer)
	check(t, []ban.Ban{firstBan("203.0.113.9/32", at(6))}, m.state().Bans)
	enforcer.check(t, "203.0.113.9/32")
}

func TestAWiderBanSparesWhoIsIgnoredAndStandsWhenThatEnds(t *testing.T) {
	m := newMachine(t)
	m.ban(at(0), manual("203.0.113.8/30", 0, 99, ""))
	m.ignore(ignored("203.0.113.9/32", 0, 5, ""))
	enforcer := blocking()
	m.round(at(1), nil, enforcer)
	enforcer.check(t, "203.0.113.8/32", "203.0.113.10/31")
	m.round(at(5), nil, enforcer)
	enforcer.check(t, "203.0.113.8/30")
}

func TestIgnoringAgainChangesTheEndAndTheReason(t *testing.T) {
	m := newMachine(t)
	m.ignore(ignored("203.0.113.9/32", 0, 5, "customer"))
	m.ignore(ignored("203.0.113.9/32", 1, 3, ""))
	check(t, []ban.Ignore{ignored("203.0.113.9/32", 0, 3, "customer")}, m.ignores())
	m.ignore(ignored("203.0.113.9/32", 2, 9, "friend"))
	check(t, []ban.Ignore{ignored("203.0.113.9/32", 0, 9, "friend")}, m.ignores())
}

func TestOnlyTheIgnoreOfJustThePrefixIsEnded(t *testing.T) {
	m := newMachine(t)
	m.ignore(ignored("203.0.113.0/24", 0, 5, ""), ignored("203.0.113.9/32", 0, 5, ""))
	stopped, _ := m.stopIgnoring(at(1), "203.0.113.9/32")
	check(t, []ban.Ignore{ignored("203.0.113.9/32", 0, 5, "")}, stopped)
	check(t, []ban.Ignore{ignored("203.0.113.0/24", 0, 5, "")}, m.ignores())
	before := m.file()
	stopped, _ = m.stopIgnoring(at(2), "203.0.113.9/32", "203.0.113.0/25", "203.0.0.0/16")
	check(t, []ban.Ignore(nil), stopped)
	m.checkUntouched(before)
}

func TestAThousandPrefixesAreIgnoredAndNotOneMore(t *testing.T) {
	m := newMachine(t)
	m.read(at(0), failures("203.0.113.9", 0, 0, 0, 0, 0))
	var many []ban.Ignore
	for i := range 1000 {
		many = append(many, ignored(fmt.Sprintf("198.18.%d.%d/32", i/256, i%256), 1, 5, ""))
	}
	m.ignore(many...)
	m.ignore(many[:7]...)
	before := m.file()
	_, err := m.at(at(1)).Ignore(false, many[0], ignored("203.0.113.9/32", 1, 5, ""))
	if !errors.Is(err, pass.ErrManyIgnores) {
		t.Errorf("got %v", err)
	}
	m.checkUntouched(before)
	check(t, 1000, len(m.ignores()))
	check(t, 1000, len(m.round(at(5), nil, blocking())))
}

func TestARunWritesNothingForIgnoresThatGoOn(t *testing.T) {
	m := newMachine(t)
	m.ignore(ignored("203.0.113.9/32", 0, 5, ""))
	before := m.file()
	m.round(at(4), nil, blocking())
	m.checkUntouched(before)
}

func TestNoIgnoreEndsWhileTheClockIsInDoubt(t *testing.T) {
	m := newMachine(t)
	m.ignore(ignored("203.0.113.9/32", 0, 5, ""))
	log := failures("203.0.113.9", 100, 100, 100, 100, 100)
	enforcer := blocking()
	look := func(now time.Time) []ban.Ignore {
		if _, err := m.at(now).CheckClock(); err != nil {
			t.Fatal(err)
		}
		return m.round(now, log, enforcer)
	}
	check(t, 0, len(look(at(100))))
	enforcer.check(t)
	check(t, 1, len(look(at(101))))
	enforcer.check(t) // what it did as long as it was ignored does not count

	log = append(log, failures("203.0.113.9", 102, 102, 102, 102, 102)...)
	look(at(102))
	enforcer.check(t, "203.0.113.9/32")
}

func TestAnIgnoreUnderAClockAheadIsAsLongAsItWasMeant(t *testing.T) {
	m := ahead(t, nil)
	forever := ignored("203.0.113.10/32", year, 0, "")
	forever.Until = ban.Forever
	m.ignore(ignored("203.0.113.9/32", year, year+5, "tests"), forever)
	m.setRight(nil)
	forever.Added = at(1)
	check(t, []ban.Ignore{ignored("203.0.113.9/32", 1, 6, "tests"), forever}, m.ignores())
}
