package main

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"smtpban/internal/route"
)

func TestKernelThatCannotEndConnectionsIsToldOfOnceAndIsNoFailure(t *testing.T) {
	var stderr bytes.Buffer
	a := &app{log: &logger{stderr: &stderr}}
	k := &kernel{}
	cannot := fmt.Errorf("ending a connection of 203.0.113.9/32 to port 25: %w", route.ErrNoDestroy)
	for _, run := range []struct {
		ended     int
		err, want error
	}{
		{err: cannot},
		{err: cannot},
		{}, // nothing to end: no news
		{err: syscall.EPERM, want: syscall.EPERM}, // another failure is one
		{err: cannot},
		{ended: 1}, // another kernel
		{err: cannot},
		{ended: 2},
	} {
		last := k.machine // as the state remembers it
		k = &kernel{machine: last}
		if err := a.tellEnded(k, run.ended, run.err); !errors.Is(err, run.want) {
			t.Errorf("%+v: %v", run, err)
		}
	}
	const cannotEnd = "the connections of banned clients stay open until Postfix hangs up: the kernel can't end connections (it has no CONFIG_INET_DIAG_DESTROY)\n"
	if got, want := stderr.String(), cannotEnd+"ended 1 connection\n"+cannotEnd+"ended 2 connections\n"; got != want {
		t.Errorf("told:\n%s\nwant:\n%s", got, want)
	}
}
