package sd_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"smtpban/internal/journal/journaltest"
	"smtpban/internal/journal/sd"
)

func TestTheWatcherNoticesEveryEntryAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	write := journaltest.Open(t, file(dir, "system"))
	write(series(boot1, noon, 1, 1)...)
	var w sd.Watcher
	waitFor(t, "the file is made", func() bool {
		_, err := os.Stat(file(dir, "system"))
		return err == nil
	})
	w.Follow(sd.Options{Directory: dir})
	settle(&w)
	for i := 2; i < 20; i++ {
		if w.Written() {
			t.Fatalf("entry %d is noticed before it is written", i)
		}
		write(series(boot1, noon, i, i)...)
		waitFor(t, fmt.Sprintf("entry %d is noticed", i), w.Written)
		settle(&w) // the file may be touched after the entry
	}
}

func TestTheWatcherGoesOnWithTheFileThatTakesTheNameOfARotatedOne(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "system"), series(boot1, noon, 1, 3)...)
	var w sd.Watcher
	w.Follow(sd.Options{Directory: dir})
	if err := os.Rename(file(dir, "system"), file(dir, "system@1")); err != nil {
		t.Fatal(err)
	}
	if !w.Written() || w.Written() {
		t.Error("that the file is gone is noticed once")
	}
	w.Follow(sd.Options{Directory: dir})
	journaltest.Write(t, file(dir, "system"), series(boot1, noon, 4, 6)...)
	if !w.Written() || w.Written() {
		t.Error("that there is a new one is noticed once")
	}
	journaltest.Write(t, file(dir, "system@2"), series(boot1, noon, 7, 8)...)
	w.Follow(sd.Options{Directory: dir})
	if err := os.Remove(file(dir, "system@1")); err != nil {
		t.Fatal(err)
	}
	if w.Written() {
		t.Error("those that are not written to don't matter")
	}
}

func TestTheWatcherFindsFilesThatAreMadeLater(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	var w sd.Watcher
	w.Follow(sd.Options{Directory: dir})
	if w.Written() {
		t.Error("something was written although there is no journal")
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	journaltest.Write(t, file(dir, "system"), series(boot1, noon, 1, 3)...)
	w.Follow(sd.Options{Directory: dir})
	if w.Written() {
		t.Error("what was there when the file was found is for the next reader")
	}
	if err := errors.Join(os.Truncate(file(dir, "system"), 10), os.Truncate(file(dir, "system"), 0)); err != nil {
		t.Fatal(err)
	}
	if !w.Written() || w.Written() {
		t.Error("that the file was emptied is noticed once")
	}
}

// settle waits until nothing more happens to the files.
func settle(w *sd.Watcher) {
	for quiet := 0; quiet < 10; quiet++ {
		time.Sleep(10 * time.Millisecond)
		if w.Written() {
			quiet = 0
		}
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}
