package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/journal/journaltest"
	"smtpban/internal/store"
)

// The benchmarks run the real binary and measure its CPU time, user and system,
// start and all. It works in a network namespace of its own: they need root.

// build returns the path of a fresh binary.
func build(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "smtpban")
	if out, err := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", path, ".").CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// cpu runs the binary once in a new network namespace and returns its CPU time.
// That of unshare(1), which becomes the binary, is in it.
func cpu(b *testing.B, args ...string) time.Duration {
	b.Helper()
	cmd := exec.Command("unshare", append([]string{"--net", "--"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

func reportCPU(b *testing.B, total time.Duration) {
	b.ReportMetric(float64(total.Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

// BenchmarkIdleBlock is a run with nothing new on a journal of 14 files.
func BenchmarkIdleBlock(b *testing.B) {
	const uid, files, perFile = 101, 14, 5000
	binary, dir := build(b), b.TempDir()
	now := time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)
	boot := journaltest.Boot(1)
	for f := range files {
		entries := make([]journaltest.Entry, perFile)
		for i := range entries {
			n := f*perFile + i
			entries[i] = journaltest.Entry{
				Boot: boot, Time: now.Add(time.Duration(n) * time.Second), Monotonic: time.Duration(n) * time.Second,
				UID: uid, Identifier: "postfix/smtpd", PID: n, Message: fmt.Sprintf("connect from unknown[203.0.113.%d]", n%250),
			}
		}
		journaltest.Write(b, filepath.Join(dir, fmt.Sprintf("system@%02d.journal", f)), entries...)
	}
	state := filepath.Join(b.TempDir(), "state.db")
	block := []string{
		binary, "block", "-D", dir, "--postfix-user", fmt.Sprint(uid), "--state", state,
		"--now", "2026-03-02 00:00:00 UTC", "--config", emptyConfig(b),
	}
	cpu(b, block...)
	var total time.Duration
	for b.Loop() {
		total += cpu(b, block...)
	}
	reportCPU(b, total)
}

// BenchmarkRestore puts the routes of 100,000 bans into an empty kernel.
func BenchmarkRestore(b *testing.B) {
	binary, state := build(b), filepath.Join(b.TempDir(), "state.db")
	start := time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)
	err := store.New(state).Update(func(tx *store.Tx) error {
		for n := range 100_000 {
			addr := netip.AddrFrom4([4]byte{198, 18 + byte(n>>16), byte(n >> 8), byte(n)})
			err := tx.PutBan(ban.Ban{
				Prefix: netip.PrefixFrom(addr, 32), Class: ban.SASLAuth, Failures: 5, Start: start, Until: start.Add(time.Hour), Count: 1, Origin: ban.OriginJournal,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	var total time.Duration
	for b.Loop() {
		total += cpu(b, binary, "restore", "--state", state, "--now", "2026-03-01 00:00:00 UTC", "--config", emptyConfig(b))
	}
	reportCPU(b, total)
}

func emptyConfig(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "smtpban.toml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}
