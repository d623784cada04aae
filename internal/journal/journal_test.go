package journal_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/journal"
	"smtpban/internal/journal/journaltest"
)

const postfix = 101 // the uid that is trusted

var (
	boot1 = journaltest.Boot(1)
	noon  = time.Date(2026, time.November, 3, 12, 0, 0, 0, time.UTC)
)

// readAll ranges over the input until an error that is no gap.
func readAll(in journal.Input) (all []journal.Entry, err error) {
	for e, err := range in.Entries() {
		if err != nil {
			return all, err
		}
		all = append(all, e)
	}
	return all, nil
}

// read wants no error, and returns the entries and the positions.
func read(t *testing.T, in journal.Input) ([]journal.Entry, journal.Positions) {
	t.Helper()
	all, err := readAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return all, positions(t, in)
}

func positions(t *testing.T, in journal.Input) journal.Positions {
	t.Helper()
	p, err := in.Positions()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestClientFacingIsDecidedByTheEndOfTheTag(t *testing.T) {
	for tag, want := range map[string]bool{
		"postfix/smtpd":            true,
		"postfix/submission/smtpd": true,
		"postfix-in/postscreen":    true,
		"postfix/smtp":             false,
		"smtpd":                    false,
		"opensmtpd":                false,
		"postfix/smtpd/x":          false,
		"":                         false,
	} {
		if got := journal.ClientFacing(tag); got != want {
			t.Errorf("ClientFacing(%q) = %v", tag, got)
		}
	}
}

func TestBootIsReadAsItIsWritten(t *testing.T) {
	got, err := journal.ParseBoot(boot1.String())
	if err != nil || got != boot1 {
		t.Errorf("ParseBoot(%q) = %v, %v", boot1, got, err)
	}
	for _, bad := range []string{"", "00", "g0000000000000000000000000000000", boot1.String() + "00"} {
		if _, err := journal.ParseBoot(bad); err == nil {
			t.Errorf("ParseBoot(%q) did not fail", bad)
		}
	}
}

func TestPositionCovers(t *testing.T) {
	p := journal.Position{Realtime: noon, Monotonic: time.Hour}
	for _, c := range []struct {
		name      string
		monotonic time.Duration
		realtime  time.Time
		want      bool
	}{
		{"the same stamps", time.Hour, noon, true},
		{"earlier since the boot, later by a clock that was set back since", time.Minute, noon.Add(time.Hour), true},
		{"later since the boot, earlier by a clock that was set back", 2 * time.Hour, noon.Add(-time.Hour), false},
		{"the same since the boot, later by the clock", time.Hour, noon.Add(time.Microsecond), false},
	} {
		if got := p.Covers(c.monotonic, c.realtime); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestPositionIsStoredWhole(t *testing.T) {
	want := journal.Position{Cursor: "s=1;i=2", Realtime: noon.Add(time.Microsecond), Monotonic: 90 * time.Minute}
	data, err := want.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var got journal.Position
	if err := got.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for n := range 10 {
		if err := got.UnmarshalBinary(data[:n]); err == nil {
			t.Errorf("cut off after %d bytes, no error", n)
		}
	}
}

func FuzzPosition(f *testing.F) {
	data, _ := journal.Position{Cursor: "s=1;i=2", Realtime: noon, Monotonic: time.Minute}.MarshalBinary()
	f.Add(data)
	f.Add([]byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second journal.Position
		if first.UnmarshalBinary(data) != nil {
			return
		}
		again, err := first.MarshalBinary()
		if err == nil {
			err = second.UnmarshalBinary(again)
		}
		if diff := cmp.Diff(first, second); diff != "" || err != nil {
			t.Errorf("stored and read again: error %v (-first +second):\n%s", err, diff)
		}
	})
}

// checkCuts reads an input again and again, each time stopped after some
// entries and taken up in a second run, which must bring no entry twice and,
// if exact, lose none.
func checkCuts(t *testing.T, open func(journal.Positions) journal.Input, exact bool) {
	t.Helper()
	all, err := readAll(open(nil))
	if err != nil {
		return
	}
	for cut := range len(all) + 1 {
		in := open(nil)
		n := 0
		for _, err := range in.Entries() {
			if n++; err != nil || n >= cut {
				break
			}
		}
		if cut == 0 {
			in = open(nil) // not one entry asked for
		}
		rest, err := readAll(open(positions(t, in)))
		if err != nil && !errors.As(err, new(*journal.Gap)) {
			t.Fatalf("second run after %d entries: %v", cut, err)
		}
		if exact {
			if diff := cmp.Diff(all[cut:], append([]journal.Entry{}, rest...)); diff != "" {
				t.Fatalf("second run after %d entries (-want +got):\n%s", cut, diff)
			}
		} else if !isSubsequence(rest, all[cut:]) {
			t.Fatalf("second run after %d entries: %v, want a part of %v", cut, rest, all[cut:])
		}
	}
	done := open(nil)
	if _, err := readAll(done); err != nil {
		t.Fatal(err)
	}
	if rest, _ := readAll(open(positions(t, done))); len(rest) > 0 {
		t.Fatalf("after the end: %v", rest)
	}
}

func isSubsequence(part, whole []journal.Entry) bool {
	for _, e := range whole {
		if len(part) > 0 && part[0] == e {
			part = part[1:]
		}
	}
	return len(part) == 0
}

func TestAGapSaysWhatIsKnownOfIt(t *testing.T) {
	from, to := noon, noon.Add(time.Minute)
	for want, gap := range map[string]journal.Gap{
		"entries may be lost: damaged": {Reason: "damaged"},
		"entries between 2026-11-03T12:00:00Z and 2026-11-03T12:01:00Z may be lost: vacuumed":   {From: from, To: to, Reason: "vacuumed"},
		"entries between 2026-11-03T12:00:00Z and now may be lost: vacuumed":                    {From: from, Reason: "vacuumed"},
		"entries up to 2026-11-03T12:01:00Z may be lost: unreadable":                            {To: to, Reason: "unreadable"},
		"7 messages up to 2026-11-03T12:01:00Z are lost: suppressed":                            {To: to, Lost: 7, Reason: "suppressed"},
		"7 messages between 2026-11-03T12:00:00Z and 2026-11-03T12:01:00Z are lost: suppressed": {From: from, To: to, Lost: 7, Reason: "suppressed"},
	} {
		if got := gap.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got, want := gap.Undated(), gap.Reason == "damaged"; got != want {
			t.Errorf("%q: undated is %v", gap.Reason, got)
		}
	}
}
