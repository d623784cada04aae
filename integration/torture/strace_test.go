package torture_test

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// needStrace skips the test where there is no strace(1), and fails in CI.
func needStrace(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("strace"); errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must not skip this: install strace")
		}
		t.Skip("SKIPPED: no strace")
	}
}

// changing are the system calls that change files, and those without which one
// can't tell which.
const changing = "openat,close,write,pwrite64,pwritev,writev,ftruncate,truncate,fallocate,fdatasync,fsync,sync_file_range," +
	"rename,renameat,renameat2,unlink,unlinkat,link,linkat,lseek,copy_file_range,sendfile,splice"

// traced has the command make its system calls under strace, which writes them to
// a file.
func (r *run) traced(file string, flags ...string) {
	args := append([]string{"-f", "-qq", "-xx", "-s", "16777216", "-e", "signal=none", "-o", file}, flags...)
	traced := exec.Command("strace", append(append(args, "--"), r.Args...)...)
	traced.Stdout, traced.Stderr, traced.Env = r.Stdout, r.Stderr, r.Env
	r.Cmd = traced
}

// call is a system call that succeeded.
type call struct {
	name   string
	args   []string // strings are decoded
	result int
}

var (
	straceLine    = regexp.MustCompile(`^(\d+) +(.*)$`)
	straceCall    = regexp.MustCompile(`^(\w+)\((.*)\) += (-?\d+)`)
	straceResumed = regexp.MustCompile(`^<\.\.\. \w+ resumed>`)
)

// readTrace returns the calls in a file of strace's, in the order in which they
// ended.
func readTrace(path string) ([]call, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var calls []call
	begun := map[string]string{} // by thread
	in := bufio.NewReader(f)
	for {
		line, err := in.ReadString('\n')
		if line == "" {
			return calls, ignoreEOF(err)
		}
		part := straceLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if part == nil {
			return nil, fmt.Errorf("strace wrote %.200q", line)
		}
		thread, text := part[1], part[2]
		if head, cut := strings.CutSuffix(text, " <unfinished ...>"); cut {
			begun[thread] = head
			continue
		}
		if tail := straceResumed.ReplaceAllString(text, ""); tail != text {
			text = begun[thread] + tail
		}
		found := straceCall.FindStringSubmatch(text)
		if found == nil {
			continue // the end of the process
		}
		result, err := strconv.Atoi(found[3])
		if err != nil {
			return nil, err
		}
		if result >= 0 {
			args, err := splitArgs(found[2])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", found[1], err)
			}
			calls = append(calls, call{found[1], args, result})
		}
	}
}

func ignoreEOF(err error) error {
	if err.Error() == "EOF" {
		return nil
	}
	return err
}

// splitArgs splits the arguments of a call. Every byte of a string is written in
// hexadecimal, so that none has a comma.
func splitArgs(text string) ([]string, error) {
	args := strings.Split(text, ", ")
	for i, a := range args {
		if !strings.HasPrefix(a, `"`) {
			continue
		}
		if !strings.HasSuffix(a, `"`) {
			return nil, errors.New("a string was cut short")
		}
		b, err := hex.DecodeString(strings.ReplaceAll(strings.Trim(a, `"`), `\x`, ""))
		if err != nil {
			return nil, err
		}
		args[i] = string(b)
	}
	return args, nil
}

// number returns an argument that is one.
func (c call) number(i int) (int, error) {
	n, err := strconv.ParseInt(c.args[i], 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: argument %d: %w", c.name, i, err)
	}
	return int(n), nil
}
