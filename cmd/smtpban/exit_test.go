package main

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"smtpban/internal/store"
)

func TestWhatIsWorthSaying(t *testing.T) {
	broken := errors.New("the disk is full")
	gone := fmt.Errorf("writing: %w", syscall.EPIPE)
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"nothing":                                {nil, ""},
		"an error":                               {broken, "the disk is full"},
		"a reader who went away":                 {gone, ""},
		"what has been said":                     {silentError{exitNot}, ""},
		"others beside a reader who went away":   {errors.Join(gone, errors.Join(broken, silentError{1}), broken), "the disk is full\nthe disk is full"},
		"an error that is made of two":           {fmt.Errorf("%w: %w", broken, syscall.EIO), "the disk is full: input/output error"},
		"only readers who went away, and silent": {errors.Join(gone, silentError{1}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := worthSaying(tc.err); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// Any other failure than that of a disk must not make a wrong clock believed.
func TestOnlyWhatMayLastMakesTheClockBelieved(t *testing.T) {
	for _, err := range []error{syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT, syscall.EACCES} {
		if !unwritable(fmt.Errorf("writing state: %w", err)) {
			t.Errorf("%v may last", err)
		}
	}
	for _, err := range []error{nil, store.ErrLocked, store.ErrDamaged, syscall.EIO} {
		if unwritable(err) {
			t.Errorf("%v need not last", err)
		}
	}
}
