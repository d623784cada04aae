package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A cgroup is the control group of one system, in every hierarchy that systemd
// uses. systemd-nspawn puts a system below its own control group, so two
// systems started from the same one would share theirs, and neither could shut
// down; and what is in the group when nspawn has gone is what it left behind.
type cgroup []string // directories

// newCgroup makes one below this process's own.
func newCgroup(name string) (cgroup, error) {
	text, err := os.ReadFile("/proc/self/cgroup") // see cgroups(7)
	if err != nil {
		return nil, err
	}
	var c cgroup
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			return nil, fmt.Errorf("/proc/self/cgroup holds %q", line)
		}
		for _, mount := range hierarchyMounts(f[0], f[1]) {
			own := filepath.Join(mount, f[2])
			if _, err := os.Stat(filepath.Join(own, "cgroup.procs")); err == nil {
				c = append(c, filepath.Join(own, name))
				break
			}
		}
	}
	if len(c) == 0 {
		return nil, errors.New("no control groups below /sys/fs/cgroup")
	}
	for _, dir := range c {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// hierarchyMounts returns where a hierarchy may be mounted: systemd's own of
// version 1, or version 2 beside it or alone.
func hierarchyMounts(id, controllers string) []string {
	switch {
	case controllers == "name=systemd":
		return []string{"/sys/fs/cgroup/systemd"}
	case id == "0":
		return []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"}
	}
	return nil
}

// enter returns a command line that starts another one inside the group.
func (c cgroup) enter(command ...string) []string {
	const script = `while [ "$1" != -- ]; do echo $$ >"$1" || exit; shift; done; shift; exec "$@"`
	args := []string{"sh", "-c", script, "sh"}
	for _, dir := range c {
		args = append(args, filepath.Join(dir, "cgroup.procs"))
	}
	return append(append(args, "--"), command...)
}

// kill ends every process of the group.
func (c cgroup) kill() error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		alive := 0
		for _, dir := range c.all() {
			pids, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENODEV) {
				return err
			}
			for _, field := range strings.Fields(string(pids)) {
				alive++
				if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
					syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
				}
			}
		}
		if alive == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes of %v cannot be ended", alive, c)
		}
	}
}

// remove deletes the group, which must be empty.
func (c cgroup) remove() error {
	var errs []error
	dirs := c.all()
	slices.Reverse(dirs) // what is inside first
	for _, dir := range dirs {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// all returns the directories of the group and of the groups inside it, each
// before what it contains.
func (c cgroup) all() []string {
	var dirs []string
	for _, top := range c {
		filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return filepath.SkipDir // gone meanwhile
			}
			if d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
	}
	return dirs
}
