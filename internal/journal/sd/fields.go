//go:build cgo

package sd

// #cgo LDFLAGS: -ldl
// #include "fields.h"
import "C"

import (
	"fmt"
	"reflect"
	"syscall"
	"time"
	"unsafe"

	"github.com/coreos/go-systemd/v22/sdjournal"

	"smtpban/internal/journal"
)

// fields reads whole entries in one call, see fields.c.
type fields struct {
	c      C.struct_fields
	handle unsafe.Pointer    // the journal's, as libsystemd knows it; nil if entries can't be read so
	tags   map[string]string // there are few, so that each is kept once
}

// maxTags bounds the tags that are kept.
const maxTags = 100

// of prepares reading from a journal. The handle stays that of sdjournal, which
// does not show it, but in a field that reflection finds.
func (f *fields) of(j *sdjournal.Journal) {
	f.handle, f.c.whole = nil, 0
	if handle := reflect.ValueOf(j).Elem().FieldByName("cjournal"); handle.IsValid() && C.fields_library() != 0 {
		f.handle = handle.UnsafePointer()
	}
}

// next goes to the next entry and reads it.
func (f *fields) next() (on bool, err error) {
	n := C.fields_next(f.handle, &f.c)
	if n < 0 {
		return false, fmt.Errorf("going to the next entry: %w", syscall.Errno(-n))
	}
	return n > 0, nil
}

// take returns the entry that next has read, once, if it is as entries mostly are.
// Otherwise whoever asks for each field by itself finds out what is special. Only
// of a client-facing one there is more than the tag.
func (f *fields) take(boot journal.Boot) (e journal.Entry, ok bool) {
	if f.c.whole == 0 {
		return journal.Entry{}, false
	}
	f.c.whole = 0
	tag := bytesOf(&f.c.tag[0], f.c.tag_length)
	if e.Identifier, ok = f.tags[string(tag)]; !ok {
		e.Identifier = f.keep(string(tag))
	}
	if !journal.ClientFacing(e.Identifier) {
		return e, e.Identifier != journal.Journald
	}
	e.Boot, e.PID = boot, number(bytesOf(&f.c.pid[0], f.c.pid_length))
	e.Message = string(bytesOf(&f.c.message[0], f.c.message_length))
	e.Time, e.Monotonic = time.UnixMicro(int64(f.c.realtime)).UTC(), time.Duration(f.c.monotonic)*time.Microsecond
	return e, true
}

// bytesOf returns what C has written, until it writes there again.
func bytesOf(first *C.char, length C.uint32_t) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(first)), length)
}

// keep remembers a tag.
func (f *fields) keep(tag string) string {
	if f.tags == nil || len(f.tags) == maxTags {
		f.tags = map[string]string{}
	}
	f.tags[tag] = tag
	return tag
}

// number reads a process id, 0 if it is none.
func number(digits []byte) (n int) {
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0
		}
		n = n*10 + int(d-'0')
	}
	return n
}
