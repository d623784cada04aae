package torture_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"smtpban/integration/torture"
)

// killsPerRound is how many processes a story loses.
const killsPerRound = 20

// How far a command had come when it was killed.
const (
	before  = "before the commit"
	between = "between the commit and the routes"
	later   = "later"
)

// TestTortureKill kills commands at random moments, while the journal that they
// read is written and rotated. After each one the state must be what the model
// is after a part of what the command had to do, and at least after all that an
// earlier one said it did; no route may be without a ban.
func TestTortureKill(t *testing.T) {
	needRemote(t)
	private(t)
	binary := build(t)
	pace := map[string]time.Duration{}
	torture.Run(t, torture.Row{
		Title: "SIGKILL at random moments of block, expire, ban, unban and restore",
		Goal:  "10,000 kills, 0 violations, 90 % with progress",
		Short: 8, Full: 10_000 / killsPerRound,
		Figure: func(y torture.Tally) string {
			kills := y.Counts["kills"]
			return fmt.Sprintf("%d kills (%d before the commit, %d between it and the routes, %d later), progress in %s",
				kills, y.Counts[before], y.Counts[between], y.Counts[later], percent(y.Counts["progress"], kills))
		},
		Check: func(y torture.Tally) error {
			percent := 90
			if y.Rounds < 100 { // chance weighs more, and a busy machine
				percent = 75
			}
			return tooFew(y, "progress", y.Counts["kills"]*percent/100)
		},
	}, func(r *torture.Round) error {
		s := newStory(t, r, binary, 12)
		defer s.close()
		s.pace = pace
		return s.killing()
	})
}

// killing is a round.
func (s *story) killing() error {
	if err := s.open(); err != nil {
		return err
	}
	for kills := 0; kills < killsPerRound; {
		if s.Rand.IntN(6) == 0 {
			if err := s.rotate(); err != nil {
				return err
			}
		}
		s.moved = false
		killed, err := s.cut(s.draw())
		if err == nil && s.Rand.IntN(16) > 0 {
			err = s.whole(s.block())
		}
		if err != nil {
			return fmt.Errorf("after %d kills: %w", kills, err)
		}
		if killed {
			kills++
			s.Count("kills", 1)
		}
		if killed && s.moved {
			s.Count("progress", 1)
		}
	}
	return s.finish()
}

// cut starts a command, has more logged meanwhile, and kills it at some moment.
func (s *story) cut(o order) (killed bool, err error) {
	if err := s.log(1 + s.Rand.IntN(8)); err != nil {
		return false, err
	}
	cmd := s.command(o.now, o.args...)
	moment := s.Rand.Float64() * 1.1
	if s.Rand.IntN(2) == 0 { // most of the time nothing has been changed yet
		moment = 0.6 + s.Rand.Float64()/2
	}
	more := s.Rand.IntN(8)
	if err := cmd.Start(); err != nil {
		return false, err
	}
	begin := time.Now()
	if err := s.log(more); err != nil {
		return false, err
	}
	time.Sleep(time.Duration(moment*float64(s.expected(o.args[0]))) - time.Since(begin))
	cmd.Process.Kill() // fails if it has ended already
	cmd.Wait()
	killed = cmd.status() == -1
	if killed && cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || !killed && cmd.status() != 0 {
		return false, cmd.fail("not by our hand")
	}
	stage, err := s.check(o, killed)
	if err != nil {
		return killed, cmd.fail("%w", err)
	}
	if killed {
		s.Count(stage, 1)
	}
	return killed, nil
}
