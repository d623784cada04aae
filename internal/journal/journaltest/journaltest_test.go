package journaltest_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/journal"
	"smtpban/internal/journal/journaltest"
)

func TestExportReadsBackAsWritten(t *testing.T) {
	at := time.Date(2026, time.November, 3, 12, 0, 0, 123456000, time.UTC)
	entry := journaltest.Entry{
		Boot: journaltest.Boot(1), Time: at, Monotonic: time.Second, Cursor: "s=1;i=1", UID: 101,
		Identifier: "postfix/smtpd", PID: 12, Message: "two\nlines",
	}
	foreign := entry
	foreign.UID, foreign.Monotonic, foreign.Cursor = 1001, 2*time.Second, "s=1;i=2"
	var got []journal.Entry
	for e, err := range journal.OpenExport(bytes.NewReader(journaltest.Export(entry, foreign)), 101, nil).Entries() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	want := []journal.Entry{{
		Boot: entry.Boot, Time: at, Monotonic: time.Second, Identifier: "postfix/smtpd", PID: 12, Message: "two\nlines",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
