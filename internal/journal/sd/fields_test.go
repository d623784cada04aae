//go:build cgo

package sd

import (
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/sdjournal"
	"github.com/google/go-cmp/cmp"

	"smtpban/internal/journal"
	"smtpban/internal/journal/journaltest"
)

// Should go-systemd keep its handle elsewhere one day, all would still be read, but
// at three times the cost.
func TestTheHandleOfSdjournalIsFound(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, dir+"/a.journal", journaltest.Entry{Boot: journaltest.Boot(1), Time: time.Unix(1, 0), Identifier: "postfix/smtpd", Message: "x"})
	j, err := sdjournal.NewJournalFromDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	var f fields
	if f.of(j); f.handle == nil {
		t.Error("it is not found")
	}
}

// Whatever is not as usual is asked for field by field.
func TestAnEntryIsTheSameHoweverItIsRead(t *testing.T) {
	boot, start := journaltest.Boot(1), time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)
	var written []journaltest.Entry
	for n, e := range []journaltest.Entry{
		{Identifier: "postfix/smtpd", Message: "the first, which is found by seeking"},
		{Identifier: "postfix/smtpd", PID: 4711, Message: "usual"},
		{Identifier: "postfix/smtpd", PID: 12, Message: strings.Repeat("longer than usual ", 500)},
		{Identifier: "postfix/" + strings.Repeat("x", 300) + "/smtpd", PID: 13, Message: "a long tag"},
		{Identifier: "postfix/smtpd", PID: 14, Message: "MESSAGE=within itself", More: map[string]string{"MESSAGEX": "no", "SYSLOG_PIDS": "7", "SYSLOG_IDENTIFIER_": "no"}},
		{Identifier: "postfix/qmgr", PID: 15, Message: "of another program"},
		{Identifier: "postfix/smtpd", PID: 16, Message: "two\nlines"},
		{Identifier: "postfix/cleanup", PID: 17, Message: strings.Repeat("y", 8192)},
		{Identifier: "postfix/cleanup", PID: 18, Message: strings.Repeat("z", 8193)},
		{Identifier: "postfix/postscreen", PID: 19, Message: "the last"},
	} {
		e.Boot, e.UID, e.Time, e.Monotonic = boot, 101, start.Add(time.Duration(n)*time.Second), time.Duration(n)*time.Second
		written = append(written, e)
	}
	dir := t.TempDir()
	journaltest.Write(t, dir+"/a.journal", written...)

	read := func(slowly bool) (all []journal.Entry) {
		r, err := Open(Options{Directory: dir, UID: 101})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if slowly {
			r.fields.handle = nil
		}
		for e, err := range r.Entries() {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		}
		return all
	}
	var want []journal.Entry
	for _, e := range written {
		if journal.ClientFacing(e.Identifier) {
			want = append(want, journal.Entry{Boot: boot, Time: e.Time, Monotonic: e.Monotonic, Identifier: e.Identifier, PID: e.PID, Message: e.Message})
		}
	}
	for name, slowly := range map[string]bool{"in one call": false, "field by field": true} {
		if diff := cmp.Diff(want, read(slowly)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
