package torture_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"smtpban/internal/journal/journaltest"
)

// remote is where systemd-journal-remote is kept, which is in no PATH.
const remote = "/lib/systemd/systemd-journal-remote"

// writer logs failures to a journal, as journald would: by a process that
// appends to its file while others read it.
type writer struct {
	dir      string
	rand     *rand.Rand
	clients  []netip.Prefix
	clock    time.Time // of the last entry
	boot     time.Time
	pid      int
	failures []failure // logged, in order
	rotated  int

	cmd   *exec.Cmd
	stdin io.WriteCloser
}

// began is when the machines booted.
var began = time.Date(2026, time.March, 1, 9, 0, 0, 0, time.UTC)

func needRemote(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(remote); errors.Is(err, fs.ErrNotExist) {
		const missing = "no " + remote + ": install systemd-journal-remote"
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip("SKIPPED: " + missing)
	}
}

// newWriter returns one that draws the clients from so many.
func newWriter(dir string, r *rand.Rand, clients int) *writer {
	w := &writer{dir: dir, rand: r, clock: began, boot: began, pid: 1000}
	for i := range clients {
		w.clients = append(w.clients, nthClient(i))
	}
	return w
}

// nthClient returns the i-th client; every third one is an IPv6 network.
func nthClient(i int) netip.Prefix {
	if i%3 == 2 {
		return netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/64", i))
	}
	if i < 256 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 32)
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 32)
}

// start begins to append to the journal's file.
func (w *writer) start() error {
	w.cmd = exec.Command(remote, "--output="+w.path(), "-")
	stdin, err := w.cmd.StdinPipe()
	if err != nil {
		return err
	}
	w.stdin = stdin
	if err := w.cmd.Start(); err != nil {
		return err
	}
	for range 10_000 { // until it listens
		if _, err := os.Stat(w.path()); err == nil {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("%v made no journal", w.cmd)
}

func (w *writer) path() string { return filepath.Join(w.dir, "system.journal") }

// stop waits until all that was logged is in the file.
func (w *writer) stop() error {
	if w.cmd == nil {
		return nil
	}
	err := errors.Join(w.stdin.Close(), w.cmd.Wait())
	w.cmd = nil
	return err
}

// kill ends it in case of an error.
func (w *writer) kill() {
	if w.cmd != nil {
		w.cmd.Process.Kill()
		w.cmd.Wait()
	}
}

// rotate puts the file aside under another name and begins a new one.
func (w *writer) rotate() error {
	if err := w.stop(); err != nil {
		return err
	}
	w.rotated++
	err := os.Rename(w.path(), filepath.Join(w.dir, fmt.Sprintf("system@%032x-%016x-%016x.journal", w.rotated, w.rotated, w.rotated)))
	if errors.Is(err, fs.ErrNotExist) { // nothing was logged
		err = nil
	}
	return errors.Join(err, w.start())
}

// log has n attempts of clients to log in logged.
func (w *writer) log(n int) error {
	for range n {
		gap := time.Duration(1+w.rand.IntN(2000)) * time.Millisecond
		if err := w.logOf(w.clients[w.rand.IntN(len(w.clients))], gap, w.rand.IntN(4) > 0); err != nil {
			return err
		}
	}
	return nil
}

// logOf has an attempt of the client to log in logged, so long after the last
// entry: as a refused password and, if it leaves, the end of the session that it
// came from.
func (w *writer) logOf(client netip.Prefix, gap time.Duration, leaves bool) error {
	address := client.Addr()
	if address.Is6() {
		address = address.Next()
	}
	w.pid++
	w.clock = w.clock.Add(gap)
	entries := []journaltest.Entry{w.entry(fmt.Sprintf("warning: unknown[%s]: SASL LOGIN authentication failed: UGFzc3dvcmQ6", address))}
	w.failures = append(w.failures, failure{at: w.clock, client: client})
	if leaves {
		entries = append(entries, w.entry(fmt.Sprintf("disconnect from unknown[%s] ehlo=1 auth=0/1 quit=1 commands=2/3", address)))
	}
	_, err := w.stdin.Write(journaltest.Export(entries...))
	return err
}

func (w *writer) entry(message string) journaltest.Entry {
	w.clock = w.clock.Add(time.Microsecond)
	return journaltest.Entry{
		Boot: journaltest.Boot(1), Time: w.clock, Monotonic: w.clock.Sub(w.boot), UID: postfixUID,
		Identifier: "postfix/smtpd", PID: w.pid, Message: message,
	}
}

// attack has every client fail often enough to be banned, all at once, and waits
// until that is in the journal.
func (w *writer) attack() error {
	for _, client := range w.clients {
		for range maxretry {
			if err := w.logOf(client, time.Millisecond, false); err != nil {
				return err
			}
		}
	}
	return errors.Join(w.stop(), w.start())
}
