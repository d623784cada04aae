package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"smtpban/internal/store"
)

// many is how many routes and bans there are in the rows about many.
func (b *bench) many() int {
	if b.quick {
		return 10_000
	}
	return 100_000
}

// prefixes are what the routes lead to, scattered as attackers are.
func prefixes(n int, ipv6 bool) []netip.Prefix {
	all := make([]netip.Prefix, n)
	for i := range all {
		k := uint32(i) * 2654435761 // all different: the factor is odd
		addr := netip.AddrFrom4([4]byte{10, byte(k >> 24), byte(k >> 16), byte(k >> 8)})
		bits := 32
		if ipv6 {
			addr, bits = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(k >> 24), byte(k >> 16), byte(k >> 8), byte(k)}), 64
		}
		all[i] = netip.PrefixFrom(addr, bits)
	}
	return all
}

// write puts a line for each prefix into a file.
func (b *bench) write(name, format string, all []netip.Prefix) (path string, err error) {
	var text strings.Builder
	for _, p := range all {
		fmt.Fprintf(&text, format+"\n", p)
	}
	path = filepath.Join(b.scratch, name)
	return path, os.WriteFile(path, []byte(text.String()), 0o644)
}

func (b *bench) self(n int, args ...string) measurement {
	return command(n, "/proc/self/exe", append([]string{childArgument}, args...)...)
}

// batch is what ip(8) needs for a list of commands.
func (b *bench) batch(family, list string) measurement {
	return command(1, "ip", family, "-batch", list)
}

// routes is row 8.
func routes(b *bench, r row) error {
	for _, family := range []struct {
		name, flag string
		ipv6       bool
	}{{"IPv4", "-4", false}, {"IPv6", "-6", true}} {
		all := prefixes(b.many(), family.ipv6)
		if !distinct(all) {
			return errors.New("the prefixes are not all different")
		}
		list, err1 := b.write("list", "%s", all)
		add, err2 := b.write("add", "route add blackhole %s proto 213 metric 1", all)
		del, err3 := b.write("delete", "route del blackhole %s proto 213 metric 1", all)
		if err := errors.Join(err1, err2, err3, b.flush()); err != nil {
			return err
		}
		ourAdd, ourDelete := b.self(1, "add", list), b.self(1, "delete", list)
		theirAdd, theirDelete := b.batch(family.flag, add), b.batch(family.flag, del)
		ours, theirs, ratio, err := pairs(b.rounds, prepared(b.flush, ourAdd), prepared(b.flush, theirAdd))
		if err != nil {
			return err
		}
		b.compare(r, family.name+" added", ours, theirs, ratio, "ip -batch", 0.5)
		ready := func(m measurement) func() error {
			return func() error {
				_, err := m()
				return errors.Join(b.flush(), err, discard(m))
			}
		}
		ours, theirs, ratio, err = pairs(b.rounds, prepared(ready(ourAdd), ourDelete), prepared(ready(theirAdd), theirDelete))
		if err != nil {
			return err
		}
		b.compare(r, family.name+" removed", ours, theirs, ratio, "ip -batch", 0.5)
		if err := b.injected(r, family.name, family.flag, all, list); err != nil {
			return err
		}
	}
	return b.flush()
}

func discard(m measurement) error {
	_, err := m()
	return err
}

func distinct(all []netip.Prefix) bool {
	seen := map[netip.Prefix]bool{}
	for _, p := range all {
		seen[p] = true
	}
	return len(seen) == len(all)
}

// injected lets every hundredth route be somebody else's before ours are added.
func (b *bench) injected(r row, name, flag string, all []netip.Prefix, list string) error {
	var taken []netip.Prefix
	for i := 0; i < len(all); i += 100 {
		taken = append(taken, all[i])
	}
	metric := map[string]string{"-4": "0", "-6": "1"}[flag]
	foreign, err1 := b.write("foreign", "route add prohibit %s proto 100 metric "+metric, taken)
	away, err2 := b.write("away", "route del prohibit %s proto 100 metric "+metric, taken)
	if err := errors.Join(err1, err2, b.flush(), b.ip(flag, "-batch", foreign)); err != nil {
		return err
	}
	u, err := execute("/proc/self/exe", childArgument, "add", list)
	if err != nil {
		return err
	}
	got := strings.Fields(string(u.out))
	right := len(got) == len(taken)
	for i := range got {
		right = right && got[i] == taken[i].String()
	}
	b.add(r, fmt.Sprintf("%s, %d errors", name, len(taken)), show(u.cpu), "", 0, "each told of its prefix", right)
	return errors.Join(b.ip(flag, "-batch", away), b.flush())
}

// stateOf makes a state with so many bans, and a configuration that lets all have
// routes.
func (b *bench) stateOf(n int) (config, state string, err error) {
	base := filepath.Join(b.scratch, "bans"+strconv.Itoa(n))
	config, state = base+".toml", base+".db"
	text := fmt.Sprintf("[store]\npath = %q\n[route]\nmax_ipv4 = %d\n", state, 2*n)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return "", "", err
	}
	os.Remove(state)
	return config, state, fillState(state, n)
}

// fillState makes bans in portions: bbolt keeps in memory what it changes.
func fillState(state string, n int) error {
	s := store.New(state)
	for from := 0; from < n; from += 20_000 {
		err := s.Update(func(tx *store.Tx) error {
			for i := from; i < min(n, from+20_000); i++ {
				if err := tx.PutBan(madeBan(i)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// banned returns the prefixes of the first so many bans.
func banned(n int) []netip.Prefix {
	all := make([]netip.Prefix, n)
	for i := range all {
		all[i] = madeBan(i).Prefix
	}
	return all
}

// restore is row 9.
func restore(b *bench, r row) error {
	config, _, err := b.stateOf(b.many())
	if err != nil {
		return err
	}
	add, err := b.write("add", "route add blackhole %s proto 213", banned(b.many()))
	if err != nil {
		return err
	}
	ours := command(1, b.binary, "restore", "--config", config, "--now", now())
	theirs := prepared(b.flush, b.batch("-4", add))
	a, c, ratio, err := pairs(b.rounds, prepared(b.flush, ours), theirs)
	if err != nil {
		return err
	}
	b.compare(r, "into an empty kernel", a, c, ratio, "ip -batch", 0.7)
	full := prepared(func() error { return errors.Join(b.flush(), discard(ours)) }, ours)
	if a, c, ratio, err = pairs(b.rounds, full, theirs); err != nil {
		return err
	}
	b.compare(r, "with all present", a, c, ratio, "ip -batch", 0.3)
	return b.flush()
}

// reported is a measurement that a child prints itself, in microseconds.
func reported(args ...string) measurement {
	return func() (time.Duration, error) {
		u, err := execute("/proc/self/exe", append([]string{childArgument}, args...)...)
		if err != nil {
			return 0, err
		}
		us, err := strconv.Atoi(strings.TrimSpace(string(u.out)))
		return time.Duration(us) * time.Microsecond, err
	}
}

// newBans is row 10.
func newBans(b *bench, r row) error {
	state := filepath.Join(b.scratch, "new.db")
	fresh := func() error { return removed(state) }
	put, err := single(b.rounds, prepared(fresh, reported("put", state, strconv.Itoa(b.many()))))
	if err != nil {
		return err
	}
	b.add(r, "one write transaction", show(put), "", 0, "at most 0.3 s", put <= 300*time.Millisecond)
	load, err := single(b.rounds, reported("load", state))
	if err != nil {
		return err
	}
	b.add(r, "loaded", show(load), "", 0, "at most 50 ms", load <= 50*time.Millisecond)
	return nil
}

// removed makes sure that there is no such state.
func removed(state string) error {
	if err := os.Remove(state); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// million is row 13.
func million(b *bench, r row) error {
	n := 10 * b.many()
	_, fewState, err := b.stateOf(idleBans)
	if err != nil {
		return err
	}
	config, state, err := b.stateOf(n)
	if err != nil {
		return err
	}
	loadFew, err := single(b.rounds, b.self(often, "trust", fewState))
	if err != nil {
		return err
	}
	loadAll, err := single(b.rounds, b.self(1, "trust", state))
	if err != nil {
		return err
	}
	b.compare(r, "the store's part of an idle run", loadAll, loadFew, float64(loadAll)/float64(loadFew), "1,000 bans", 3)
	ours := command(1, b.binary, "restore", "--config", config, "--now", now())
	if err := b.flush(); err != nil {
		return err
	}
	add, err := b.write("add", "route add blackhole %s proto 213", banned(n))
	if err != nil {
		return err
	}
	rounds := min(b.rounds, 5)
	a, c, ratio, err := pairs(rounds, prepared(b.flush, ours), prepared(b.flush, b.batch("-4", add)))
	if err != nil {
		return err
	}
	b.compare(r, "restore into an empty kernel", a, c, ratio, "ip -batch", 0.7)
	if err := errors.Join(b.flush(), discard(ours)); err != nil {
		return err
	}
	if a, c, _, err = pairs(rounds, ours, b.self(1, "dump")); err != nil {
		return err
	}
	store, err := single(rounds, b.self(1, "load", state))
	if err != nil {
		return err
	}
	b.compare(r, "reconcile with all present, less the store's part", a-store, c, float64(a-store)/float64(c), "bare dump", 1.2)
	return b.flush()
}
