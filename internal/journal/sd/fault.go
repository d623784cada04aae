//go:build cgo

package sd

// #include "fault.h"
import "C"

import "fmt"

// faults is what the handler of fault.c writes down about the files of a reader
// that were cut off while it read them, or could not be read from their disk.
type faults struct {
	c    *C.struct_faults
	told int // names
}

// watchFaults must be called in the thread that reads, as must unwatch.
func watchFaults() (*faults, error) {
	c, err := C.faults_watch()
	if c == nil {
		return nil, fmt.Errorf("preparing to read damaged journal files: %w", err)
	}
	return &faults{c: c}, nil
}

func (f *faults) unwatch() { C.faults_unwatch(f.c) }

// any reports whether there was a page that could not be read.
func (f *faults) any() bool { return f.c.count > 0 }

// news returns the names of the files that were not named yet.
func (f *faults) news() (names []string) {
	for ; f.told < int(f.c.names); f.told++ {
		names = append(names, C.GoString(&f.c.name[f.told][0]))
	}
	return names
}
