//go:build cgo

package sd_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/journal"
	"smtpban/internal/journal/journaltest"
	"smtpban/internal/journal/sd"
)

func TestLookupFindsWhatIsStillThereAndTrusted(t *testing.T) {
	wanted, twin := at(boot1, noon, 1), at(boot1, noon, 1)
	twin.Message = "warning: another line of the same process and microsecond"
	otherPID, otherTag, forged := at(boot1, noon, 1), at(boot1, noon, 1), at(boot1, noon, 1)
	otherPID.PID++
	otherTag.Identifier = "postfix/submission/smtpd"
	forged.UID = 1001
	gone, earlier := at(boot1, noon, 3), at(boot1, noon, 0)

	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), earlier, wanted, twin, otherPID, otherTag, forged, at(boot1, noon, 2), at(boot1, noon, 4))
	// The clock was set back between the boots.
	back := at(boot2, noon.Add(-time.Hour), 1)
	journaltest.Write(t, file(dir, "b"), back)

	want := map[journal.Place][]string{
		place(wanted): {wanted.Message, twin.Message},
		place(gone):   nil,
		place(back):   {back.Message},
	}
	got, err := sd.Lookup(sd.Options{Directory: dir, UID: wanted.UID}, []journal.Place{place(wanted), place(gone), place(wanted), place(back)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func place(e journaltest.Entry) journal.Place {
	return journal.Place{Boot: e.Boot, Time: e.Time, Identifier: e.Identifier, PID: e.PID}
}
