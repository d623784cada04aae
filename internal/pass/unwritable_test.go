package pass_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
	"smtpban/internal/pass"
	"smtpban/internal/store"
)

const nobody = 65534

func overwrite(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// onOwnThread runs fn on a thread that ends with it, so that what fn changes
// about its thread concerns nobody else.
func onOwnThread(t *testing.T, fn func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- fn()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("not root, and CI must not skip this")
	}
	t.Skip("SKIPPED: needs root to mount a small file system")
}

func TestRoutesOfExpiredBansGoAlsoWhereTheStateMayNotBeWritten(t *testing.T) {
	m := attacked(t, "203.0.113.9", "198.51.100.7")
	dir := filepath.Dir(m.path)
	err := errors.Join(os.Chmod(m.path, 0o444), os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	r := blocking("203.0.113.9/32", "198.51.100.7/32")
	var (
		settled pass.Settled
		failed  error
	)
	onOwnThread(t, func() error {
		if os.Geteuid() == 0 { // root may write anything; without its fsuid it may not
			if err := unix.Setfsuid(nobody); err != nil {
				return err
			}
		}
		settled, failed = m.at(at(24)).Settle(ban.NeverBan{}, r, false)
		return nil
	})
	check(t, os.ErrPermission, failed)
	check(t, pass.Settled{Deleted: 2}, settled)
	r.check(t)
	check(t, []string{"198.51.100.7/32", "203.0.113.9/32"}, banned(m.state().Bans))
}

// smallDisk mounts a file system of 2 MB for the calling thread alone.
func smallDisk(dir string) error {
	return errors.Join(
		unix.Unshare(unix.CLONE_NEWNS),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"),
	)
}

// fill leaves no room on the file system that dir is on.
func fill(dir string) error {
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		return err
	}
	defer f.Close()
	for page := []byte(strings.Repeat("x", 4096)); ; {
		if _, err := f.Write(page); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				return nil
			}
			return err
		}
	}
}

func TestRoutesOfExpiredBansGoAlsoWhereTheDiskIsFull(t *testing.T) {
	needsRoot(t)
	m := newMachine(t)
	r := blocking()
	const many = 1000 // their history needs more room than the file has free
	var (
		full, freed pass.Settled
		failed, err error
		left        int
	)
	onOwnThread(t, func() error {
		dir := filepath.Dir(m.path)
		if err := smallDisk(dir); err != nil {
			return err
		}
		if err := m.at(at(0)).Store.Update(putBans(many)); err != nil {
			return err
		}
		if _, err := m.at(at(1)).Settle(ban.NeverBan{}, r, false); err != nil {
			return err
		}
		if len(r.blocked) != many {
			t.Errorf("%d routes to begin with, want %d", len(r.blocked), many)
		}
		if err := fill(dir); err != nil {
			return err
		}
		full, failed = m.at(at(24)).Settle(ban.NeverBan{}, r, false)
		left = len(r.blocked)
		if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
			return err
		}
		freed, err = m.at(at(24)).Settle(ban.NeverBan{}, r, false)
		return err
	})
	check(t, syscall.ENOSPC, failed)
	check(t, pass.Settled{Deleted: many}, full)
	check(t, 0, left)
	check(t, []int{many, 0, 0}, []int{len(freed.Expired), len(freed.Added), freed.Deleted})
}

func TestBansThatCouldNotBeKeptAreNotTold(t *testing.T) {
	needsRoot(t)
	m := newMachine(t)
	var log tape
	for i := range 1000 {
		log = append(log, failures(nth(i).Addr().String(), 0, 0, 0, 0, 0)...)
	}
	var (
		full, freed pass.Read
		failed      error
	)
	onOwnThread(t, func() error {
		dir := filepath.Dir(m.path)
		if err := errors.Join(smallDisk(dir), m.at(at(0)).Store.Update(putBans(1)), fill(dir)); err != nil {
			return err
		}
		full, failed = m.at(at(1)).Read(&input{tape: log})
		err := os.Remove(filepath.Join(dir, "filler"))
		if err == nil {
			freed, err = m.at(at(1)).Read(&input{tape: log})
		}
		return err
	})
	check(t, syscall.ENOSPC, failed)
	check(t, []int{0, 1000}, []int{len(full.Bans), len(freed.Bans)})
}

const expiring = 1000 // bans in the state before the run below

// attackedRun ends them and bans whoever the log tells of.
func attackedRun(m *machine, log tape, r *routes) error {
	in := m.open(log)
	in.before = map[int]error{len(log): &journal.Gap{Reason: "damaged"}} // is a commit as well
	_, read := m.at(at(25)).Read(in)
	_, settled := m.at(at(25)).Settle(ban.NeverBan{}, r, false)
	return errors.Join(read, settled)
}

// squeezed makes the run on a disk with that much room, and again with room
// enough. It returns what was in the state after each, and how the first one
// failed.
func squeezed(t *testing.T, log tape, room int64) (m *machine, stopped, done state, failed error) {
	t.Helper()
	m = newMachine(t)
	r := blocking()
	for i := range expiring {
		r.blocked[nth(i)] = true
	}
	onOwnThread(t, func() error {
		dir := filepath.Dir(m.path)
		filler := filepath.Join(dir, "filler")
		err := errors.Join(smallDisk(dir), m.at(at(0)).Store.Update(putBans(expiring)), fill(dir), shrink(filler, room))
		if err != nil {
			return err
		}
		failed = attackedRun(m, log, r)
		stopped = m.state()
		for i := range expiring {
			if r.blocked[nth(i)] {
				return fmt.Errorf("with %d bytes of room the route of %s is still there", room, nth(i))
			}
		}
		if err := os.Remove(filler); err != nil {
			return err
		}
		err = attackedRun(m, log, r)
		done = m.state()
		return err
	})
	return m, stopped, done, failed
}

// TestARunThatMeetsAFullDiskAnywhereLosesAndDoublesNothing makes the same run
// with more and more room, until nothing fails.
func TestARunThatMeetsAFullDiskAnywhereLosesAndDoublesNothing(t *testing.T) {
	needsRoot(t)
	var log tape
	for i := range 500 {
		log = append(log, failures(nth(expiring+i).Addr().String(), 20, 20, 20, 20, 20)...)
	}
	roomy := newMachine(t)
	if err := errors.Join(roomy.at(at(0)).Store.Update(putBans(expiring)), attackedRun(roomy, log, blocking())); err != nil {
		t.Fatal(err)
	}
	want := roomy.state()
	seen := map[string]bool{} // what was in the state after a failure
	for room := int64(0); ; room += 48 << 10 {
		m, stopped, done, failed := squeezed(t, log, room)
		check(t, want, done)
		if failed == nil {
			break
		}
		if !errors.Is(failed, syscall.ENOSPC) || !strings.Contains(failed.Error(), m.path) {
			t.Fatalf("with %d bytes of room: %v", room, failed)
		}
		seen[fmt.Sprintf("%d clients, %d bans, %d ended", len(stopped.Clients), len(stopped.Bans), len(stopped.Ended))] = true
	}
	check(t, map[string]bool{
		"0 clients, 1000 bans, 0 ended":     true, // nothing fitted
		"0 clients, 0 bans, 1000 ended":     true, // what was read did not fit, what is over did
		"250 clients, 1249 bans, 0 ended":   true, // half of what was read did; the last client of a batch goes on in the next
		"250 clients, 749 bans, 500 ended":  true,
		"250 clients, 249 bans, 1000 ended": true,
		"500 clients, 1500 bans, 0 ended":   true, // all of it did
		"500 clients, 1000 bans, 500 ended": true,
	}, seen)
}

// shrink frees that much of a file that fills the disk.
func shrink(path string, by int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, max(info.Size()-by, 0))
}

// putBans stores n bans from hour 0 to 24.
func putBans(n int) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		for i := range n {
			if err := tx.PutBan(nthBan(i)); err != nil {
				return err
			}
		}
		return nil
	}
}

func nthBan(i int) ban.Ban {
	return ban.Ban{
		Prefix: nth(i), Class: ban.SASLAuth, Failures: 5,
		Start: at(0), Until: at(24), Count: 1, Origin: ban.OriginJournal,
	}
}
