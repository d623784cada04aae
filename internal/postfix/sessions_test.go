package postfix

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"smtpban/internal/journal"
)

func key(process, client string) Key {
	return Key{Boot: journal.Boot{1, 2, 3}, Identifier: process, PID: 244, Client: netip.MustParseAddrPort(client)}
}

var compare = cmp.Options{cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.EquateEmpty()}

// Everything that a session is remembered by must survive a run's end.
func TestSessionsAreStoredAndRestoredWhole(t *testing.T) {
	sessions := map[Key]*Session{
		key("postfix/smtpd", "203.0.113.9:0"): {Last: epoch, Told: 3, Seen: 1<<63 | 1, LostAuth: epoch.Add(-time.Second), Outage: true,
			Guesses: []Guess{{"alice", epoch, []string{"LOGIN", "PLAIN"}}, {"", epoch.Add(time.Microsecond), nil}}},
		key("postfix/postscreen", "[2001:db8::1]:4711"):             {Last: epoch.Add(time.Hour)},
		{Identifier: "x", PID: 1<<31 - 1, Client: netip.AddrPort{}}: {Last: time.UnixMicro(0).UTC(), Outage: true},
	}
	before := NewSessions()
	for k, s := range sessions {
		*before.touch(k, s.Last) = *s
	}
	after := NewSessions()
	for _, c := range before.Changes() {
		if err := after.Restore(c); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(sessions, after.open, compare); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	if changes := after.Changes(); len(changes) > 0 {
		t.Errorf("%d changes, though nothing was changed", len(changes))
	}
}

func TestChangesTellOnlyOfWhatTheStoreMustLearn(t *testing.T) {
	sessions := NewSessions()
	a, b := key("postfix/smtpd", "203.0.113.1:0"), key("postfix/smtpd", "203.0.113.2:0")
	sessions.touch(a, epoch)
	sessions.touch(b, epoch)
	sessions.close(b) // came and went
	if len(sessions.changed) != 1 {
		t.Errorf("%d changes are remembered of one session", len(sessions.changed))
	}
	first := sessions.Changes()
	if len(first) != 1 || string(first[0].Key) != string(a.encode()) || first[0].Value == nil {
		t.Fatalf("%d changes after one session was left open", len(first))
	}
	if again := sessions.Changes(); len(again) > 0 {
		t.Fatalf("told %d changes twice", len(again))
	}
	sessions.close(a)
	if end := sessions.Changes(); len(end) != 1 || end[0].Value != nil {
		t.Fatalf("the end of a stored session: %v", end)
	}
}

func TestOldSessionsAreAsGoodAsGone(t *testing.T) {
	sessions := NewSessions()
	k := key("postfix/smtpd", "203.0.113.1:0")
	sessions.touch(k, epoch)
	if sessions.find(k, epoch.Add(maxAge)) == nil {
		t.Error("a session of just a day is gone")
	}
	if sessions.find(k, epoch.Add(maxAge+1)) != nil {
		t.Error("a session of more than a day is there")
	}
	sessions.touch(k, epoch)
	sessions.Forget(epoch.Add(maxAge))
	if len(sessions.open) != 1 {
		t.Error("a session of just a day was dropped")
	}
	sessions.Forget(epoch.Add(maxAge + 1))
	if len(sessions.open) != 0 {
		t.Error("a session of more than a day was kept")
	}
	sessions.touch(k, epoch.Add(2*maxAge)) // by a clock gone wrong
	sessions.Forget(epoch)
	if len(sessions.open) != 0 {
		t.Error("a session of the future was kept")
	}
}

func TestTooManySessionsMakeRoomForTheNewest(t *testing.T) {
	sessions := NewSessions()
	nth := func(i int) Key {
		k := key("postfix/postscreen", "203.0.113.1:1")
		k.PID = i + 1
		return k
	}
	for i := range maxSessions + 1 {
		sessions.touch(nth(i), epoch.Add(time.Duration(i)*time.Second))
	}
	if want := maxSessions - maxSessions/4 + 1; len(sessions.open) != want {
		t.Fatalf("%d sessions are open, want %d", len(sessions.open), want)
	}
	for i, want := range map[int]bool{0: false, maxSessions/4 - 1: false, maxSessions / 4: true, maxSessions: true} {
		if got := sessions.open[nth(i)] != nil; got != want {
			t.Errorf("session %d is remembered: %v", i, got)
		}
	}
}

// A client must not make us remember much, whatever it sends.
func TestASessionStaysSmall(t *testing.T) {
	sessions := NewSessions()
	for i := range 10_000 {
		e := logged(float64(i)/1000, "postfix/smtpd[1]", fmt.Sprintf(
			"warning: unknown[203.0.113.9]: SASL M%d authentication failed: x, sasl_username=user%d", i%100, i%20))
		sessions.Add(e, Parse(e))
	}
	changes := sessions.Changes()
	if len(changes) != 1 || len(changes[0].Value) > 10_000 {
		t.Errorf("%d sessions, the first of %d bytes", len(changes), len(changes[0].Value))
	}
}

func FuzzRestore(f *testing.F) {
	full := &Session{Last: epoch, Told: 3, Seen: 5, LostAuth: epoch, Outage: true, Guesses: []Guess{{"alice", epoch, []string{"LOGIN"}}}}
	k := key("postfix/smtpd", "203.0.113.9:25")
	f.Add(k.encode(), full.encode())
	f.Add(k.process().encode(), (&Session{}).encode())
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		sessions := NewSessions()
		if sessions.Restore(Change{key, value}) != nil {
			return
		}
		for k, s := range sessions.open { // what was understood is written so that it is understood again
			again := NewSessions()
			if err := again.Restore(Change{k.encode(), s.encode()}); err != nil {
				t.Fatalf("%x %x: %v", key, value, err)
			}
			if diff := cmp.Diff(sessions.open, again.open, compare); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
