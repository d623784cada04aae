package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// writer is where Debian, Fedora and Arch keep systemd-journal-remote(8).
const writer = "/lib/systemd/systemd-journal-remote"

// journalDir returns the folder of the journal of a plan in so many files, which
// is made unless an earlier run has made it.
func journalDir(cache string, p plan, files int) (dir string, truth Truth, err error) {
	dir = filepath.Join(cache, fmt.Sprintf("journal-v%d-seed%d-%d-%d-%dfiles", generatorVersion, p.Seed, p.Entries, p.Clients, files))
	truthFile := filepath.Join(dir, "truth.json")
	if text, err := os.ReadFile(truthFile); err == nil {
		return dir, truth, json.Unmarshal(text, &truth)
	}
	if err := os.RemoveAll(dir); err != nil { // of a run that was interrupted
		return "", Truth{}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", Truth{}, err
	}
	fmt.Fprintf(os.Stderr, "bench: writing %d entries into %d journal files\n", p.Entries, files)
	lines, truth := generate(p)
	first := uint64(1)
	for i := range files {
		part := lines[len(lines)*i/files : len(lines)*(i+1)/files]
		if err := writeFile(dir, part, first, i == files-1); err != nil {
			return "", Truth{}, err
		}
		first += uint64(len(part))
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil || len(found) != files {
		return "", Truth{}, fmt.Errorf("%s made %d journal files instead of %d (too many entries for one?): %w", writer, len(found), files, err)
	}
	text, err := json.Marshal(truth)
	if err != nil {
		return "", Truth{}, err
	}
	return dir, truth, os.WriteFile(truthFile, text, 0o644)
}

// writeFile writes the part of the journal that is in one file, as journald would:
// named and numbered as one of a sequence, the last one still being written.
func writeFile(dir string, lines []line, first uint64, last bool) error {
	path := filepath.Join(dir, "system.journal")
	cmd := exec.Command(writer, "--output="+path, "-")
	var said strings.Builder
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w (install systemd-journal-remote)", err)
	}
	out := bufio.NewWriterSize(in, 1<<16)
	for _, l := range lines {
		export(out, l)
	}
	if err := errors.Join(out.Flush(), in.Close(), cmd.Wait()); err != nil {
		return fmt.Errorf("%w\n%s", err, said.String())
	}
	return inSequence(path, lines[0], first, last)
}

// export writes an entry with the fields that journald would give it, see
// https://systemd.io/JOURNAL_EXPORT_FORMATS/.
func export(w *bufio.Writer, l line) {
	p := programs[l.program]
	at := began().Add(l.at)
	us := at.UnixMicro()
	fmt.Fprintf(w, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%s\n_MACHINE_ID=%s\n_HOSTNAME=mx\n_RUNTIME_SCOPE=system\n"+
		"_TRANSPORT=%s\nPRIORITY=%d\nSYSLOG_FACILITY=%d\nSYSLOG_IDENTIFIER=%s\nSYSLOG_PID=%d\n_PID=%d\n_UID=%d\n_GID=%d\n_COMM=%s\n_EXE=%s\n"+
		"_CMDLINE=%s -t unix -u\n_CAP_EFFECTIVE=0\n_SYSTEMD_UNIT=%s\n_SYSTEMD_CGROUP=/system.slice/%s\n_SYSTEMD_SLICE=system.slice\n"+
		"_SYSTEMD_INVOCATION_ID=c0000000000000000000000000000001\nMESSAGE=%s\n",
		us, l.at.Microseconds(), bootID, machineID, p.how, p.priority, p.facility, p.tag, l.pid, l.pid, p.uid, p.uid, p.comm, p.exe,
		p.comm, p.unit, p.unit, l.text)
	if p.how == "syslog" {
		fmt.Fprintf(w, "SYSLOG_TIMESTAMP=%s\n_SOURCE_REALTIME_TIMESTAMP=%d\n", at.Format(time.Stamp), us-40)
	}
	w.WriteByte('\n') // bufio keeps an error for Flush
}

// Places in the header of a journal file and of its objects, see
// https://systemd.io/JOURNAL_FILE_FORMAT/.
const (
	headerState      = 16
	headerSequence   = 72
	headerSize       = 88
	headerTailObject = 136
	headerTailSeqnum = 160
	headerHeadSeqnum = 168

	stateArchived = 2

	objectSize   = 8
	objectEntry  = 3 // type
	entrySeqnum  = 16
	sequenceID   = "bench sequence 1"
	smallestPage = 4096
)

// inSequence makes a file one of a journal's: systemd-journal-remote begins a
// numbering of its own in each file that it makes, where journald goes on with
// that of the file before. The room at its end, kept for more, is given back.
func inSequence(path string, head line, first uint64, last bool) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	used := renumber(data, first, last)
	if err := unix.Munmap(data); err != nil {
		return err
	}
	hole := (used + smallestPage - 1) / smallestPage * smallestPage
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, hole, info.Size()-hole)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL) {
		return err
	}
	if last {
		return nil
	}
	name := fmt.Sprintf("system@%x-%016x-%016x.journal", sequenceID, first, began().Add(head.at).UnixMicro())
	return os.Rename(path, filepath.Join(filepath.Dir(path), name))
}

// renumber lets the entries of a file be numbered from first on, and returns where
// its last object ends.
func renumber(data []byte, first uint64, last bool) (used int64) {
	word := binary.LittleEndian
	offset := first - word.Uint64(data[headerHeadSeqnum:])
	for _, place := range []uint64{headerTailSeqnum, headerHeadSeqnum} {
		word.PutUint64(data[place:], word.Uint64(data[place:])+offset)
	}
	copy(data[headerSequence:], sequenceID)
	if !last {
		data[headerState] = stateArchived
	}
	tail := word.Uint64(data[headerTailObject:])
	at := word.Uint64(data[headerSize:])
	for {
		size := word.Uint64(data[at+objectSize:])
		if data[at] == objectEntry {
			word.PutUint64(data[at+entrySeqnum:], word.Uint64(data[at+entrySeqnum:])+offset)
		}
		if at == tail {
			return int64(at + size)
		}
		at += (size + 7) / 8 * 8
	}
}
