package torture_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtpban/integration/torture"
	"smtpban/internal/ban"
	"smtpban/internal/route"
	"smtpban/internal/store"
)

// needRoot skips the test for others, and fails in CI.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("not root, and CI must not skip this")
	}
	t.Skip("SKIPPED: needs root to make a network and mounts of its own")
}

// private gives the test a network of its own, with nothing in it but lo, and
// hides what this machine has of smtpban and Postfix and who is logged in on it.
// All that belongs to this goroutine's thread, from which the programs of the
// test are started, and goes with it.
func private(t *testing.T) {
	t.Helper()
	needRoot(t)
	runtime.LockOSThread() // for good: an unlocked thread would be used again
	err := errors.Join(unix.Unshare(unix.CLONE_NEWNET|unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	if err != nil {
		t.Fatalf("making a network and mounts of its own: %v", err)
	}
	for _, dir := range []string{"/etc/smtpban", "/etc/postfix", "/run"} {
		err := unix.Mount("none", dir, "tmpfs", 0, "")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("hiding %s: %v", dir, err)
		}
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("ip link set lo up: %v: %s", err, out)
	}
}

// build makes the program as make build does and returns its path.
func build(t *testing.T, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "smtpban")
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", path}, flags...)
	cmd := exec.Command("go", append(args, "smtpban/cmd/smtpban")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return path
}

// The rules on the machines below: short bans of the same length, so that there
// is much coming and going within the hours that a test tells of.
const (
	postfixUID = 109
	maxretry   = 3
	bantime    = 90 * time.Second
)

// machine is where smtpban runs: a folder with its configuration, its state and
// the journal, and the routes of the private network.
type machine struct {
	dir    string
	binary string
	table  *route.Table
}

// newMachine makes one in a folder, in the network of the test, which it clears.
func newMachine(t testing.TB, binary, dir string) *machine {
	t.Helper()
	m := &machine{dir: dir, binary: binary, table: openTable(t)}
	m.clearRoutes(t)
	text := fmt.Sprintf(`[policy]
maxretry = %d
findtime = "1d"
bantime = "%ds"
bantime_factor = 1
[journal]
directory = %q
postfix_user = "%d"
[store]
path = %q
`, maxretry, int(bantime.Seconds()), m.journal(), postfixUID, m.state())
	err := errors.Join(os.MkdirAll(m.journal(), 0o755), os.MkdirAll(filepath.Dir(m.state()), 0o755), os.WriteFile(m.config(), []byte(text), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// clearRoutes takes all routes away, as a reboot does.
func (m *machine) clearRoutes(t testing.TB) {
	t.Helper()
	if err := errors.Join(m.table.Apply(ban.Reconcile(nil, m.routes(t)))...); err != nil {
		t.Fatal(err)
	}
}

func openTable(t testing.TB) *route.Table {
	t.Helper()
	table, err := route.Open(route.Options{Protocol: 213, Table: unix.RT_TABLE_MAIN})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func (m *machine) config() string  { return filepath.Join(m.dir, "smtpban.toml") }
func (m *machine) journal() string { return filepath.Join(m.dir, "journal") }
func (m *machine) state() string   { return filepath.Join(m.dir, "state", "smtpban.db") }

// command is a command line of smtpban at a time.
func (m *machine) command(now time.Time, args ...string) *run {
	args = append(args, "--config", m.config(), "--now", now.UTC().Format("2006-01-02 15:04:05 UTC"))
	r := &run{Cmd: exec.Command(m.binary, args...)}
	r.Stdout, r.Stderr = &r.output, &r.output
	return r
}

// run is a process of smtpban, and what it says.
type run struct {
	*exec.Cmd
	output bytes.Buffer
}

// status returns how it ended: -1 for killed.
func (r *run) status() int { return r.ProcessState.ExitCode() }

// fail is an error about the process.
func (r *run) fail(format string, args ...any) error {
	return fmt.Errorf("%s: %w: exit status %d: %s", strings.Join(r.Args[1:], " "), fmt.Errorf(format, args...), r.status(), &r.output)
}

// succeed runs the command, which must succeed.
func (r *run) succeed() error {
	if r.Run(); r.ProcessState == nil || r.status() != 0 {
		return r.fail("did not succeed")
	}
	return nil
}

// routes returns what is blocked in the kernel, in order.
func (m *machine) routes(t testing.TB) []netip.Prefix {
	t.Helper()
	have, err := m.table.List()
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(have, ban.ComparePrefix)
	return have
}

// content is what the rows compare of a state.
type content struct {
	Events   int // failures that were read
	Counted  int // of them
	Unlogged int // attempts of which only the end was seen: not one is written
	Gaps     int
	Made     int       // bans, up to now
	Pardoned time.Time // up to when everybody is
	Clients  map[string]tally
	Bans     map[string]ban.Ban
	Ended    []store.Ended
}

// tally is what counts against a client.
type tally struct {
	Failures int
	Points   int
	Pardon   time.Time
}

// read returns what is in the state.
func (m *machine) read() (content, error) {
	c := content{Clients: map[string]tally{}, Bans: map[string]ban.Ban{}}
	err := store.New(m.state()).View(func(tx *store.Tx) error { return c.from(tx) })
	return c, err
}

func (c *content) from(tx *store.Tx) error {
	for h, err := range tx.Hours() {
		if err != nil {
			return err
		}
		c.Events += h.Classes[ban.SASLAuth].Events
		c.Counted += h.Classes[ban.SASLAuth].Counted
		c.Unlogged += h.Classes[ban.AuthUnlogged].Events
	}
	for _, err := range tx.Gaps() {
		if err != nil {
			return err
		}
		c.Gaps++
	}
	pardons, err := tx.Pardons()
	if err != nil {
		return err
	}
	for _, p := range pardons { // of networks: there is none but the whole world
		c.Pardoned = p.Until
	}
	for k, err := range tx.Clients() {
		if err != nil {
			return err
		}
		if y := (tally{Failures: k.Failures, Points: len(k.Hits), Pardon: k.Pardon}); y != (tally{}) {
			c.Clients[k.Prefix.String()] = y
		}
	}
	for b, err := range tx.Bans() {
		if err != nil {
			return err
		}
		c.Bans[b.Prefix.String()] = b
	}
	for e, err := range tx.History() {
		if err != nil {
			return err
		}
		c.Ended = append(c.Ended, e)
	}
	return c.agree(tx)
}

// agree makes sure that the totals are the sums of the hours and gaps, of which none
// is forgotten so soon, and takes from them what the state can't tell otherwise.
func (c *content) agree(tx *store.Tx) error {
	x, err := tx.Totals()
	if err != nil {
		return err
	}
	for _, n := range x.Bans {
		c.Made += n
	}
	failed := x.Classes[ban.SASLAuth]
	got := []int{failed.Events, failed.Counted, x.Classes[ban.AuthUnlogged].Events, x.Gaps}
	want := []int{c.Events, c.Counted, c.Unlogged, c.Gaps}
	if !slices.Equal(got, want) {
		return fmt.Errorf("events, those counted, those unlogged, and gaps are %d in total, but %d hour by hour", got, want)
	}
	return nil
}

// blocked returns the prefixes of the bans in force, in order.
func (c content) blocked(now time.Time) []netip.Prefix {
	var want []netip.Prefix
	for _, b := range c.Bans {
		if b.Active(now) {
			want = append(want, b.Prefix)
		}
	}
	slices.SortFunc(want, ban.ComparePrefix)
	return want
}

// expired is the content after all bans have been ended that are over.
func (c content) expired(now time.Time) content {
	m := model{content: c}
	c = m.expire(now).content
	sortEnded(c.Ended)
	return c
}

// percent is for figures.
func percent(part, whole int) string {
	if whole == 0 {
		return "none"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

// tooFew is an error if a count is below its goal.
func tooFew(y torture.Tally, what string, least int) error {
	if y.Counts[what] < least {
		return fmt.Errorf("%d %s, at least %d are wanted", y.Counts[what], what, least)
	}
	return nil
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
