package sd

import (
	"encoding/binary"
	"path/filepath"
	"strings"
	"syscall"
)

// Watcher notices when journald, or systemd-journal-remote, writes. Readers are
// told of that a quarter of a second later, see sd_journal_wait(3): journald maps
// its files, and touches one when it has written nothing for so long. But what it
// has written can be read at once, and the number of the entries is in the header
// of the file. To look there costs a few microseconds. The zero Watcher is ready
// for use.
type Watcher struct {
	ends map[string]end // by name of the file
}

// end is what tells whether something was written to a file.
type end struct {
	id      fileID
	entries uint64
	// An entry counts a moment before all of its fields can be found. It can
	// be read in any case when journald has touched the file after it.
	touched syscall.Timespec
}

// Follow adds the files of the journal that are written to, or may be. It knows
// them by name: one that was rotated leaves its name to the next.
func (w *Watcher) Follow(opts Options) {
	names, err := opts.find()
	if err != nil {
		return // whoever reads the journal finds that, too
	}
	if w.ends == nil {
		w.ends = map[string]end{}
	}
	for _, name := range names {
		if _, known := w.ends[name]; !known && active(name) {
			w.ends[name] = endOf(name)
		}
	}
}

// Written reports whether something was written since the last call, or since
// the file is followed. Whoever reads the journal after a call misses nothing of
// what this one reported.
func (w *Watcher) Written() bool {
	written := false
	for name, before := range w.ends {
		if now := endOf(name); now != before {
			w.ends[name], written = now, true
		}
	}
	return written
}

// active reports whether a file has the name of one that is written to. Those that
// were rotated or found damaged have more in it, see journald.conf(5).
func active(name string) bool {
	base := filepath.Base(name)
	return strings.HasSuffix(base, ".journal") && !strings.Contains(base, "@")
}

// endOf returns the zero end where there is no such file just now. It asks the
// kernel without detours: os.Open would make five calls more, many times a second.
func endOf(name string) end {
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return end{}
	}
	defer syscall.Close(fd)
	var stat syscall.Stat_t
	if syscall.Fstat(fd, &stat) != nil {
		return end{}
	}
	return end{fileID{uint64(stat.Dev), stat.Ino}, entriesIn(fd), stat.Mtim}
}

// entriesIn returns how many entries a journal file says that it has, 0 if it
// can't be read. See https://systemd.io/JOURNAL_FILE_FORMAT/.
func entriesIn(fd int) uint64 {
	const entries, end = 152, 160 // where the header has their number
	var number [end - entries]byte
	if n, err := syscall.Pread(fd, number[:], entries); err != nil || n < len(number) {
		return 0
	}
	return binary.LittleEndian.Uint64(number[:])
}
