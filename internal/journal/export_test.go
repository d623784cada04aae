package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/journal"
	"smtpban/internal/journal/journaltest"
)

// line is the nth entry of boot 1.
func line(n int) journaltest.Entry {
	up := time.Duration(n) * time.Second
	return journaltest.Entry{
		Boot: boot1, Time: noon.Add(up), Monotonic: up, Cursor: fmt.Sprintf("s=1;i=%x", n), UID: postfix,
		Identifier: "postfix/smtpd", PID: 1000 + n, Message: fmt.Sprintf("line %d", n),
	}
}

func entry(e journaltest.Entry) journal.Entry {
	return journal.Entry{Boot: e.Boot, Time: e.Time, Monotonic: e.Monotonic, Identifier: e.Identifier, PID: e.PID, Message: e.Message}
}

func openExport(text []byte, from journal.Positions) *journal.Export {
	return journal.OpenExport(bytes.NewReader(text), postfix, from)
}

func TestExportReadsTextAndBinaryFields(t *testing.T) {
	multi := line(2)
	multi.Message = "two\nlines, and\n\nan empty one"
	text := journaltest.Export(line(1), multi, line(3))
	if !bytes.Contains(text, append([]byte("MESSAGE\n"), binary.LittleEndian.AppendUint64(nil, uint64(len(multi.Message)))...)) {
		t.Fatal("no binary field in the sample")
	}
	for name, r := range map[string]io.Reader{
		"whole":                      bytes.NewReader(text),
		"a byte at a time":           iotest.OneByteReader(bytes.NewReader(text)),
		"without the last empty one": bytes.NewReader(bytes.TrimSuffix(text, []byte("\n"))),
		"more empty lines":           bytes.NewReader(append([]byte("\n\n"), text...)),
	} {
		got, moved := read(t, journal.OpenExport(r, postfix, nil))
		if diff := cmp.Diff([]journal.Entry{entry(line(1)), entry(multi), entry(line(3))}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		want := journal.Positions{boot1: {Cursor: "s=1;i=3", Realtime: noon.Add(3 * time.Second), Monotonic: 3 * time.Second}}
		if diff := cmp.Diff(want, moved); diff != "" {
			t.Errorf("%s: positions (-want +got):\n%s", name, diff)
		}
	}
}

func TestExportReadsOnlyTrustedEntriesOfSmtpdAndPostscreen(t *testing.T) {
	forged, native, qmgr := line(2), line(3), line(4)
	forged.UID, native.Transport, qmgr.Identifier = 1001, "journal", "postfix/qmgr"
	got, moved := read(t, openExport(journaltest.Export(line(1), forged, native, qmgr), nil))
	if diff := cmp.Diff([]journal.Entry{entry(line(1))}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := moved[boot1].Cursor; got != qmgr.Cursor {
		t.Errorf("position at %q, want that of the last trusted entry, of qmgr", got)
	}
}

func TestExportToleratesMissingFields(t *testing.T) {
	text := string(journaltest.Export(line(1)))
	bare := strings.ReplaceAll(text, "SYSLOG_PID=1001\n", "")
	for name, c := range map[string]struct {
		text string
		pid  int
	}{
		"pid of the kernel": {strings.ReplaceAll(text, "SYSLOG_PID", "_PID"), 1001},
		"no pid":            {bare, 0},
		"no cursor":         {strings.ReplaceAll(bare, "__CURSOR=s=1;i=1\n", ""), 0},
	} {
		want := entry(line(1))
		want.PID = c.pid
		got, _ := read(t, openExport([]byte(c.text), nil))
		if diff := cmp.Diff([]journal.Entry{want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	want := entry(line(1))
	want.Monotonic = 0
	got, _ := read(t, openExport([]byte(strings.ReplaceAll(text, "__MONOTONIC_TIMESTAMP=1000000\n", "")), nil))
	if diff := cmp.Diff([]journal.Entry{want}, got); diff != "" {
		t.Errorf("no monotonic clock (-want +got):\n%s", diff)
	}
}

func TestExportGoesOnAfterThePosition(t *testing.T) {
	// Three entries bear the same stamps.
	two, three, four := line(2), line(3), line(4)
	three.Time, three.Monotonic = two.Time, two.Monotonic
	four.Time, four.Monotonic = two.Time, two.Monotonic
	other := line(1)
	other.Boot, other.Time = journaltest.Boot(2), noon.Add(-time.Hour)
	text := journaltest.Export(line(1), two, three, four, other, line(5))
	checkCuts(t, func(from journal.Positions) journal.Input { return openExport(text, from) }, false)

	from := journal.Positions{boot1: {Cursor: three.Cursor, Realtime: three.Time, Monotonic: three.Monotonic}}
	got, _ := read(t, openExport(text, from))
	if diff := cmp.Diff([]journal.Entry{entry(four), entry(other), entry(line(5))}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestExportOutOfOrderIsRefusedAtEveryRun(t *testing.T) {
	for name, list := range map[string][]journaltest.Entry{
		"two swapped":       {line(1), line(3), line(2), line(4)},
		"reversed":          {line(3), line(2), line(1)},
		"one twice":         {line(1), line(2), line(2), line(3)},
		"the whole twice":   {line(1), line(2), line(1), line(2)},
		"the last in front": {line(3), line(1), line(2)},
	} {
		text := journaltest.Export(list...)
		from := journal.Positions{}
		for run := 1; run <= 3; run++ {
			in := openExport(text, from)
			_, err := readAll(in)
			if err == nil || !strings.Contains(err.Error(), "the entry is not after the one before it in its boot") {
				t.Errorf("%s, run %d: %v", name, run, err)
			}
			moved, err := in.Positions()
			if err != nil {
				t.Fatal(err)
			}
			maps.Copy(from, moved)
		}
	}
}

func TestExportOfHugeFieldsIsCutNotHeld(t *testing.T) {
	const huge = 10 << 20
	big := line(1)
	big.Message = strings.Repeat("x", huge)
	binaryBig := line(2)
	binaryBig.Message = "\n" + strings.Repeat("y", huge)
	text := journaltest.Export(big, binaryBig, line(3))
	got, _ := read(t, openExport(text, nil))
	if len(got) != 3 || got[2] != entry(line(3)) {
		t.Fatalf("%d entries, want 3, the last one whole", len(got))
	}
	for _, e := range got[:2] {
		if len(e.Message) < 60<<10 || len(e.Message) > 70<<10 {
			t.Errorf("%d bytes are held of %d", len(e.Message), huge)
		}
	}
	// A length that is a lie costs no memory either.
	lie := append([]byte("COREDUMP\n"), binary.LittleEndian.AppendUint64(nil, 1<<62)...)
	if _, err := readAll(openExport(append(lie, "short"...), nil)); err == nil {
		t.Error("an impossible length is no error")
	}
}

func TestExportErrorsNameTheByte(t *testing.T) {
	good := string(journaltest.Export(line(1)))
	for name, c := range map[string]struct{ text, want string }{
		"nothing":           {"", "export text at byte 0: no entry in it (not what journalctl -o export prints?)"},
		"empty lines":       {"\n\n\n", "export text at byte 0: no entry in it (not what journalctl -o export prints?)"},
		"a maillog":         {"Nov  3 10:00:00 mx postfix/smtpd[1]: x\n", `export text at byte 0: field at byte 0: "Nov  3 10:00:00 mx postfix/smtpd[1]: x" is no field (not what journalctl -o export prints?)`},
		"no time":           {good + "A=1\n", fmt.Sprintf("export text at byte %d: the entry has no __REALTIME_TIMESTAMP", len(good))},
		"no number":         {"__REALTIME_TIMESTAMP=x\n", `export text at byte 0: field __REALTIME_TIMESTAMP: "x" is no time in microseconds`},
		"beyond all time":   {"__REALTIME_TIMESTAMP=9223372036854775807\n", `export text at byte 0: field __REALTIME_TIMESTAMP: "9223372036854775807" is no time in microseconds`},
		"no boot":           {strings.Replace(good, "_BOOT_ID", "_BOAT_ID", 1), `export text at byte 0: field _BOOT_ID: boot id "": want 32 hexadecimal digits`},
		"cut off":           {good + "MESSAGE=half", fmt.Sprintf("export text at byte %d: the text is cut off within a field", len(good))},
		"cut off in binary": {"MESSAGE\n\x05\x00\x00", "export text at byte 0: field at byte 0: the text is cut off within a field"},
		"no end of binary":  {"MESSAGE\n\x01\x00\x00\x00\x00\x00\x00\x00xy", "export text at byte 0: field at byte 0: field MESSAGE: no newline after 1 bytes of value"},
	} {
		_, err := readAll(openExport([]byte(c.text), nil))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s:\n got %v\nwant %s", name, err, c.want)
		}
	}
}

func FuzzExport(f *testing.F) {
	qmgr, multi := line(2), line(3)
	qmgr.Identifier, multi.Message = "postfix/qmgr", "two\nlines"
	f.Add(journaltest.Export(line(1), qmgr, multi))
	f.Add(bytes.TrimSuffix(journaltest.Export(line(1)), []byte("\n")))
	f.Add(journaltest.Export(line(3), line(1), line(2)))
	f.Add([]byte("__REALTIME_TIMESTAMP=1\nMESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if !distinctCursors(text) || len(text) > 4096 {
			return
		}
		checkCuts(t, func(from journal.Positions) journal.Input { return openExport(text, from) }, false)
	})
}

// distinctCursors reports whether no cursor is there twice, as journald makes them.
func distinctCursors(text []byte) bool {
	seen := map[string]bool{}
	for l := range bytes.Lines(text) {
		if bytes.HasPrefix(l, []byte("__CURSOR")) {
			if seen[string(l)] || !bytes.Contains(l, []byte("=")) {
				return false
			}
			seen[string(l)] = true
		}
	}
	return true
}

// drop is the nth entry of boot 1, in which journald tells of dropped messages.
func drop(n int, unit string, uid int) journaltest.Entry {
	return journaltest.Suppressed(line(n), 1000+n, unit, uid)
}

// told is an entry or a gap.
type told struct {
	Entry journal.Entry
	Gap   journal.Gap
}

// tellUntil returns what comes, up to n of it.
func tellUntil(t *testing.T, in journal.Input, n int) (all []told) {
	t.Helper()
	for e, err := range in.Entries() {
		var gap *journal.Gap
		switch {
		case errors.As(err, &gap):
			all = append(all, told{Gap: *gap})
		case err != nil:
			t.Fatal(err)
		default:
			all = append(all, told{Entry: e})
		}
		if len(all) == n {
			break
		}
	}
	return all
}

func TestExportTellsOnceOfWhatJournaldSuppressed(t *testing.T) {
	gap := func(n int, unit string) told {
		return told{Gap: journal.Gap{Boot: boot1, To: line(n).Time, Lost: 1000 + n, Reason: fmt.Sprintf("journald suppressed messages of %q, which logged too fast"+
			" (LogRateLimitIntervalSec=1us in this unit lifts the limit, see systemd.exec(5))", unit)}}
	}
	forged, native, foreign, qmgr := drop(5, "postfix.service", postfix), drop(5, "postfix.service", postfix), drop(5, "postfix.service", postfix), line(9)
	forged.Transport, forged.UID, native.Transport, foreign.UID, qmgr.Identifier = "journal", 1001, "journal", 1001, "postfix/qmgr"
	text := journaltest.Export(
		drop(1, "postfix@-.service", 0), line(2), drop(3, "postfix.service", postfix), drop(4, "ssh.service", 0), forged, native, foreign,
		line(6), drop(7, "mail.service", postfix), line(8), qmgr)
	want := []told{
		gap(1, "postfix@-.service"), {Entry: entry(line(2))}, gap(3, "postfix.service"), {Entry: entry(line(6))}, gap(7, "mail.service"), {Entry: entry(line(8))},
	}
	for cut := 1; cut <= len(want); cut++ {
		first := openExport(text, nil)
		got := tellUntil(t, first, cut)
		got = append(got, tellUntil(t, openExport(text, positions(t, first)), -1)...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("cut after %d (-want +got):\n%s", cut, diff)
		}
	}
	// Alone, one waits for the next entry of Postfix.
	alone := openExport(journaltest.Export(drop(1, "postfix.service", postfix)), nil)
	if got, moved := tellUntil(t, alone, -1), positions(t, alone); len(got)+len(moved) > 0 {
		t.Errorf("told %v, positions %v, before anything trusted", got, moved)
	}
}
