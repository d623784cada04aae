// Package journaltest makes journals for tests: entries as values, the text
// that journalctl -o export would print for them, and real journal files, made
// by systemd-journal-remote(8) from that text.
package journaltest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"smtpban/internal/journal"
)

// remote is where Debian, Fedora and Arch keep systemd-journal-remote, which is
// in no PATH.
const remote = "/lib/systemd/systemd-journal-remote"

// Entry is a journal entry as journald would store it. A field left zero is
// written as zero, except where it says otherwise.
type Entry struct {
	Boot       journal.Boot
	Time       time.Time
	Monotonic  time.Duration
	Cursor     string // for export text only: a journal file makes its own
	Transport  string // "" stands for syslog
	UID        int
	Identifier string
	PID        int
	Message    string
	More       map[string]string // further fields
}

// Boot returns the id of the nth boot of a test's machine.
func Boot(n byte) journal.Boot {
	var b journal.Boot
	b[0], b[15] = 0xb0, n
	return b
}

// Suppressed turns the entry into one in which journald says that it dropped so
// many messages of the unit, whose next one a process of this uid wrote.
func Suppressed(e Entry, dropped int, unit string, uid int) Entry {
	e.Transport, e.UID, e.Identifier = "driver", 0, journal.Journald
	e.Message = fmt.Sprintf("Suppressed %d messages from %s", dropped, unit)
	e.More = map[string]string{
		"MESSAGE_ID": journal.SuppressionID, "N_DROPPED": fmt.Sprint(dropped),
		"OBJECT_SYSTEMD_UNIT": unit, "OBJECT_UID": fmt.Sprint(uid),
	}
	return e
}

// Export returns the entries in the Journal Export Format, see
// https://systemd.io/JOURNAL_EXPORT_FORMATS/.
func Export(entries ...Entry) []byte {
	var b bytes.Buffer
	for _, e := range entries {
		if e.Cursor != "" {
			field(&b, "__CURSOR", e.Cursor)
		}
		field(&b, "__REALTIME_TIMESTAMP", fmt.Sprint(e.Time.UnixMicro()))
		field(&b, "__MONOTONIC_TIMESTAMP", fmt.Sprint(e.Monotonic.Microseconds()))
		field(&b, "_BOOT_ID", e.Boot.String())
		transport := e.Transport
		if transport == "" {
			transport = "syslog"
		}
		field(&b, "_TRANSPORT", transport)
		field(&b, "_UID", fmt.Sprint(e.UID))
		field(&b, "SYSLOG_IDENTIFIER", e.Identifier)
		field(&b, "SYSLOG_PID", fmt.Sprint(e.PID))
		field(&b, "MESSAGE", e.Message)
		for _, name := range slices.Sorted(maps.Keys(e.More)) {
			field(&b, name, e.More[name])
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// field appends one field, in the binary form where the value needs it.
func field(b *bytes.Buffer, name, value string) {
	if !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' }) {
		fmt.Fprintf(b, "%s=%s\n", name, value)
		return
	}
	fmt.Fprintf(b, "%s\n%s%s\n", name, binary.LittleEndian.AppendUint64(nil, uint64(len(value))), value)
}

// Write stores the entries in the journal file at path, whose name must end in
// .journal. An existing file grows. Without systemd-journal-remote the test is
// skipped, or fails where the environment variable CI is set.
func Write(tb testing.TB, path string, entries ...Entry) {
	tb.Helper()
	WriteExport(tb, path, Export(entries...))
}

// WriteExport is Write for entries in the Journal Export Format.
func WriteExport(tb testing.TB, path string, text []byte) {
	tb.Helper()
	cmd := command(tb, path)
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// Open starts a process that holds the journal file open until the test ends. The
// function it returns sends entries there; they come to the file a little later.
func Open(tb testing.TB, path string) func(...Entry) {
	tb.Helper()
	cmd := command(tb, path)
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // it may have failed if the file was damaged
	})
	return func(entries ...Entry) {
		tb.Helper()
		if _, err := in.Write(Export(entries...)); err != nil {
			tb.Fatal(err)
		}
	}
}

func command(tb testing.TB, path string) *exec.Cmd {
	tb.Helper()
	if _, err := os.Stat(remote); errors.Is(err, fs.ErrNotExist) {
		const missing = "no " + remote + ": install systemd-journal-remote"
		if os.Getenv("CI") != "" {
			tb.Fatal(missing)
		}
		tb.Skip(missing)
	}
	return exec.Command(remote, "--output="+path, "-")
}
