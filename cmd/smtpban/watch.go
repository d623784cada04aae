package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"smtpban/internal/journal"
	"smtpban/internal/journal/sd"
)

func newWatchCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "watch",
		Short: "Do the same as block, as soon as something is logged",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			a.watch(ctx)
			return nil
		},
	}
}

const (
	// glance is the time between two looks whether something was logged, and
	// lazyGlance where nothing was for as long as lull. It costs little to look, but
	// to wake up for that costs something, too.
	glance     = 30 * time.Millisecond
	lazyGlance = 100 * time.Millisecond
	lull       = time.Second

	// After a pass watch rests for so many times as long as that computed, but not
	// beyond wholePass: on a busy server it takes no more than a quarter of a
	// processor, and who protects himself or waits for his ban to end waits no
	// longer than with the timer. It rests as long as the pass took, too: a slow
	// disk, where Postfix may have its queue, is never busy with ours all the time.
	restShare = 3

	// wholePass is after how long a pass does all that block does, also where
	// nothing was logged: bans run out, somebody may have deleted a route, and
	// others must never be banned. It is what the timer has as well.
	wholePass = 30 * time.Second

	// After a failure the next pass comes so much later, and then later still, up to
	// wholePass: what is wrong may last. Or it is over at once, as where files of the
	// journal come and go, and nobody is banned until the next pass.
	firstRetry = 100 * time.Millisecond
)

// watch makes a pass, as block does, whenever something was logged, until the
// context is done. What it knows between two of them is in the state, so that it
// may be killed at any time, and somebody else go on. A failure is told as the
// units do and does not end it: it may be over by the next pass.
func (a *app) watch(ctx context.Context) {
	// The scheduler keeps further threads awake, and the looks would cost twice as
	// much, for nothing: there is only one thing to do at a time.
	runtime.GOMAXPROCS(1)
	var (
		watcher  sd.Watcher
		whole    time.Time // when the last whole pass began
		failures int       // in a row
	)
	for {
		watcher.Follow(a.watched())
		begin, before := time.Now(), cpuTime()
		brief := failures == 0 && begin.Before(whole.Add(wholePass))
		if !brief {
			whole = begin
		}
		status := a.pass(brief)
		if failures++; status == exitOK {
			failures = 0
		}
		if !brief || failures > 0 {
			a.notify(status)
		}
		deadline := whole.Add(wholePass)
		if failures > 0 {
			deadline = begin
		}
		if !await(ctx, &watcher, rest(time.Since(begin), cpuTime()-before, failures), deadline) {
			return
		}
	}
}

// watched says which journal is to be looked at. What is wrong with the
// configuration the pass tells.
func (a *app) watched() sd.Options {
	cfg, _ := a.loadConfig()
	return sd.Options{Directory: cfg.Journal.Directory}
}

// pass does once what block does and returns the status that it would exit with,
// but 0 also where bans are held back or entries were lost: both is told once, and
// trying again helps neither.
func (a *app) pass(brief bool) int {
	once := *a
	once.brief = brief
	err := once.prepare()
	if err == nil {
		err = once.block()
	}
	status := once.conclude(err)
	if err == nil || onlyGaps(err) {
		return exitOK
	}
	return status
}

// onlyGaps reports whether an error, which may be several, is about lost entries.
func onlyGaps(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return !slices.ContainsFunc(joined.Unwrap(), func(err error) bool { return !onlyGaps(err) })
	}
	_, is := err.(*journal.Gap)
	return is
}

// statusWatching is what systemctl status says where all is well.
const statusWatching = "Watching the journal"

// notify tells systemd, if that asked for it, that the service is up and alive, and
// how it does. See sd_notify(3).
func (a *app) notify(status int) {
	text := statusWatching
	if status != exitOK {
		text = fmt.Sprintf("The last pass failed with status %d and is tried again", status)
	}
	_, err := daemon.SdNotify(false, daemon.SdNotifyReady+"\n"+daemon.SdNotifyWatchdog+"\nSTATUS="+text)
	if err != nil {
		a.log.warn("telling systemd how it goes: %v", err)
	}
}

// cpuTime returns how long this process has computed so far.
func cpuTime() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used) // every process may ask that
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// rest returns how long to do nothing after a pass that took and computed so long,
// and after so many failures in a row.
func rest(took, computed time.Duration, failures int) time.Duration {
	if failures == 0 {
		return min(max(glance, took, restShare*computed), wholePass)
	}
	retry := firstRetry
	for range failures - 1 {
		retry = min(2*retry, wholePass)
	}
	return retry
}

// await rests, and then waits until something was logged, or the deadline has
// come. It returns false as soon as the context is done.
func await(ctx context.Context, watcher *sd.Watcher, rest time.Duration, deadline time.Time) bool {
	lazy := time.Now().Add(lull)
	for wait := rest; ; {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
		now := time.Now()
		if watcher.Written() || now.After(deadline) {
			return true
		}
		if wait = glance; now.After(lazy) {
			wait = lazyGlance
		}
	}
}
