package torture_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"smtpban/integration/torture"
)

// failpoint is a place of the program at which something happens to it.
type failpoint struct{ name, action string }

// failpoints returns each place with each thing that can happen there. The last
// three are bbolt's, within a commit: before its pages are on the disk, after
// that, and before the page is there that makes them count.
func failpoints() (all []failpoint) {
	for _, name := range []string{
		"beforeCommit", "afterCommit", "betweenRoutes", "beforeUnlock",
		"beforeSyncDataPages", "beforeWriteMetaError", "beforeSyncMetaPage",
	} {
		for _, action := range []string{"kill", "panic", "error"} {
			if action == "error" && strings.HasPrefix(name, "beforeSync") {
				continue // bbolt has none there
			}
			all = append(all, failpoint{name, action})
		}
	}
	return all
}

// TestTortureFailpoints kills a command, makes it panic or lets it fail at each
// of the failpoints. After it and after the next run all must be as after a kill.
func TestTortureFailpoints(t *testing.T) {
	const hits = 50 // at least, of each
	needRemote(t)
	private(t)
	binary := buildWithFailpoints(t)
	all := failpoints()
	torture.Run(t, torture.Row{
		Title: "killed, panicking or failing before, within and after a commit, between two changes of routes, before unlocking",
		Goal:  "every pair hit at least 50 times, 0 violations",
		Short: 2 * len(all), Full: hits * len(all),
		Figure: func(y torture.Tally) string {
			least := y.Rounds
			for _, f := range all {
				least = min(least, y.Counts[f.String()])
			}
			return fmt.Sprintf("%d pairs, each hit at least %d times", len(all), least)
		},
	}, func(r *torture.Round) error {
		f := all[r.N%len(all)]
		clients := 12
		if f.name == "betweenRoutes" {
			clients = 220 // the kernel takes 200 changes at once
		}
		s := newStory(t, r, binary, clients)
		defer s.close()
		return s.failing(f)
	})
}

func (f failpoint) String() string { return f.name + " " + f.action }

// failing is a round: some commands, and one at which f happens.
func (s *story) failing(f failpoint) error {
	if err := s.open(); err != nil {
		return err
	}
	for range s.Rand.IntN(3) {
		if err := s.log(1 + s.Rand.IntN(20)); err != nil {
			return err
		}
		if err := s.whole(s.draw()); err != nil {
			return err
		}
	}
	for try := 0; ; try++ {
		nth := 1 + s.Rand.IntN(max(3-try, 1))
		if f.name == "betweenRoutes" {
			nth = 2 // it stands before each batch
		}
		hit, err := s.fail(f, nth)
		if err != nil {
			return fmt.Errorf("%v: %w", f, err)
		}
		if hit {
			s.Count(f.String(), 1)
			break
		}
		if try == 20 {
			return fmt.Errorf("%v was not reached", f)
		}
	}
	return s.finish()
}

// fail runs a command and has f happen at the nth time that it gets there.
func (s *story) fail(f failpoint, nth int) (hit bool, err error) {
	if f.name == "betweenRoutes" {
		err = s.attack()
	} else {
		err = s.log(1 + s.Rand.IntN(20))
	}
	if err != nil {
		return false, err
	}
	o := s.draw()
	if f.name == "betweenRoutes" {
		o = s.block()
	}
	cmd := s.command(o.now, o.args...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", failpointVariable, f.name, f.action, nth))
	cmd.Run()
	hit = bytes.Contains(cmd.output.Bytes(), []byte("failpoint "+f.name))
	want := 0
	if hit {
		want = map[string]int{"kill": -1, "panic": 2, "error": 1}[f.action]
	}
	if cmd.status() != want {
		return hit, cmd.fail("the exit status should be %d", want)
	}
	if _, err := s.check(o, hit); err != nil {
		return hit, cmd.fail("%w", err)
	}
	return hit, nil
}

func TestTheReleaseHasNoFailpoint(t *testing.T) {
	release, tortured := readFile(t, build(t)), readFile(t, buildWithFailpoints(t))
	for _, f := range failpoints() {
		if bytes.Contains(release, []byte(f.name)) {
			t.Errorf("the release knows %s", f.name)
		}
		if !bytes.Contains(tortured, []byte(f.name)) {
			t.Errorf("there is no failpoint %s", f.name)
		}
	}
}
