package torture_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"smtpban/integration/torture"
	"smtpban/internal/ban"
)

// TestTortureDisk lets a run meet a disk that is full with more and more room
// left, that may only be read, or on which its first write fails, its second one,
// and so on. It must say which file could not be written, leave the state as it
// was or as it was to be, and take away the routes of those whose time is over all
// the same. When the disk is well again the next run must leave all as if nothing
// had been.
func TestTortureDisk(t *testing.T) {
	needRemote(t)
	needStrace(t)
	private(t)
	binary := build(t)
	torture.Run(t, torture.Row{
		Title: "full disk (tmpfs, ext4), read-only disk, and each write of a run failing once (ENOSPC, EDQUOT, EROFS, EIO)",
		Goal:  "every commit of a run once, 0 lost",
		Short: 4, Full: 120,
		Figure: func(y torture.Tally) string {
			return fmt.Sprintf("%d runs that failed: %d with a full tmpfs, %d with a full ext4, %d read-only, %d with one of their writes failing",
				y.Counts["tmpfs"]+y.Counts["ext4"]+y.Counts["read-only"]+y.Counts["writes"],
				y.Counts["tmpfs"], y.Counts["ext4"], y.Counts["read-only"], y.Counts["writes"])
		},
	}, func(r *torture.Round) error {
		p := &patient{story: newStory(t, r, binary, 150)}
		defer p.close()
		if err := p.fallIll(r.N%4 < 2); err != nil {
			return err
		}
		switch r.N % 4 {
		case 0:
			return p.onDisk("tmpfs", p.full)
		case 1:
			return p.onDisk("ext4", p.full)
		case 2:
			return p.onDisk([]string{"tmpfs", "ext4"}[r.N/4%2], p.readOnly)
		}
		return p.eachWrite([]string{"ENOSPC", "EDQUOT", "EROFS", "EIO"}[r.N/4%4])
	})
}

// patient is a story that comes to the same point again and again, at which the
// disk fails.
type patient struct {
	*story
	order order
	files map[string][]byte // of the state
	well  model
	had   []netip.Prefix
}

// fallIll leads up to that point: a command that has something to end and much to
// read. One that grows needs more room than the state has.
func (p *patient) fallIll(grows bool) error {
	all := p.clients
	p.clients = all[:12]
	if err := p.open(); err != nil {
		return err
	}
	for range 3 {
		if err := p.log(30); err != nil {
			return err
		}
		if err := errors.Join(p.stop(), p.start(), p.whole(p.block())); err != nil {
			return err
		}
	}
	// Bans by hand from before the snapshot that expire makes, and after it.
	for _, o := range []order{p.sentence(nthOther(0), time.Hour), p.expire(), p.sentence(nthOther(1), time.Hour)} {
		if err := p.whole(o); err != nil {
			return err
		}
	}
	p.clock = p.clock.Add(bantime / 2)
	p.clients = all
	if err := errors.Join(p.attack(), p.stop()); err != nil {
		return err
	}
	if err := p.choose(grows); err != nil {
		return err
	}
	p.files, p.well, p.had = map[string][]byte{}, p.model, p.story.routes
	found, err := os.ReadDir(p.folder())
	for _, e := range found {
		p.files[e.Name()] = readFile(p.t, filepath.Join(p.folder(), e.Name()))
	}
	return err
}

// choose draws the command.
func (p *patient) choose(grows bool) error {
	for {
		p.order = p.draw()
		switch p.order.args[0] {
		case "block":
			return nil
		case "expire": // it will make another snapshot
			return os.Remove(p.state() + ".snapshot")
		case "restore":
		default:
			if !grows {
				return nil
			}
		}
	}
}

func (p *patient) folder() string { return filepath.Dir(p.state()) }

// again brings everything back to the point.
func (p *patient) again() error {
	old, err := os.ReadDir(p.folder())
	if err != nil {
		return err
	}
	for _, e := range old {
		if e.Name() == "lost+found" {
			continue
		}
		if err := os.Remove(filepath.Join(p.folder(), e.Name())); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		if err := os.WriteFile(filepath.Join(p.folder(), name), p.files[name], 0o600); err != nil {
			return err
		}
	}
	// The snapshot is of the story's time, not of now.
	err = os.Chtimes(p.state()+".snapshot", began, began)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p.model, p.story.routes = p.well, p.had
	return errors.Join(p.table.Apply(ban.Reconcile(p.had, p.machine.routes(p.t)))...)
}

// onDisk does it with the state on a small file system of its own.
func (p *patient) onDisk(kind string, do func(kind string) error) error {
	if err := p.mount(kind); err != nil {
		p.t.Fatalf("mounting a small %s: %v", kind, err)
	}
	err := do(kind)
	return errors.Join(err, unix.Unmount(p.folder(), 0))
}

func (p *patient) mount(kind string) error {
	if kind == "tmpfs" {
		return unix.Mount("none", p.folder(), "tmpfs", 0, "size=2m")
	}
	disk := filepath.Join(p.machine.dir, "disk")
	err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 4<<20))
	for _, c := range [][]string{
		{"mkfs.ext4", "-q", "-F", "-m", "0", disk},
		{"mount", "-o", "loop", disk, p.folder()},
	} {
		if err != nil {
			break
		}
		var out []byte
		if out, err = exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
	}
	return err
}

// full runs the command with more and more room, until it has enough.
func (p *patient) full(kind string) error {
	filler := filepath.Join(p.folder(), "filler")
	for room := int64(0); ; room += 16_384 {
		if err := errors.Join(p.again(), fill(filler, room)); err != nil {
			return err
		}
		cmd := p.command(p.order.now, p.order.args...)
		cmd.Run()
		failed, err := p.survives(cmd, syscall.ENOSPC.Error())
		if err != nil {
			return fmt.Errorf("with room for %d bytes: %w", room, err)
		}
		if err := os.Remove(filler); err != nil {
			return err
		}
		if err := p.recovers(); err != nil {
			return err
		}
		if !failed {
			return nil
		}
		p.Count(kind, 1)
	}
}

// fill writes a file until the disk is full, and takes some off its end.
func fill(path string, room int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	size := int64(0)
	for page := bytes.Repeat([]byte{'x'}, 4096); ; {
		n, err := f.Write(page)
		size += int64(n)
		if errors.Is(err, syscall.ENOSPC) {
			return errors.Join(f.Sync(), f.Truncate(max(size-room, 0)), f.Sync())
		}
		if err != nil {
			return err
		}
	}
}

// readOnly runs the command while nothing may be written.
func (p *patient) readOnly(string) error {
	if err := errors.Join(p.again(), p.remount(unix.MS_RDONLY)); err != nil {
		return err
	}
	cmd := p.command(p.order.now, p.order.args...)
	cmd.Run()
	failed, err := p.survives(cmd, syscall.EROFS.Error())
	if err != nil {
		return err
	}
	if failed {
		p.Count("read-only", 1)
	}
	return errors.Join(p.remount(0), p.recovers())
}

func (p *patient) remount(flag uintptr) error {
	return unix.Mount("", p.folder(), "", unix.MS_REMOUNT|flag, "")
}

// writes are the system calls that fail, of each kind the first one, the second
// one and so on.
var writes = []string{"pwrite64", "write", "ftruncate", "fdatasync", "fsync", "renameat", "copy_file_range", "linkat", "unlinkat"}

// eachWrite runs the command once for each of its writes, which fails.
func (p *patient) eachWrite(errno string) error {
	for _, name := range writes {
		for n := 1; ; n++ {
			injected, err := p.failingWrite(name, errno, n)
			if err != nil {
				return fmt.Errorf("%s at %s %d: %w", errno, name, n, err)
			}
			if !injected {
				break
			}
			p.Count("writes", 1)
		}
	}
	return nil
}

// failingWrite runs the command and has its nth system call of this name fail.
// strace counts them thread by thread, but one goroutine mostly stays on its own.
func (p *patient) failingWrite(name, errno string, n int) (injected bool, err error) {
	trace := filepath.Join(p.machine.dir, "trace")
	flags := []string{"-P", p.folder()}
	for _, suffix := range []string{"", ".new", ".lock", ".snapshot", ".snapshot.new"} {
		flags = append(flags, "-P", p.state()+suffix)
	}
	flags = append(flags, "-e", "trace="+name, "-e", fmt.Sprintf("inject=%s:error=%s:when=%d", name, errno, n))
	if err := p.again(); err != nil {
		return false, err
	}
	cmd := p.command(p.order.now, p.order.args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.traced(trace, flags...)
	cmd.Run()
	if _, err := p.survives(cmd, unixText(errno)); err != nil {
		return false, err
	}
	if err := p.recovers(); err != nil {
		return false, err
	}
	return bytes.Contains(readFile(p.t, trace), []byte("INJECTED")), nil
}

func unixText(name string) string {
	for e := syscall.Errno(1); e < 200; e++ {
		if unix.ErrnoName(e) == name {
			return e.Error()
		}
	}
	return name
}

// survives looks at what the command left on the bad disk. One that says that it
// succeeded must have.
func (p *patient) survives(cmd *run, reason string) (failed bool, err error) {
	failed = cmd.status() != 0
	said := cmd.output.String()
	if failed && (!slices.Contains([]int{1, 74, 77}, cmd.status()) || !strings.Contains(said, reason) || !strings.Contains(said, p.state())) {
		return failed, cmd.fail("no good reason is given")
	}
	if strings.Contains(said, "goroutine") {
		return failed, cmd.fail("it panicked")
	}
	if _, err := p.check(p.order, failed); err != nil {
		return failed, cmd.fail("%w", err)
	}
	if verb := p.order.args[0]; verb != "block" && verb != "expire" {
		return failed, nil
	}
	for _, b := range p.well.Bans {
		over := !slices.Contains(p.model.blocked(p.order.now), b.Prefix)
		if over && slices.Contains(p.story.routes, b.Prefix) {
			return failed, cmd.fail("%s is still blocked, although its time is over", b.Prefix)
		}
	}
	return failed, nil
}

// recovers lets the next run find the disk well again.
func (p *patient) recovers() error {
	if err := p.whole(p.blockAt(p.order.now.Add(time.Second))); err != nil {
		return fmt.Errorf("the next run: %w", err)
	}
	if missing := len(p.failures) - p.model.Events; missing != 0 {
		return fmt.Errorf("the next run: %d failures were lost", missing)
	}
	return nil
}
