//go:build cgo

package sd_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/journal"
	"smtpban/internal/journal/journaltest"
	"smtpban/internal/journal/sd"
	state "smtpban/internal/store"
)

// damagedGap is what is told of a file that cannot be read to its end.
func damagedGap(name string) journal.Gap {
	return journal.Gap{Reason: name + ".journal is damaged: not all of it can be read (see journalctl --verify)"}
}

// cutting is a store whose runs cut a file off when n entries were read; 0 is
// after the journal was opened.
func (s *store) cutting(name string, size int64, n int) (got result) {
	s.t.Helper()
	opts := s.opts
	opts.From = s.positions
	r, err := sd.Open(opts)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	cut := func() {
		if err := os.Truncate(name, size); err != nil {
			s.t.Fatal(err)
		}
	}
	if n == 0 {
		cut()
	}
	for e, err := range r.Entries() {
		var gap *journal.Gap
		switch {
		case errors.As(err, &gap):
			got.Gaps = append(got.Gaps, *gap)
		case err != nil:
			s.t.Fatal(err)
		default:
			got.Entries = append(got.Entries, e)
			if len(got.Entries) == n {
				cut()
			}
		}
	}
	if got.moved, err = r.Positions(); err != nil {
		s.t.Fatal(err)
	}
	s.keep(got.moved)
	return got
}

// pages returns sizes to which a file can be cut so that entries are lost.
func pages(data []byte) (sizes []int64) {
	first, last := bytes.Index(data, []byte("_BOOT_ID=")), len(bytes.TrimRight(data, "\x00"))
	sizes = []int64{0, 4096}
	for size := first / 4096 * 4096; size < last; size += 4096 {
		sizes = append(sizes, int64(size), int64(size)+1234)
	}
	return sizes
}

func TestAFileCutOffWhileItIsReadCostsOnlyWhatWasCutOff(t *testing.T) {
	dir := t.TempDir()
	name := file(dir, "a")
	journaltest.Write(t, name, series(boot1, noon, 1, 60)...)
	journaltest.Write(t, file(dir, "b"), series(boot1, noon, 61, 65)...)
	journaltest.Write(t, file(dir, "c"), series(boot2, noon.Add(time.Hour), 1, 5)...)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	rest := entries(series(boot1, noon, 61, 65), series(boot2, noon.Add(time.Hour), 1, 5))
	for _, size := range pages(data) {
		for _, n := range []int{0, 1, 30, 58} {
			rewrite(t, name, data)
			s := newStore(t, dir)
			got := s.cutting(name, size, n)
			gaps := slices.DeleteFunc(got.Gaps, isHole) // of the entry at the cut some can be read
			if diff := cmp.Diff([]journal.Gap{damagedGap("a")}, gaps); diff != "" {
				t.Errorf("cut to %d after %d: gaps (-want +got):\n%s", size, n, diff)
			}
			read := max(len(got.Entries)-len(rest), n)
			want := append(entries(series(boot1, noon, 1, read)), rest...)
			if diff := cmp.Diff(want, got.Entries); diff != "" {
				t.Errorf("cut to %d after %d: entries (-want +got):\n%s", size, n, diff)
			}
			s.expectQuiet(foundAgain(size)...)
		}
	}
}

// foundAgain is what the next runs find of a file "a" that was cut to this size.
func foundAgain(size int64) []journal.Gap {
	if size == 0 { // like one that is just being made
		return nil
	}
	return []journal.Gap{damagedGap("a")}
}

func isHole(g journal.Gap) bool { return strings.HasPrefix(g.Reason, "unreadable entries: ") }

// A position in the file that is cut off is looked for there, by its cursor and
// then by the clocks.
func TestAFileCutOffWhileAPositionIsSoughtInItReplaysNothing(t *testing.T) {
	dir := t.TempDir()
	name := file(dir, "a")
	journaltest.Write(t, name, series(boot1, noon, 1, 60)...)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	sought := newStore(t, dir)
	sought.runUntil(30)
	journaltest.Write(t, file(dir, "b"), series(boot1, noon, 61, 65)...)
	for _, size := range pages(data) {
		for _, cursor := range []string{sought.positions[boot1].Cursor, "no cursor"} {
			rewrite(t, name, data)
			s := newStore(t, dir)
			s.positions[boot1] = sought.positions[boot1]
			pos := s.positions[boot1]
			pos.Cursor = cursor
			s.positions[boot1] = pos
			got := s.cutting(name, size, 0)
			n := len(got.Entries)
			want := entries(series(boot1, noon, 31, 25+n), series(boot1, noon, 61, 65))
			if diff := cmp.Diff(want, got.Entries); diff != "" {
				t.Errorf("cut to %d, cursor %q: entries (-want +got):\n%s", size, cursor, diff)
			}
			if !slices.Contains(got.Gaps, damagedGap("a")) {
				t.Errorf("cut to %d, cursor %q: gaps %v", size, cursor, got.Gaps)
			}
			s.expectQuiet(foundAgain(size)...)
		}
	}
}

// A long field is compressed in the file, and a shorter one is copied out of it
// by Go. Either way none may be taken for what was written.
func TestAFieldThatIsCutOffWhileItIsReadIsNotBelieved(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, length := range []int{400, 20_000} {
		var long []journaltest.Entry
		for _, e := range series(boot1, noon, 1, 40) {
			var text strings.Builder
			for text.Len() < length {
				fmt.Fprintf(&text, "%x", random.Uint64())
			}
			e.Message = text.String()
			long = append(long, e)
		}
		dir := t.TempDir()
		name := file(dir, "a")
		journaltest.Write(t, name, long...)
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want, cut := entries(long), 0
		sizes := pages(data)
		for i := range 40 {
			size := sizes[2+i*(len(sizes)-2)/40]
			rewrite(t, name, data)
			got := newStore(t, dir).cutting(name, size, 1+i/2).Entries
			if n := len(got); n < len(want) {
				cut++
			}
			if diff := cmp.Diff(want[:len(got)], got); diff != "" {
				t.Errorf("fields of %d bytes, cut to %d: (-want +got):\n%s", length, size, diff)
			}
		}
		if cut < 30 {
			t.Errorf("fields of %d bytes: only %d of 40 were cut off", length, cut)
		}
	}
}

// asserted is what libsystemd says where it aborts the process: see fault.c.
var asserted = regexp.MustCompile(`(?m)^Assertion '.*' failed at src/libsystemd/.*\. Aborting\.$`)

// inChild runs the test in a process of its own, and once more where libsystemd has
// aborted that. It returns true in that process, which goes on with the test.
func inChild(t *testing.T) bool {
	t.Helper()
	const child, tries = "SMTPBAN_TEST_CHILD", 5
	if os.Getenv(child) != "" {
		return true
	}
	for range tries {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), child+"=1")
		said, err := cmd.CombinedOutput()
		if err == nil {
			return false
		}
		if !asserted.Match(said) {
			t.Fatalf("%v:\n%s", err, said)
		}
		t.Logf("aborted: %s", asserted.Find(said))
	}
	t.Errorf("libsystemd has aborted %d times", tries)
	return false
}

// Wherever the reader is when it happens, opening and listing the boots
// included, it comes to an end.
func TestFilesCutOffAtAnyMomentAreSurvived(t *testing.T) {
	if !inChild(t) {
		return
	}
	const rounds = 200
	dir := t.TempDir()
	want := entries(series(boot1, noon, 1, 60), series(boot1, noon, 61, 120), series(boot1, noon, 121, 130))
	var saved [][]byte
	for i, name := range []string{"a", "b", "c"} {
		journaltest.Write(t, file(dir, name), series(boot1, noon, 1+60*i, min(60+60*i, 130))...)
		data, err := os.ReadFile(file(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		saved = append(saved, data)
	}
	told := 0
	for round := range rounds {
		rewrite(t, file(dir, "a"), saved[0])
		rewrite(t, file(dir, "b"), saved[1])
		done := make(chan struct{})
		sizes := pages(saved[1])
		go func() {
			defer close(done)
			time.Sleep(time.Duration(round) * 20 * time.Microsecond)
			_ = os.Truncate(file(dir, "b"), sizes[rand.IntN(len(sizes))])
			time.Sleep(100 * time.Microsecond)
			_ = os.Truncate(file(dir, "a"), sizes[rand.IntN(len(sizes))])
		}()
		s := newStore(t, dir)
		got := s.run()
		<-done
		if !isSubsequence(times(got.Entries), times(want)) || !isSubsequence(times(want[120:]), times(got.Entries)) {
			t.Fatalf("round %d: read %v", round, times(got.Entries))
		}
		if len(got.Gaps) > 0 {
			told++
		}
	}
	if told == 0 || told == rounds {
		t.Errorf("damage was told in %d of %d rounds", told, rounds)
	}
}

// mapped returns a page of a file that was cut off, and its name ends like this.
func mapped(t *testing.T, suffix string) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "state"+suffix))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	page, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(page) })
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	return page
}

// panics reports whether reading the page is a panic, as package store needs it.
func panics(page []byte) (panicked bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { panicked = recover() != nil }()
	runtime.KeepAlive(page[0])
	return false
}

func TestOnlyJournalFilesAndOnlyForTheirReaderAreReadAsZeros(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 2)...)
	expect := func(when string, page []byte, want bool) {
		t.Helper()
		if got := panics(page); got != want {
			t.Errorf("%s: panics %v, want %v", when, got, want)
		}
	}
	expect("no reader", mapped(t, ".journal"), true)
	r, err := sd.Open(sd.Options{Directory: dir, UID: postfix})
	if err != nil {
		t.Fatal(err)
	}
	expect("another file", mapped(t, ".db"), true)
	expect("a journal", mapped(t, ".journal"), false)
	expect("a journal set aside", mapped(t, ".journal~"), false)
	other := make(chan bool)
	page := mapped(t, ".journal")
	go func() {
		runtime.LockOSThread()
		other <- panics(page)
	}()
	if !<-other {
		t.Error("zeros were read in a thread that reads no journal")
	}
	r.Close()
	expect("closed", page, true)
	expect("closed", mapped(t, ".db"), true)
}

// The state is read and written while the journal is open.
func TestAStateThatIsCutOffWhileAJournalIsOpenIsStillDamaged(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 2)...)
	path := filepath.Join(dir, "smtpban.db")
	kept := state.New(path)
	unlock, err := kept.Lock(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := kept.Update(func(tx *state.Tx) error { return tx.PutSetting("a", make([]byte, 100_000)) }); err != nil {
		t.Fatal(err)
	}
	r, err := sd.Open(sd.Options{Directory: dir, UID: postfix})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	err = kept.View(func(tx *state.Tx) error {
		if err := os.Truncate(path, 0); err != nil {
			return err
		}
		_, err := tx.Setting("a")
		return err
	})
	if !errors.Is(err, state.ErrDamaged) {
		t.Errorf("error %v, want one that is ErrDamaged", err)
	}
}

// The file that is being written is as good as any other.
func TestTheActiveFileMayBeCutOff(t *testing.T) {
	dir := t.TempDir()
	name := file(dir, "a")
	journaltest.Write(t, file(dir, "b"), series(boot2, noon.Add(time.Hour), 1, 5)...)
	write := journaltest.Open(t, name)
	write(series(boot1, noon, 1, 60)...)
	s := newStore(t, dir)
	for deadline := time.Now().Add(time.Minute); len(newStore(t, dir).run().Entries) < 65; {
		if time.Now().After(deadline) {
			t.Fatal("the entries are not there after a minute")
		}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	sizes := pages(data)
	got := s.cutting(name, sizes[len(sizes)/2], 10)
	rest := entries(series(boot2, noon.Add(time.Hour), 1, 5))
	want := append(entries(series(boot1, noon, 1, len(got.Entries)-len(rest))), rest...)
	if diff := cmp.Diff(want, got.Entries); diff != "" || len(got.Entries) < 15 || len(got.Entries) == 65 {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !slices.Contains(got.Gaps, damagedGap("a")) {
		t.Errorf("gaps %v", got.Gaps)
	}
	s.expectQuiet(damagedGap("a"))
}

// rewrite makes the file anew; most of a journal file are holes.
func rewrite(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(int64(len(data))); err != nil {
		t.Fatal(err)
	}
	const block = 4096
	for at := 0; at < len(data); at += block {
		some := data[at:min(at+block, len(data))]
		if len(bytes.Trim(some, "\x00")) == 0 {
			continue
		}
		if _, err := f.WriteAt(some, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
}
