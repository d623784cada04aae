//go:build cgo

package sd_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"smtpban/internal/journal/journaltest"
)

// TestAFileThatIsRotatedWhileTheJournalIsOpenedIsRead lets journald begin a new
// file at about every moment of the opening. Before it was looked for what is
// missing one in some hundred openings missed the old one, and passed over it.
func TestAFileThatIsRotatedWhileTheJournalIsOpenedIsRead(t *testing.T) {
	const openings = 1000
	aside, dir := t.TempDir(), t.TempDir()
	journaltest.Write(t, file(aside, "old"), series(boot1, noon, 1, 3)...)
	journaltest.Write(t, file(aside, "new"), series(boot1, noon, 4, 5)...)
	active, archived := file(dir, "system"), file(dir, "system@1")
	for i := range openings {
		if err := os.Link(file(aside, "old"), active); err != nil {
			t.Fatal(err)
		}
		rotated := make(chan error)
		go func() {
			time.Sleep(time.Duration(i%100) * 10 * time.Microsecond)
			rotated <- errors.Join(os.Rename(active, archived), os.Link(file(aside, "new"), active))
		}()
		got := newStore(t, dir).run()
		if err := <-rotated; err != nil {
			t.Fatal(err)
		}
		if len(got.Entries) < 3 || !got.Entries[0].Time.Equal(noon.Add(time.Second)) {
			t.Fatalf("opening %d: read %d entries, the first of %v", i, len(got.Entries), got.Entries)
		}
		for _, name := range []string{active, archived} {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}
