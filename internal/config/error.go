package config

import "fmt"

// Error is a mistake in a configuration file. Everything that Load returns is
// an Error or, when there are several, joins them: errors.As finds the first
// one, and the caller exits 78.
type Error struct {
	File         string
	Line, Column int    // of the key or value at fault, from 1, the column in bytes; 0 if it is the whole file
	Key          string // as in "policy.bantime"; "" if it is no key's fault
	Msg          string // says which values are allowed
	Err          error  // why the file could not be read; otherwise nil
}

// Error returns "FILE:LINE:COLUMN: KEY: message", without the parts that are
// not known.
func (e *Error) Error() string {
	where := e.File
	if e.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
	}
	if e.Key != "" {
		where += ": " + e.Key
	}
	return where + ": " + e.Msg
}

// Unwrap returns Err, so that errors.Is tells a missing file from an unreadable one.
func (e *Error) Unwrap() error { return e.Err }
