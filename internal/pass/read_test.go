package pass_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
	"smtpban/internal/pass"
	"smtpban/internal/store"
)

var errBroken = errors.New("broken")

// connect is an entry that tells of no abuse.
func connect(address string, t time.Time) journal.Entry {
	e := failure(address, t)
	e.Message = "connect from unknown[" + address + "]"
	return e
}

// firstBan is the ban that five failures bring, the last of them at start.
func firstBan(prefix string, start time.Time) ban.Ban {
	return ban.Ban{
		Prefix: prefixes(prefix)[0], Class: ban.SASLAuth, Failures: 5,
		Start: start, Until: start.Add(24 * time.Hour), Count: 1, Origin: ban.OriginJournal,
	}
}

func TestReadingTellsWhatItBrought(t *testing.T) {
	m := newMachine(t)
	log := append(failures("203.0.113.9", 0, 1, 2, 3, 4), connect("203.0.113.9", at(5)))
	check(t, pass.Read{Entries: 6, First: at(0), Events: 5, Bans: []ban.Ban{firstBan("203.0.113.9/32", at(4))}}, m.read(at(5), log))
	check(t, pass.Read{}, m.read(at(5), log))

	log = append(log, failures("203.0.113.9", 6)...)
	check(t, pass.Read{Entries: 1, First: at(6), Events: 1}, m.read(at(6), log))
}

func TestTheLastReadingThatBroughtAnythingIsRemembered(t *testing.T) {
	m := newMachine(t)
	remembered := func() (r store.LastRead) {
		err := store.New(m.path).View(func(tx *store.Tx) (err error) {
			r, err = tx.LastRead()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	check(t, store.LastRead{}, remembered())
	log := append(failures("203.0.113.9", 0, 1, 2, 3, 4), connect("203.0.113.9", at(5)))
	m.read(at(5), log)
	check(t, store.LastRead{At: at(5), Entries: 6, Events: 5, Bans: 1}, remembered())
	m.read(at(6), log)
	check(t, store.LastRead{At: at(5), Entries: 6, Events: 5, Bans: 1}, remembered())
	for i := range 300 { // clients, more than a batch may have
		log = append(log, failures(fmt.Sprintf("198.51.%d.%d", i/250, i%250), 7, 7, 7, 7, 7)...)
	}
	m.read(at(7), log)
	check(t, store.LastRead{At: at(7), Entries: 1500, Events: 1500, Bans: 300}, remembered())
}

func TestReadingTheSameAgainAddsNothing(t *testing.T) {
	m := newMachine(t)
	log := append(failures("203.0.113.9", 0, 1, 2, 3, 4), failures("2001:db8::1", 5, 6)...)
	m.read(at(6), log)
	before := m.state()
	m.read(at(7), log)
	check(t, before, m.state())
}

func TestABrokenInputKeepsWhatItYielded(t *testing.T) {
	log := append(failures("203.0.113.9", 0, 1, 2, 3, 4), failures("198.51.100.7", 4, 4)...)
	broken, whole := newMachine(t), newMachine(t)
	whole.read(at(4), log)

	in := broken.open(log)
	in.before = map[int]error{5: errBroken}
	read, err := broken.at(at(4)).Read(in)
	check(t, errBroken, err)
	check(t, pass.Read{Entries: 5, First: at(0), Events: 5, Bans: []ban.Ban{firstBan("203.0.113.9/32", at(4))}}, read)
	check(t, journal.Positions{{}: {Cursor: "5", Realtime: at(4)}}, broken.positions())

	check(t, pass.Read{Entries: 2, First: at(4), Events: 2}, broken.read(at(4), log))
	check(t, whole.state(), broken.state())
}

func TestAnInputThatBreaksAtOnceWritesNothing(t *testing.T) {
	m := newMachine(t)
	in := m.open(failures("203.0.113.9", 0))
	in.before = map[int]error{0: errBroken}
	read, err := m.at(at(0)).Read(in)
	check(t, errBroken, err)
	check(t, pass.Read{}, read)
	if _, err := os.Stat(m.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a state file: %v", err)
	}
}

func TestEventsAreNotStoredWithoutTheirPosition(t *testing.T) {
	m := newMachine(t)
	in := m.open(failures("203.0.113.9", 0))
	in.positionErrors = map[int]error{1: errBroken}
	_, err := m.at(at(0)).Read(in)
	check(t, errBroken, err)
	if _, err := os.Stat(m.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a state file: %v", err)
	}
}

func TestALongRunIsCommittedInBatches(t *testing.T) {
	m := newMachine(t)
	log := failures("203.0.113.9", 0, 0, 0, 0, 0)
	for len(log) < 50_001 {
		log = append(log, connect("203.0.113.9", at(0)))
	}
	in := m.open(log)
	in.positionErrors = map[int]error{2: errBroken}
	read, err := m.at(at(0)).Read(in)
	check(t, errBroken, err)
	check(t, pass.Read{Entries: 50_001, First: at(0), Events: 5, Bans: []ban.Ban{firstBan("203.0.113.9/32", at(0))}}, read)
	check(t, journal.Positions{{}: {Cursor: "50000", Realtime: at(0)}}, m.positions())
	check(t, pass.Read{Entries: 1, First: at(0)}, m.read(at(0), log))
}

func TestNoBatchCountsWhatTheOneBeforeDid(t *testing.T) {
	m := newMachine(t)
	log := failures("203.0.113.9", 0, 0, 0)
	for len(log) < 50_001 {
		log = append(log, connect("203.0.113.9", at(0)))
	}
	check(t, pass.Read{Entries: 50_001, First: at(0), Events: 3}, m.read(at(0), log))
	if clients := m.state().Clients; len(clients) != 1 || clients[0].Failures != 3 {
		t.Errorf("%+v, want one client with 3 failures", clients)
	}
}

func TestAGapDoesNotStopTheReading(t *testing.T) {
	first := &journal.Gap{Reason: "vacuumed"}
	last := &journal.Gap{From: at(1), Reason: "unreadable entries"}
	m := newMachine(t)
	in := m.open(failures("203.0.113.9", 0, 1))
	in.before = map[int]error{0: first, 2: last}
	check(t, pass.Read{Entries: 2, First: at(0), Events: 2, Gaps: []*journal.Gap{last, first}}, m.readFrom(at(1), in))
	check(t, journal.Positions{{}: {Cursor: "2", Realtime: at(1)}}, m.positions())
}

func TestARunWithNothingNewDoesNotWrite(t *testing.T) {
	m := newMachine(t)
	m.read(at(0), nil)
	if _, err := os.Stat(m.path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a run over an empty log made a state file: %v", err)
	}
	log := failures("203.0.113.9", 0, 1)
	m.read(at(1), log)
	before := m.file()
	m.read(at(2), log)
	m.settle(at(2), ban.NeverBan{}, blocking())
	m.checkUntouched(before)
}

func TestARunWithoutFailuresRemembersHowFarItRead(t *testing.T) {
	m := newMachine(t)
	check(t, pass.Read{Entries: 1, First: at(1)}, m.read(at(2), tape{connect("203.0.113.9", at(1))}))
	check(t, journal.Positions{{}: {Cursor: "1", Realtime: at(1)}}, m.positions())
	check(t, at(2), m.lastCommit())
}

func TestAnEntryMoreThanADayAheadCountsAsNow(t *testing.T) {
	for name, tc := range map[string]struct{ stamp, start time.Time }{
		"a day ahead":     {at(24), at(24)},
		"more than a day": {at(24).Add(time.Microsecond), at(0)},
		"years":           {at(24 * 3650), at(0)},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			var log tape
			for range 5 {
				log = append(log, failure("203.0.113.9", tc.stamp))
			}
			check(t, []ban.Ban{firstBan("203.0.113.9/32", tc.start)}, m.read(at(0), log).Bans)
		})
	}
}

func TestAnOldLogBringsNoBanInForce(t *testing.T) {
	m := newMachine(t)
	log := append(failures("203.0.113.9", 0, 1, 2, 3, 4), failures("198.51.100.7", 5, 5, 5, 5, 5)...)
	read := m.read(at(28), log) // the first is over to the microsecond
	check(t, []ban.Ban{firstBan("198.51.100.7/32", at(5))}, read.Bans)
	got := m.state()
	check(t, read.Bans, got.Bans)
	check(t, []store.Ended{{Ban: firstBan("203.0.113.9/32", at(4)), At: at(28), How: store.Expired}}, got.Ended)
}

func TestSeveralBansOfOneClientInOneRunAllEnterTheHistory(t *testing.T) {
	m := newMachine(t)
	log := append(failures("203.0.113.9", 0, 0, 0, 0, 0, 1), failures("203.0.113.9", 30, 30, 30, 30, 30)...)
	m.read(at(1000), log)
	first, second := firstBan("203.0.113.9/32", at(0)), firstBan("203.0.113.9/32", at(30))
	first.Failures = 6
	second.Count, second.Until = 2, at(30+48)
	check(t, []store.Ended{
		{Ban: first, At: first.Until, How: store.Expired},
		{Ban: second, At: second.Until, How: store.Expired},
	}, m.state().Ended)
}

func TestFailuresWithinABanRaiseItsFailures(t *testing.T) {
	m := newMachine(t)
	log := failures("203.0.113.9", 0, 1, 2, 3, 4, 5)
	m.read(at(5), log)
	m.read(at(6), append(log, failures("203.0.113.9", 6)...))
	want := firstBan("203.0.113.9/32", at(4))
	want.Failures = 7
	check(t, []ban.Ban{want}, m.state().Bans)
}

// Where the clock was set back, a failure may belong to a ban although the
// client has begun another tally since.
func TestALateFailureWithinABanDoesNotLowerItsFailures(t *testing.T) {
	m := newMachine(t)
	m.policy.FindTime, m.policy.BanTime = time.Hour, time.Hour
	m.read(at(3), failures("203.0.113.9", 0, 0, 0, 0, 0, .5, 3, .7))
	want := firstBan("203.0.113.9/32", at(0))
	want.Until, want.Failures = at(1), 7
	check(t, []store.Ended{{Ban: want, At: at(1), How: store.Expired}}, m.state().Ended)
}

func TestEvidenceIsTheHitsThatReachedMaxretry(t *testing.T) {
	m := newMachine(t)
	m.read(at(31), failures("203.0.113.9", 0, 20, 28, 29, 30, 31))
	var stamps []time.Time
	for _, h := range m.state().Evidence[prefixes("203.0.113.9/32")[0]].Hits {
		stamps = append(stamps, h.Time)
	}
	check(t, []time.Time{at(31), at(30), at(29), at(28), at(20)}, stamps)
}

func TestAPositionThatCannotBeReadIsAnErrorThatNamesTheBoot(t *testing.T) {
	m := newMachine(t)
	boot := journal.Boot{0xb0, 15: 1}
	m.update(func(tx *store.Tx) error { return tx.PutPosition(boot, []byte{9}) })
	_, err := pass.Positions(store.New(m.path))
	want := "reading state " + m.path + ": boot b0000000000000000000000000000001: decoding position: unknown version 9"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestMove(t *testing.T) {
	old, recent, present := journal.Boot{1}, journal.Boot{2}, journal.Boot{3}
	forget := ban.DefaultPolicy().Forget
	now := at(0).Add(forget)
	position := func(t time.Time) journal.Position { return journal.Position{Cursor: "c", Realtime: t} }
	m := newMachine(t)
	move := func(positions journal.Positions, there ...journal.Boot) {
		t.Helper()
		if err := m.at(now).Move(positions, there); err != nil {
			t.Fatal(err)
		}
	}
	move(journal.Positions{
		old: position(at(-1)), recent: position(at(0)), present: position(at(-1)),
	}, old, recent, present)

	before := m.file()
	move(nil, old, recent, present)
	m.checkUntouched(before)

	move(nil, present)
	check(t, journal.Positions{recent: position(at(0)), present: position(at(-1))}, m.positions())
	move(journal.Positions{present: position(now)}, present)
	check(t, journal.Positions{recent: position(at(0)), present: position(now)}, m.positions())
	check(t, state{}, m.state())
}

func TestBansThatAreOverAreToldUnlessTheyAreOfThePast(t *testing.T) {
	m := newMachine(t)
	log := failures("203.0.113.9", 0, 0, 0, 0, 0)
	m.read(at(1), log)
	log = append(log, failures("198.51.100.7", 2, 2, 2, 2, 2)...) // over before it is read
	log = append(log, failures("203.0.113.200", 30)...)
	m.wake(at(30))
	check(t, []ban.Ban(nil), m.read(at(30), log).Bans)
	check(t, []string{"203.0.113.9/32"}, banned(m.settle(at(30), ban.NeverBan{}, nil).Expired))
	check(t, []string{"203.0.113.9/32", "198.51.100.7/32"}, []string{m.state().Ended[0].Prefix.String(), m.state().Ended[1].Prefix.String()})
}
