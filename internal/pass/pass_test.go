package pass_test

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
	"smtpban/internal/pass"
	"smtpban/internal/store"
)

var compare = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmpopts.EquateEmpty(),
	cmpopts.EquateErrors(),
}

var epoch = time.Date(2026, time.November, 3, 12, 0, 0, 0, time.UTC)

// at returns the time that many hours after the epoch.
func at(hours float64) time.Time { return epoch.Add(time.Duration(hours * float64(time.Hour))) }

// failure is the entry of a password that was refused.
func failure(address string, t time.Time) journal.Entry {
	return journal.Entry{
		Time: t, Identifier: "postfix/smtpd", PID: 1000,
		Message: fmt.Sprintf("warning: unknown[%s]: SASL LOGIN authentication failed: UGFzc3dvcmQ6", address),
	}
}

// failures are those of one address, at each of the hours.
func failures(address string, hours ...float64) (entries tape) {
	for _, h := range hours {
		entries = append(entries, failure(address, at(h)))
	}
	return entries
}

// success is the entry of a message that was accepted after a login.
func success(address string, t time.Time) journal.Entry {
	e := failure(address, t)
	e.Message = fmt.Sprintf("A1B2C3D4E5: client=unknown[%s], sasl_method=LOGIN, sasl_username=alice", address)
	return e
}

// successes are those of one address, at each of the hours.
func successes(address string, hours ...float64) (entries tape) {
	for _, h := range hours {
		entries = append(entries, success(address, at(h)))
	}
	return entries
}

// tape is a log. Its readers go on where their positions say.
type tape []journal.Entry

var _ journal.Input = (*input)(nil)

// input reads a tape. Its position's cursor is the number of entries read.
type input struct {
	tape        tape
	start, next int

	// before holds what is yielded before an entry, by its number: a gap,
	// or an error that ends the reading.
	before map[int]error

	// positionErrors holds the error of each call of Positions, by its number.
	positionErrors map[int]error
	calls          int
}

// open opens the tape where the machine's last run stopped.
func (m *machine) open(log tape) *input {
	m.t.Helper()
	positions, err := pass.Positions(store.New(m.path))
	if err != nil {
		m.t.Fatal(err)
	}
	in := &input{tape: log}
	if p, ok := positions[journal.Boot{}]; ok {
		if in.start, err = strconv.Atoi(p.Cursor); err != nil {
			m.t.Fatal(err)
		}
	}
	in.next = in.start
	return in
}

func (in *input) Entries() iter.Seq2[journal.Entry, error] {
	return func(yield func(journal.Entry, error) bool) {
		for in.next <= len(in.tape) {
			if err := in.before[in.next]; err != nil {
				var gap *journal.Gap
				if !yield(journal.Entry{}, err) || !errors.As(err, &gap) {
					return
				}
			}
			if in.next == len(in.tape) {
				return
			}
			in.next++
			if !yield(in.tape[in.next-1], nil) {
				return
			}
		}
	}
}

func (in *input) Positions() (journal.Positions, error) {
	in.calls++
	if err := in.positionErrors[in.calls]; err != nil {
		return nil, err
	}
	if in.next == in.start {
		return journal.Positions{}, nil
	}
	return journal.Positions{{}: {Cursor: strconv.Itoa(in.next), Realtime: in.tape[in.next-1].Time}}, nil
}

func (in *input) Close() error { return nil }

// machine is a host. Nothing but a file survives from one run on it to the next.
type machine struct {
	t      rapid.TB
	path   string
	policy ban.Policy
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	return &machine{t: t, path: filepath.Join(t.TempDir(), "smtpban.db"), policy: ban.DefaultPolicy()}
}

func (m *machine) at(now time.Time) pass.Pass {
	return pass.Pass{Store: store.New(m.path), Policy: m.policy, Now: now, Hold: true}
}

// read is a run that reads what is new in the log.
func (m *machine) read(now time.Time, log tape) pass.Read {
	m.t.Helper()
	return m.readFrom(now, m.open(log))
}

func (m *machine) readFrom(now time.Time, in journal.Input) pass.Read {
	m.t.Helper()
	read, err := m.at(now).Read(in)
	if err != nil {
		m.t.Fatal(err)
	}
	return read
}

// settle draws the routes after the state.
func (m *machine) settle(now time.Time, never ban.NeverBan, enforcer ban.Enforcer) pass.Settled {
	m.t.Helper()
	settled, err := m.at(now).Settle(never, enforcer, false)
	if err != nil {
		m.t.Fatal(err)
	}
	return settled
}

// wake lets the clock of a machine that was off be believed.
func (m *machine) wake(now time.Time) {
	m.t.Helper()
	for _, look := range []time.Time{now.Add(-time.Hour), now} {
		if _, err := m.at(look).CheckClock(); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *machine) ban(now time.Time, b ban.Ban) ban.Ban {
	m.t.Helper()
	b, err := m.at(now).Ban(b)
	if err != nil {
		m.t.Fatal(err)
	}
	return b
}

func (m *machine) unban(now time.Time, p ...string) []ban.Ban {
	m.t.Helper()
	ended, err := m.at(now).Unban(prefixes(p...)...)
	if err != nil {
		m.t.Fatal(err)
	}
	return ended
}

func (m *machine) update(fn func(*store.Tx) error) {
	m.t.Helper()
	if err := store.New(m.path).Update(fn); err != nil {
		m.t.Fatal(err)
	}
}

// state is what the file says of clients and bans.
type state struct {
	Bans     []ban.Ban
	Evidence map[netip.Prefix]ban.Evidence
	Ended    []store.Ended
	Clients  []ban.Client
}

func (m *machine) state() state {
	m.t.Helper()
	s := state{Evidence: map[netip.Prefix]ban.Evidence{}}
	err := store.New(m.path).View(func(tx *store.Tx) (err error) {
		if s.Bans, err = collect(tx.Bans()); err != nil {
			return err
		}
		for _, b := range s.Bans {
			if s.Evidence[b.Prefix], err = tx.Evidence(b.Prefix); err != nil {
				return err
			}
		}
		if s.Ended, err = collect(tx.History()); err != nil {
			return err
		}
		s.Clients, err = collect(tx.Clients())
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

// rest is what the file says besides.
type rest struct {
	Sessions []store.Session
	Hours    []store.Hour
	Users    []store.User
	Shapes   []store.Shape
	Gaps     []store.Gap
	Totals   store.Totals
	Logins   []store.Login
	Outage   ban.Outage
}

func (m *machine) rest() (r rest) {
	m.t.Helper()
	err := store.New(m.path).View(func(tx *store.Tx) (err error) {
		if r.Sessions, err = collect(tx.Sessions()); err != nil {
			return err
		}
		if r.Totals, err = tx.Totals(); err != nil {
			return err
		}
		if r.Hours, err = collect(tx.Hours()); err != nil {
			return err
		}
		if r.Users, err = collect(tx.Users(time.Time{})); err != nil {
			return err
		}
		if r.Shapes, err = collect(tx.Shapes()); err != nil {
			return err
		}
		if r.Gaps, err = collect(tx.Gaps()); err != nil {
			return err
		}
		if r.Logins, err = collect(tx.Logins()); err != nil {
			return err
		}
		r.Outage, err = tx.Outage()
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return r
}

func (m *machine) positions() journal.Positions {
	m.t.Helper()
	positions, err := pass.Positions(store.New(m.path))
	if err != nil {
		m.t.Fatal(err)
	}
	return positions
}

func (m *machine) lastCommit() (at time.Time) {
	m.t.Helper()
	err := store.New(m.path).View(func(tx *store.Tx) (err error) {
		at, err = tx.LastCommit()
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return at
}

// file is the state file as the file system shows it.
type file struct {
	Content string
	Changed time.Time
}

func (m *machine) file() file {
	m.t.Helper()
	content, err := os.ReadFile(m.path)
	if err != nil {
		m.t.Fatal(err)
	}
	info, err := os.Stat(m.path)
	if err != nil {
		m.t.Fatal(err)
	}
	return file{string(content), info.ModTime()}
}

func (m *machine) checkUntouched(before file) {
	m.t.Helper()
	if now := m.file(); now != before {
		m.t.Errorf("the state file was written to: it changed at %v, before at %v", now.Changed, before.Changed)
	}
}

func collect[T any](all iter.Seq2[T, error]) (list []T, err error) {
	for x, err := range all {
		if err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	return list, nil
}

func prefixes(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// banned names the prefixes of the bans.
func banned(bans []ban.Ban) (names []string) {
	for _, b := range bans {
		names = append(names, b.Prefix.String())
	}
	return names
}

func check(t rapid.TB, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// routes is an enforcer that keeps what it blocks in memory.
type routes struct {
	blocked map[netip.Prefix]bool
	broken  map[netip.Prefix]error // changes of these fail
	list    error                  // listing fails
	applied [][]ban.Change         // batch by batch
}

var _ ban.Enforcer = (*routes)(nil)

func blocking(p ...string) *routes {
	r := &routes{blocked: map[netip.Prefix]bool{}, broken: map[netip.Prefix]error{}}
	for _, prefix := range prefixes(p...) {
		r.blocked[prefix] = true
	}
	return r
}

func (r *routes) List() ([]netip.Prefix, error) {
	if r.list != nil {
		return nil, r.list
	}
	var all []netip.Prefix
	for p := range r.blocked {
		all = append(all, p)
	}
	return all, nil
}

func (r *routes) Apply(changes []ban.Change) []error {
	r.applied = append(r.applied, slices.Clone(changes))
	var errs []error
	for i, c := range changes {
		switch err := r.broken[c.Prefix]; {
		case err != nil:
			if errs == nil {
				errs = make([]error, len(changes))
			}
			errs[i] = err
		case c.Delete:
			delete(r.blocked, c.Prefix)
		default:
			r.blocked[c.Prefix] = true
		}
	}
	return errs
}

// check compares what is blocked.
func (r *routes) check(t rapid.TB, want ...string) {
	t.Helper()
	var got []string
	for p := range r.blocked {
		got = append(got, p.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got, compare); diff != "" {
		t.Errorf("blocked (-want +got):\n%s", diff)
	}
}
