package journal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

const (
	maxField     = 64 << 10 // bytes of a field that are held, as libsystemd does by default
	maxFieldName = 64       // bytes of its name, as journald allows
)

var errCutOff = errors.New("the text is cut off within a field")

// exportFields splits text in the Journal Export Format into entries, see
// https://systemd.io/JOURNAL_EXPORT_FORMATS/. Whatever the text, it holds at
// most maxField bytes of each field that matters.
type exportFields struct {
	r      *bufio.Reader
	offset int64 // bytes read
}

func newExportFields(r io.Reader) *exportFields {
	return &exportFields{r: bufio.NewReaderSize(r, maxFieldName+maxField)}
}

// entry returns the next entry, and io.EOF where there is none. Of a field that
// an entry has twice the first counts.
func (x *exportFields) entry() (exportEntry, error) {
	entry := exportEntry{}
	for empty := true; ; {
		start := x.offset
		line, err := x.line()
		switch {
		case err == io.EOF && empty:
			return nil, io.EOF
		case err == io.EOF:
			return entry, nil
		case err != nil:
			return nil, err
		case len(line) == 0 && empty:
			continue // between entries
		case len(line) == 0:
			return entry, nil
		}
		empty = false
		name, value, err := x.field(line)
		if err != nil {
			return nil, fmt.Errorf("field at byte %d: %w", start, err)
		}
		if _, twice := entry[name]; matters(name) && !twice {
			entry[name] = string(value)
		}
	}
}

// matters reports whether a field is kept.
func matters(name string) bool {
	switch name {
	case "__CURSOR", "__REALTIME_TIMESTAMP", "__MONOTONIC_TIMESTAMP", "_BOOT_ID", "_TRANSPORT", "_UID",
		"SYSLOG_IDENTIFIER", "SYSLOG_PID", "_PID", "MESSAGE",
		"MESSAGE_ID", "N_DROPPED", "OBJECT_SYSTEMD_UNIT", "OBJECT_UID":
		return true
	}
	return false
}

// field takes a line apart, NAME=value, or, where the line is a mere name, reads
// the value that follows it: its length in 8 bytes, little endian, the value
// itself, a newline. The name and value hold until the next read.
func (x *exportFields) field(line []byte) (name string, value []byte, err error) {
	before, value, text := bytes.Cut(line, []byte("="))
	if !isFieldName(before) {
		return "", nil, fmt.Errorf("%.40q is no field (not what journalctl -o export prints?)", line)
	}
	name = string(before)
	if text {
		return name, value, nil
	}
	var length [8]byte
	if err := x.full(length[:]); err != nil {
		return "", nil, err
	}
	size := binary.LittleEndian.Uint64(length[:])
	if size > math.MaxInt64 {
		return "", nil, fmt.Errorf("field %s: impossible length %d", name, size)
	}
	if matters(name) {
		value = make([]byte, min(size, maxField))
		if err := x.full(value); err != nil {
			return "", nil, err
		}
	}
	if err := x.skip(int64(size) - int64(len(value))); err != nil {
		return "", nil, err
	}
	var end [1]byte
	if err := x.full(end[:]); err != nil {
		return "", nil, err
	}
	if end[0] != '\n' {
		return "", nil, fmt.Errorf("field %s: no newline after %d bytes of value", name, size)
	}
	return name, value, nil
}

// isFieldName reports whether journald would take this for the name of a field,
// or it is one of the address fields, which begin with two underscores.
func isFieldName(name []byte) bool {
	for _, c := range name {
		if c != '_' && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(name) > 0 && len(name) <= maxFieldName
}

// line returns the next line without its newline, cut where it is too long to
// be held. It returns io.EOF at the end, and errCutOff if the last line has no
// newline.
func (x *exportFields) line() ([]byte, error) {
	line, err := x.r.ReadSlice('\n')
	x.offset += int64(len(line))
	if err == bufio.ErrBufferFull {
		line = bytes.Clone(line)
		for err == bufio.ErrBufferFull {
			var rest []byte
			rest, err = x.r.ReadSlice('\n')
			x.offset += int64(len(rest))
		}
		return line, cutOff(err)
	}
	if err != nil {
		if len(line) > 0 {
			err = cutOff(err)
		}
		return nil, err
	}
	return line[:len(line)-1], nil
}

func (x *exportFields) full(b []byte) error {
	n, err := io.ReadFull(x.r, b)
	x.offset += int64(n)
	return cutOff(err)
}

func (x *exportFields) skip(n int64) error {
	skipped, err := io.CopyN(io.Discard, x.r, n)
	x.offset += skipped
	return cutOff(err)
}

// cutOff says what an end of the text means within a field.
func cutOff(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errCutOff
	}
	return err
}
