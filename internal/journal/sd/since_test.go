//go:build cgo

package sd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/journal"
	"smtpban/internal/journal/journaltest"
	"smtpban/internal/journal/sd"
)

func TestSinceTellsWhatWasWrittenInATimeAndByWhom(t *testing.T) {
	old := at(boot1, noon.Add(-time.Hour), 1)
	mine, milter := at(boot1, noon, 2), at(boot2, noon, 3)
	milter.Identifier = "postfix/cleanup"
	forged, native := at(boot2, noon, 4), at(boot2, noon, 5)
	forged.UID, native.Transport = 1001, "journal"
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), old, mine, other(at(boot1, noon, 3)))
	setBack := at(boot2, noon.Add(-time.Hour), 8)
	journaltest.Write(t, file(dir, "b"), milter, forged, native, qmgr(at(boot2, noon, 6)), other(at(boot2, noon, 7)), setBack)

	written := func(e journaltest.Entry, trusted bool) sd.Written {
		return sd.Written{UID: e.UID, Trusted: trusted, Entry: journal.Entry{
			Time: e.Time, Monotonic: e.Monotonic, Identifier: e.Identifier, PID: e.PID, Message: e.Message,
		}}
	}
	want := []sd.Written{
		written(mine, true), written(milter, true), written(forged, false), written(native, false),
		{UID: postfix, Trusted: true, Entry: journal.Entry{Time: noon.Add(6 * time.Second), Identifier: "postfix/qmgr"}},
	}
	if diff := cmp.Diff(want, since(t, dir, noon)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSinceYieldsNothingOfAJournalWithoutPostfix(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), other(at(boot1, noon, 1)))
	if got := since(t, dir, noon); got != nil {
		t.Errorf("got %v", got)
	}
}

// since returns what there is in the journal since a time.
func since(t *testing.T, dir string, from time.Time) (all []sd.Written) {
	t.Helper()
	r, err := sd.Open(sd.Options{Directory: dir, UID: postfix})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for w, err := range r.Since(from) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	return all
}

func TestJournalOnDiskIsPersistentUnlessNowWrittenToMemory(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "system.journal")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range []sd.Options{{Directory: dir}, {Files: []string{name}}} {
		if persistent, err := o.Persistent(); persistent || err != nil {
			t.Errorf("%+v: persistent %v, error %v; want false", o, persistent, err)
		}
	}
	for files, want := range map[string]bool{
		"/var/log/journal/M/system.journal":                                     true,
		"/var/log/journal/M/system.journal /run/log/journal/M/system@1.journal": true,
		"/var/log/journal/M/system.journal /run/log/journal/M/system.journal":   false,
		"/run/log/journal/M/system.journal":                                     false,
	} {
		if persistent, err := (sd.Options{Files: strings.Fields(files)}).Persistent(); persistent != want || err != nil {
			t.Errorf("%s: persistent %v, error %v; want %v", files, persistent, err, want)
		}
	}
}
