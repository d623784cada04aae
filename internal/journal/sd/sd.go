// Package sd reads the systemd journal through libsystemd: what comes after a
// position, each entry once, boot by boot. It needs cgo; without it the package
// builds, and Open says what to install.
package sd

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"smtpban/internal/journal"
)

// ErrNoJournal tells that there is no journal where Open looked, or none with
// an entry in it.
var ErrNoJournal = errors.New("no journal")

// ErrPermission tells that there is a journal, but that some of it may not be
// read. It wraps os.ErrPermission.
var ErrPermission = fmt.Errorf("reading the journal: %w", os.ErrPermission)

// Options says which journal to read, whose entries, and from where on.
type Options struct {
	Directory string            // as journalctl --directory; "" is the local journal
	Files     []string          // as journalctl --file, patterns resolved; if there are any, Directory is not looked at
	UID       int               // only entries written under this uid count: Postfix's mail_owner
	From      journal.Positions // a boot that is not in it is read from its head

	// Finished is what Reader.Finished returned after an earlier run, nil if
	// nothing. Files that it knows are not opened where nothing can be new in
	// them. With Anchor, and of single files, all are opened.
	Finished []byte

	// Anchor makes Positions move to the newest entry of each boot that was
	// read to its end, whoever wrote it, if anything trusted was ever read in
	// that boot. A position on an entry of a quiet Postfix is lost when that
	// entry is vacuumed, and looks like a gap; but an idle run with Anchor
	// moves the position nearly every time.
	Anchor bool
}

// Written is an entry and who wrote it.
type Written struct {
	journal.Entry
	UID     int  // -1 if it is not known
	Trusted bool // it counts: it came by syslog(3) from the trusted uid
}

// The local journal, persistent and volatile: see systemd-journald.service(8).
const (
	persistentRoot = "/var/log/journal"
	volatileRoot   = "/run/log/journal"
)

// checkReadable fails with ErrNoJournal if find has found no journal file, and with
// ErrPermission if any of them cannot be opened: libsystemd would pass over it
// without a word, and a journal of which only user-1000.journal can be read
// looks like one in which Postfix said nothing. It returns the files there are, but
// for those that are to be passed over.
func (o Options) checkReadable(names []string, skip map[uint64]bool) (map[fileID]string, error) {
	if len(names) == 0 {
		return nil, fmt.Errorf("%w in %s (is it the right place? journald may keep none: see Storage= in journald.conf(5))", ErrNoJournal, o.place())
	}
	files := map[fileID]string{}
	for _, name := range names {
		if skip[hash(name)] {
			continue
		}
		f, err := os.Open(name)
		switch {
		case errors.Is(err, fs.ErrNotExist) && len(o.Files) == 0:
			continue // rotated or vacuumed since it was listed
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("%w: no file %s", ErrNoJournal, name)
		case err != nil:
			return nil, denied(name, err)
		}
		if id, err := identify(int(f.Fd())); err == nil {
			files[id] = name
		}
		f.Close()
	}
	return files, nil
}

// hash is FNV-1a of a path: there may be a thousand names to be remembered, and two
// of the same hash are not to be expected in a billion years.
func hash(path string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(path) {
		h = (h ^ uint64(path[i])) * 1099511628211
	}
	return h
}

// fileID tells a file from others, under whatever name.
type fileID struct{ device, inode uint64 }

// identify returns which file a descriptor is of.
func identify(fd int) (fileID, error) {
	var stat syscall.Stat_t
	err := syscall.Fstat(fd, &stat)
	return fileID{uint64(stat.Dev), stat.Ino}, err
}

// denied adds to an error of the file system what to do about it.
func denied(name string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: %s (run as root, or as a member of the group systemd-journal)", ErrPermission, name)
	}
	return fmt.Errorf("reading the journal: %w", err)
}

// place names the journal for people.
func (o Options) place() string {
	switch {
	case len(o.Files) > 0:
		return strings.Join(o.Files, ", ")
	case o.Directory != "":
		return o.Directory
	}
	return persistentRoot + " and " + volatileRoot
}

// Persistent reports whether the journal outlasts a reboot: whether journald keeps
// files on disk and writes none that are lost with the memory.
func (o Options) Persistent() (bool, error) {
	files, err := o.find()
	if err != nil {
		return false, err
	}
	disk := false
	for _, name := range files {
		switch {
		case strings.HasPrefix(name, persistentRoot):
			disk = true
		case filepath.Base(name) == "system.journal": // archived ones may be left over
			return false, nil
		}
	}
	return disk, nil
}

// find lists the journal files that libsystemd would open.
func (o Options) find() ([]string, error) {
	switch {
	case len(o.Files) > 0:
		return o.Files, nil
	case o.Directory != "":
		return findBelow(o.Directory, true)
	}
	machine, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		return nil, fmt.Errorf("which of the journals is this machine's: %w", err)
	}
	var files []string
	for _, root := range []string{persistentRoot, volatileRoot} {
		found, err := findBelow(filepath.Join(root, strings.TrimSpace(string(machine))), false)
		if err != nil && !errors.Is(err, ErrNoJournal) {
			return nil, err
		}
		files = append(files, found...)
	}
	return files, nil
}

// findBelow lists the journal files in dir and, where asked to, in the
// directories in it, one for each machine.
func findBelow(dir string, machines bool) ([]string, error) {
	dir = filepath.Clean(dir)
	entries, err := listDirectory(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, name := range entries {
		path := dir + "/" + name
		switch {
		case machines && isMachine(name):
			below, err := findBelow(path, false)
			if err != nil && !errors.Is(err, ErrNoJournal) && !errors.Is(err, syscall.ENOTDIR) {
				return nil, err
			}
			files = append(files, below...)
		case strings.HasSuffix(name, ".journal") || strings.HasSuffix(name, ".journal~"):
			files = append(files, path)
		}
	}
	return files, nil
}

// listDirectory returns the names in a directory, in order. There may be a thousand
// at every run, of which no more need be known.
func listDirectory(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: no directory %s", ErrNoJournal, dir)
	}
	if err != nil {
		return nil, denied(dir, err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, denied(dir, err)
	}
	slices.Sort(names)
	return names, nil
}

// isMachine reports whether a directory is named like a machine id, which has
// the same form as the id of a boot.
func isMachine(name string) bool {
	if len(name) != hex.EncodedLen(len(journal.Boot{})) {
		return false // without the cost of an error for each of a thousand files
	}
	_, err := journal.ParseBoot(name)
	return err == nil
}
