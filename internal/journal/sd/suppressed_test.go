//go:build cgo

package sd_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/journal"
	"smtpban/internal/journal/journaltest"
)

// drop is the nth entry of boot 1, in which journald tells of dropped messages
// of Postfix, and the gap that it means.
func drop(n int) (journaltest.Entry, journal.Gap) {
	e := journaltest.Suppressed(at(boot1, noon, n), 1000+n, "postfix@-.service", postfix)
	return e, journal.Gap{Boot: boot1, To: e.Time, Lost: 1000 + n, Reason: `journald suppressed messages of "postfix@-.service", which logged too fast` +
		" (LogRateLimitIntervalSec=1us in this unit lifts the limit, see systemd.exec(5))"}
}

func TestWhatJournaldSuppressedOfPostfixIsAGap(t *testing.T) {
	first, gap := drop(2)
	about := func(n int, unit string, uid int) journaltest.Entry {
		return journaltest.Suppressed(at(boot1, noon, n), 5, unit, uid)
	}
	otherUID, otherUnit, garbled := about(3, "postfix.service", 0), about(4, "mail.service", postfix), about(5, "postfix@-.service", 0)
	garbled.More["N_DROPPED"] = "lots"
	byUser, byPostfix, byDriver, otherID := about(9, "postfix.service", postfix), about(10, "postfix.service", postfix), about(11, "postfix.service", postfix), about(12, "postfix.service", postfix)
	byUser.Transport, byUser.UID = "journal", 1001
	byPostfix.Transport, byPostfix.UID = "syslog", postfix
	byDriver.UID = 1001
	otherID.More["MESSAGE_ID"] = "ec387f577b844b8fa948f33cad9a75e6"
	byRoot := about(13, "postfix.service", postfix)
	byRoot.Transport, byRoot.Identifier = "journal", "postfix/smtpd"

	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), at(boot1, noon, 1), first, otherUID, otherUnit, garbled,
		about(6, "ssh.service", 0), about(7, "postfix.slice", 0), about(8, "notpostfix.service", 1001), byUser, byPostfix, byDriver, otherID, byRoot,
		at(boot1, noon, 14))
	mail, unknown := gap, gap
	gap.Lost = 1002
	mail.To, mail.Lost = otherUID.Time, 5
	mail.Reason = `journald suppressed messages of "postfix.service", which logged too fast (LogRateLimitIntervalSec=1us in this unit lifts the limit, see systemd.exec(5))`
	byUnit := mail
	mail.To = otherUnit.Time
	mail.Reason = `journald suppressed messages of "mail.service", which logged too fast (LogRateLimitIntervalSec=1us in this unit lifts the limit, see systemd.exec(5))`
	unknown.To, unknown.Lost = garbled.Time, 0
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 1), series(boot1, noon, 14, 14)), gap, byUnit, mail, unknown)
	s.expectQuiet()
}

func TestSuppressedMessagesAreToldOnceAtAnyCut(t *testing.T) {
	early, gap0 := drop(0)
	second, gap2 := drop(2)
	third, gap3 := drop(3)
	last, gap7 := drop(7)
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), early, at(boot1, noon, 1), second, third, qmgr(at(boot1, noon, 4)))
	journaltest.Write(t, file(dir, "b"), at(boot1, noon, 5), at(boot1, noon, 6), last)
	want := result{
		Entries: entries(series(boot1, noon, 1, 1), series(boot1, noon, 5, 6)),
		Gaps:    []journal.Gap{gap0, gap2, gap3, gap7},
	}
	for cut := 1; cut <= 7; cut++ {
		s := newStore(t, dir)
		got := s.runUntil(cut)
		rest := s.run()
		got.Entries, got.Gaps = append(got.Entries, rest.Entries...), append(got.Gaps, rest.Gaps...)
		if cut == 6 { // what follows stands alone, and waits
			journaltest.Write(t, file(dir, "b"), qmgr(at(boot1, noon, 8)))
			got.Gaps = append(got.Gaps, s.run().Gaps...)
		}
		if diff := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".moved" }, cmp.Ignore())); diff != "" {
			t.Errorf("cut after %d (-want +got):\n%s", cut, diff)
		}
		s.expectQuiet()
	}
}

// Under a wrong uid a position that moved would pass over what is new under the
// right one.
func TestSuppressedMessagesMoveNoPositionBeforeAnythingTrusted(t *testing.T) {
	early, gap0 := drop(1)
	late, gap3 := drop(3)
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), early, at(boot1, noon, 2), late)
	s := newStore(t, dir)
	s.opts.UID = postfix + 1
	for _, anchor := range []bool{false, true} {
		s.opts.Anchor = anchor
		s.expectQuiet()
	}
	s.opts.UID, s.opts.Anchor = postfix, false
	s.expect("under the right uid", entries(series(boot1, noon, 2, 2)), gap0, gap3)
	s.expectQuiet()
}

func TestAnAnchorPassesOverNothingThatWasSuppressed(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), at(boot1, noon, 1))
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 1)))
	alone, gap := drop(2)
	journaltest.Write(t, file(dir, "a"), alone, other(at(boot1, noon, 3)))
	s.opts.Anchor = true
	s.expectQuiet()
	journaltest.Write(t, file(dir, "a"), qmgr(at(boot1, noon, 4)))
	s.opts.Anchor = false
	got := s.expect("with the next message", nil, gap)
	if p := got.moved[boot1]; p.Monotonic != 4*time.Second {
		t.Errorf("position %+v, want that of the message", p)
	}
	s.expectQuiet()
}

func TestWhatWaitsInOneBootIsNotToldInAnother(t *testing.T) {
	alone, _ := drop(1)
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), alone)
	journaltest.Write(t, file(dir, "b"), at(boot2, noon.Add(time.Hour), 1))
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot2, noon.Add(time.Hour), 1, 1)))
	s.expectQuiet()
}

func TestASuppressedUnitOfSomebodyElseIsPassedOver(t *testing.T) {
	dir := t.TempDir()
	ssh := journaltest.Suppressed(at(boot1, noon, 2), 7, "ssh.service", 0)
	journaltest.Write(t, file(dir, "a"), at(boot1, noon, 1), ssh)
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot1, noon, 1, 1)))
	s.expectQuiet()
	ssh.Time, ssh.Monotonic = noon.Add(3*time.Second), 3*time.Second
	journaltest.Write(t, file(dir, "a"), ssh, other(at(boot1, noon, 4)))
	s.expectQuiet()
	s.opts.Anchor = true
	if got := s.expect("anchored", nil); got.moved[boot1].Monotonic != 4*time.Second {
		t.Errorf("position %+v, want the end of the boot", got.moved[boot1])
	}
}
