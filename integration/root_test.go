package integration

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// packages is what a mail server needs beside Debian's required packages.
const packages = "systemd,systemd-sysv,dbus,iproute2,procps,postfix,sasl2-bin,libsasl2-modules,libsasl2-modules-db"

// debianRoot returns the folder of a fresh Debian system with these packages and
// more, never to be written to. It is built once and kept in the user's cache; a
// lock makes tests that need it at the same time wait for one build.
func debianRoot(suite string, more ...string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "/var/cache" // no HOME, as in some CI
	}
	roots := filepath.Join(cache, "smtpban", "roots")
	if err := os.MkdirAll(roots, 0o755); err != nil {
		return "", fmt.Errorf("making the cache of Debian roots: %w", err)
	}
	all := strings.Join(append([]string{packages}, more...), ",")
	key := sha256.Sum256([]byte(all))
	root := filepath.Join(roots, fmt.Sprintf("%s-%x", suite, key[:4]))

	lock, err := os.Create(root + ".lock")
	if err != nil {
		return "", fmt.Errorf("locking the root of %s: %w", suite, err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("locking %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	return root, buildRoot(suite, root, all)
}

// buildRoot makes the root beside its final place and moves it there when it is
// complete, so that a build cut short is never taken for a root.
func buildRoot(suite, root, packages string) error {
	unfinished := root + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return fmt.Errorf("clearing an unfinished root: %w", err)
	}
	args := []string{"--variant=minbase", "--force-check-gpg", "--include=" + packages, suite, unfinished, hostMirror()}
	// A debootstrap older than the suite has no script of its name; every
	// Debian suite's script is that of sid.
	const scripts = "/usr/share/debootstrap/scripts/"
	if _, err := os.Stat(scripts + suite); err != nil {
		args = append(args, scripts+"sid")
	}
	cmd := exec.Command("debootstrap", args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, lastLines(string(out), 20))
	}
	if err := dropDownloads(unfinished); err != nil {
		return fmt.Errorf("trimming the root of %s: %w", suite, err)
	}
	return os.Rename(unfinished, root)
}

// dropDownloads removes what apt can fetch again: a third of the root.
func dropDownloads(root string) error {
	for _, pattern := range []string{"var/cache/apt/archives/*.deb", "var/lib/apt/lists/*"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := os.RemoveAll(file); err != nil {
				return err
			}
		}
	}
	return nil
}

// lastLines returns the end of a long text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
