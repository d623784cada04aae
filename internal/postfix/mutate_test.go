package postfix

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// executions, if set, is how many mutated lines are read: make fuzz sets it.
const executions = "SMTPBAN_EXECUTIONS"

// scraps are put into lines: what could mislead a reader of them.
var scraps = []string{
	"[", "]", "[192.0.2.66]", "x[192.0.2.66]: ", "unknown[192.0.2.66]", "[2001:db8::66]:25", "[unknown]", "]: ", ": ", "; from=<", ">: ", "<", ">",
	" from ", " after ", "warning: ", "NOQUEUE: ", "reject: RCPT from ", "client=", "for ", "SASL LOGIN authentication failed", " auth=0/9", "/", "=",
	", sasl_username=", "disconnect from ", "lost connection after AUTH from ", "rejected: ", "Relay access denied", "\u202e", "\x00", "\xff", "%eth0", " ",
}

// mutate returns a line made of another one and scraps of a third.
func mutate(random *rand.Rand, lines []sample) sample {
	s := lines[random.IntN(len(lines))]
	for range 1 + random.IntN(4) {
		m := s.message
		i := random.IntN(len(m) + 1)
		j := i + random.IntN(min(len(m)-i, 40)+1)
		switch random.IntN(6) {
		case 0: // cut
			s.message = m[:i] + m[j:]
		case 1: // put something in
			s.message = m[:i] + scraps[random.IntN(len(scraps))] + m[i:]
		case 2: // replace
			s.message = m[:i] + scraps[random.IntN(len(scraps))] + m[j:]
		case 3: // go on like another line
			other := lines[random.IntN(len(lines))].message
			s.message = m[:i] + other[random.IntN(len(other)+1):]
		case 4: // another byte
			if i < len(m) {
				s.message = m[:i] + string([]byte{byte(random.IntN(256))}) + m[i+1:]
			}
		case 5: // of another program
			s.identifier = lines[random.IntN(len(lines))].identifier
		}
	}
	return s
}

// TestMutatedLinesNeverMislead reads lines that are nearly Postfix's. Unlike
// go test -fuzz it is not guided by what was covered, and a hundred times as
// fast.
func TestMutatedLinesNeverMislead(t *testing.T) {
	n := 100_000
	if text := os.Getenv(executions); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", executions, err)
		}
	}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var lines []sample
	for _, file := range files {
		lines = append(lines, readSamples(t, file)...)
	}
	var workers sync.WaitGroup
	var named, unread [256]int
	for w := range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(7, uint64(w)))
			for range n / runtime.GOMAXPROCS(0) {
				s := mutate(random, lines)
				l := Parse(entry(s.identifier, s.message))
				if l.Address.IsValid() {
					named[w]++
					checkAddress(t, s.identifier, s.message, l.Address)
				} else if l.Class != 0 {
					t.Errorf("%q: class %v of nobody", s.message, l.Class)
				}
				if l.rule == nil && strings.Contains(s.message, "[") {
					unread[w]++
					Shape(s.identifier, s.message)
				}
			}
		})
	}
	workers.Wait()
	var total, other int
	for w := range named {
		total, other = total+named[w], other+unread[w]
	}
	t.Logf("%d lines read, %d of them about a client, %d with a bracket and no rule", n, total, other)
	if total < n/10 || other < n/20 {
		t.Error("the mutations are too tame or too wild to tell anything")
	}
}
