//go:build cgo

package sd_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/journal"
	"smtpban/internal/journal/journaltest"
	"smtpban/internal/journal/sd"
)

func TestOnlyTrustedEntriesOfSmtpdAndPostscreenAreRead(t *testing.T) {
	want := at(boot1, noon, 1)
	submission, postscreen := at(boot1, noon, 2), at(boot1, noon, 3)
	submission.Identifier, postscreen.Identifier = "postfix/submission/smtpd", "postfix-in/postscreen"
	forged, native, stdout := at(boot1, noon, 4), at(boot1, noon, 5), at(boot1, noon, 6)
	forged.UID, native.Transport, stdout.Transport = 1001, "journal", "stdout"
	lookalike := at(boot1, noon, 7)
	lookalike.Identifier = "smtpd"

	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), want, submission, postscreen, forged, native, stdout, lookalike, qmgr(at(boot1, noon, 8)))
	newStore(t, dir).expect("", entries([]journaltest.Entry{want, submission, postscreen}))
}

func TestEntriesOfOtherDaemonsMoveThePosition(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), qmgr(at(boot1, noon, 1)), qmgr(at(boot1, noon, 2)), other(at(boot1, noon, 3)))
	s := newStore(t, dir)
	got := s.expect("first run", nil)
	if p := got.moved[boot1]; p.Monotonic != 2*time.Second || !p.Realtime.Equal(noon.Add(2*time.Second)) || p.Cursor == "" {
		t.Errorf("position %+v, want that of the second entry", p)
	}
	s.expectQuiet()
}

func TestPIDFallsBackToTheKernels(t *testing.T) {
	text := strings.ReplaceAll(string(journaltest.Export(at(boot1, noon, 1))), "SYSLOG_PID", "_PID")
	dir := t.TempDir()
	journaltest.WriteExport(t, file(dir, "a"), []byte(text))
	newStore(t, dir).expect("", entries(series(boot1, noon, 1, 1)))
}

func TestFilesAreReadAsGiven(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 2)...)
	journaltest.Write(t, file(dir, "b"), series(boot1, noon, 3, 4)...)
	s := newStore(t, "/nonexistent")
	s.opts.Files = []string{file(dir, "b")}
	s.expect("one file", entries(series(boot1, noon, 3, 4)))
}

func TestBootsAreReadInTheOrderOfTheirFirstEntry(t *testing.T) {
	boots := []journal.Boot{journaltest.Boot(9), journaltest.Boot(3), journaltest.Boot(7), journaltest.Boot(1)}
	dir := t.TempDir()
	var all []journaltest.Entry
	for i, boot := range boots {
		list := series(boot, noon.Add(time.Duration(i)*time.Hour), 1, 3)
		journaltest.Write(t, file(dir, boot.String()), list...)
		all = append(all, list...)
	}
	s := newStore(t, dir)
	s.expect("first run", entries(all))
	s.expectQuiet()
	r, err := sd.Open(s.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if diff := cmp.Diff(boots, r.Boots()); diff != "" {
		t.Errorf("boots (-want +got):\n%s", diff)
	}
}

func TestWritersCountsWhoWroteAsPostfix(t *testing.T) {
	var list []journaltest.Entry
	for n, uid := range []int{postfix, 1001, 1001, 33} {
		e := at(boot1, noon, n)
		e.UID = uid
		list = append(list, e)
	}
	harmless := at(boot1, noon, 9)
	harmless.UID, harmless.Identifier = 1002, "cron"
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), append(list, harmless)...)
	journaltest.Write(t, file(dir, "b"), harmless)

	for _, c := range []struct {
		name string
		opts sd.Options
		want map[int]int
	}{
		{"some", sd.Options{Directory: dir, UID: postfix}, map[int]int{postfix: 1, 1001: 2, 33: 1}},
		{"none", sd.Options{Files: []string{file(dir, "b")}, UID: postfix}, map[int]int{}},
	} {
		r, err := sd.Open(c.opts)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Writers()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		r.Close()
	}
}

func TestNoJournalIsAnErrorOfItsOwn(t *testing.T) {
	empty, damaged := t.TempDir(), t.TempDir()
	if err := os.WriteFile(file(damaged, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, opts := range map[string]sd.Options{
		"no directory": {Directory: filepath.Join(empty, "none")},
		"no file":      {Directory: empty},
		"no such file": {Files: []string{file(empty, "none")}},
		"no entry":     {Directory: damaged},
	} {
		if _, err := sd.Open(opts); !errors.Is(err, sd.ErrNoJournal) {
			t.Errorf("%s: error %v, want ErrNoJournal", name, err)
		}
	}
}

// A user may read his own part of the journal, so that it is not empty for him.
func TestAnUnreadableFileIsAnErrorThoughAnotherCanBeRead(t *testing.T) {
	machine := filepath.Join(t.TempDir(), journaltest.Boot(0).String())
	if err := os.Mkdir(machine, 0o755); err != nil {
		t.Fatal(err)
	}
	journaltest.Write(t, file(machine, "user-1000"), series(boot1, noon, 1, 2)...)
	journaltest.Write(t, file(machine, "system"), series(boot1, noon, 3, 4)...)
	chmod(t, file(machine, "user-1000"), 0o644)
	chmod(t, file(machine, "system"), 0)
	dir := filepath.Dir(machine)
	chmod(t, dir, 0o755)
	chmod(t, filepath.Dir(dir), 0o755)

	for name, opts := range map[string]sd.Options{
		"directory": {Directory: dir},
		"machine":   {Directory: machine},
		"file":      {Files: []string{file(machine, "system")}},
	} {
		if err := openUnprivileged(t, opts); !errors.Is(err, sd.ErrPermission) || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: error %v, want ErrPermission", name, err)
		}
	}
	chmod(t, machine, 0o700)
	if err := openUnprivileged(t, sd.Options{Directory: dir}); !errors.Is(err, sd.ErrPermission) {
		t.Errorf("unreadable directory: error %v, want ErrPermission", err)
	}
	chmod(t, machine, 0o755)
	chmod(t, file(machine, "system"), 0o644)
	if err := openUnprivileged(t, sd.Options{Directory: dir, UID: postfix}); err != nil {
		t.Errorf("readable: %v", err)
	}
}

// libsystemd passes over what it has no descriptor for.
func TestTooFewDescriptorsForTheJournalAreAnError(t *testing.T) {
	dir := t.TempDir()
	for n := range 12 {
		journaltest.Write(t, file(dir, strconv.Itoa(n)), series(boot1, noon, 3*n, 3*n+2)...)
	}
	newStore(t, dir).run() // libsystemd is loaded now
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := syscall.Rlimit{Cur: uint64(len(open) + 6), Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	_, err = sd.Open(sd.Options{Directory: dir, UID: postfix})
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.EMFILE) {
		t.Errorf("error %v, want EMFILE", err)
	}
}

func chmod(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

// openUnprivileged opens and closes a journal in a thread that, if the test runs
// as root, is another user's; the thread ends with its goroutine.
func openUnprivileged(t *testing.T, opts sd.Options) error {
	t.Helper()
	const nobody = 65534
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
				result <- errno
				return
			}
		}
		r, err := sd.Open(opts)
		if err == nil {
			err = r.Close()
		}
		result <- err
	}()
	return <-result
}
