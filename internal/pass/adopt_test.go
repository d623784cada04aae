package pass_test

import (
	"testing"

	"smtpban/internal/ban"
	"smtpban/internal/store"
)

func (m *machine) adopt(now float64, routes ...string) (adopted int) {
	m.t.Helper()
	m.update(func(tx *store.Tx) (err error) {
		adopted, err = m.at(at(now)).Adopt(tx, prefixes(routes...))
		return err
	})
	return adopted
}

func TestRoutesWithoutABanAreAdopted(t *testing.T) {
	m := attacked(t, "203.0.113.9", "2001:db8::1")
	known := m.state().Bans
	routes := []string{"198.51.100.7/32", "203.0.113.9/32", "2001:db8::/64", "2001:db8:1::/64", "2001:db8::25/128", "192.0.2.0/24"}
	check(t, 3, m.adopt(10, routes...))
	adopted := func(prefix string) ban.Ban {
		return ban.Ban{Prefix: prefixes(prefix)[0], Start: at(10), Until: at(34), Count: 1, Origin: ban.OriginAdopted}
	}
	check(t, []ban.Ban{adopted("192.0.2.0/24"), adopted("198.51.100.7/32"), known[0], known[1], adopted("2001:db8:1::/64")}, m.state().Bans)
	check(t, 0, m.adopt(11, routes...))
	r := blocking(routes...)
	m.settle(at(11), ban.NeverBan{}, r)
	r.check(t, "192.0.2.0/24", "198.51.100.7/32", "203.0.113.9/32", "2001:db8:1::/64", "2001:db8::/64")
}

func TestAnAdoptedClientIsNotBannedAgainByTheLogOfItsBan(t *testing.T) {
	m := newMachine(t)
	m.adopt(10, "203.0.113.9/32")
	read := m.read(at(10), failures("203.0.113.9", 0, 1, 2, 3, 4, 5))
	check(t, []ban.Ban(nil), read.Bans)
	check(t, []ban.Ban{{
		Prefix: prefixes("203.0.113.9/32")[0], Failures: 6, Start: at(10), Until: at(34), Count: 1, Origin: ban.OriginAdopted,
	}}, m.state().Bans)
}
