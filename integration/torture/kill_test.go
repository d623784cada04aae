package torture_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

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
		Check: func(y torture.Tally) error { return tooFew(y, "progress", y.Counts["kills"]*9/10) },
	}, func(r *torture.Round) error {
		m := newMachine(t, binary, r.Dir(t))
		defer m.table.Close()
		s := &story{t: t, Round: r, machine: m, writer: newWriter(m.journal(), r.Rand, 12), model: newModel(), pace: pace}
		defer s.kill()
		return s.tell()
	})
}

// story is a round: a machine on which commands are killed.
type story struct {
	*torture.Round
	*machine
	*writer
	t      *testing.T
	model  model // what the state must be
	routes []netip.Prefix
	pace   map[string]time.Duration // how long each verb takes
	moved  bool                     // something was committed by the last killed command, or the next one
}

// order is a command, and what it makes of a state.
type order struct {
	args     []string
	now      time.Time
	outcomes func(folded int) []model // in the order in which they are reached; the last one is the end
}

func (s *story) tell() error {
	// A journal that is still empty is an error.
	if err := errors.Join(s.start(), s.log(1), s.stop(), s.start()); err != nil {
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

// finish lets a last run do its work undisturbed. Then all is as if nothing had
// ever happened, and another run changes nothing.
func (s *story) finish() error {
	if err := s.stop(); err != nil {
		return err
	}
	last := s.block()
	if err := s.whole(last); err != nil {
		return err
	}
	if missing := len(s.failures) - s.model.Events; missing != 0 {
		return fmt.Errorf("%d of %d failures were lost", missing, len(s.failures))
	}
	settled := readFile(s.t, s.state())
	if err := s.whole(last); err != nil {
		return err
	}
	if !slices.Equal(settled, readFile(s.t, s.state())) {
		return fmt.Errorf("a second run changed the state")
	}
	return nil
}

// draw chooses what to do next, after some more was logged.
func (s *story) draw() order {
	client := s.clients[s.Rand.IntN(len(s.clients))]
	switch s.Rand.IntN(12) {
	case 0:
		return s.ban(client)
	case 1:
		return s.unban(client)
	case 2:
		return s.unban(netip.Prefix{})
	case 3, 4:
		return s.expire()
	case 5:
		return s.restore()
	}
	return s.block()
}

// now returns the time of the next command, by the second.
func (s *story) now() time.Time {
	s.clock = s.clock.Add(time.Duration(1+s.Rand.IntN(20)) * time.Second).Truncate(time.Second)
	return s.clock
}

func (s *story) block() order {
	now := s.now()
	return order{[]string{"block"}, now, func(folded int) []model {
		if folded == s.model.Events {
			return []model{s.model, s.model.expire(now)}
		}
		return []model{s.model.fold(s.failures[s.model.Events:folded]).expire(now)}
	}}
}

func (s *story) expire() order {
	now := s.now()
	return order{[]string{"expire"}, now, func(int) []model { return []model{s.model, s.model.expire(now)} }}
}

func (s *story) ban(client netip.Prefix) order {
	now := s.now()
	length := time.Duration(30+s.Rand.IntN(300)) * time.Second
	return order{[]string{"ban", client.String(), "--for", fmt.Sprintf("%ds", int(length.Seconds()))}, now, func(int) []model {
		banned := s.model.ban(client, now, length)
		return []model{s.model, banned, banned.expire(now)}
	}}
}

func (s *story) unban(client netip.Prefix) order {
	now := s.now()
	args := []string{"unban", client.String()}
	if !client.IsValid() {
		args[1] = "--all"
	}
	return order{args, now, func(int) []model {
		freed := s.model.unban(client, now)
		return []model{s.model, freed, freed.expire(now)}
	}}
}

func (s *story) restore() order {
	return order{[]string{"restore"}, s.now(), func(int) []model { return []model{s.model} }}
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

// expected returns about how long a verb takes.
func (s *story) expected(verb string) time.Duration {
	if d, ok := s.pace[verb]; ok {
		return d
	}
	if d, ok := s.pace["block"]; ok {
		return d
	}
	return 15 * time.Millisecond
}

// whole runs a command to its end.
func (s *story) whole(o order) error {
	cmd := s.command(o.now, o.args...)
	begin := time.Now()
	if err := cmd.succeed(); err != nil {
		return err
	}
	took := time.Since(begin)
	s.pace[o.args[0]] = (3*s.expected(o.args[0]) + took) / 4
	s.Worst("ms", float64(took.Milliseconds()))
	if _, err := s.check(o, false); err != nil {
		return cmd.fail("%w", err)
	}
	return nil
}

// check compares state and routes with what the command may have left, of which
// one that was not killed must have reached the end. It says how far a killed one
// came: before its commit, between that and the routes, or later.
func (s *story) check(o order, killed bool) (stage string, err error) {
	got, err := s.read()
	if err != nil {
		return "", err
	}
	sortEnded(got.Ended)
	if got.Events < s.model.Events || got.Events > len(s.failures) {
		return "", fmt.Errorf("%d failures are in the state, of %d logged, and %d were before", got.Events, len(s.failures), s.model.Events)
	}
	outcomes := o.outcomes(got.Events)
	if !killed {
		outcomes = outcomes[len(outcomes)-1:]
	}
	reached := slices.IndexFunc(outcomes, func(m model) bool { return same(m.state(), got) })
	if reached < 0 {
		return "", fmt.Errorf("the state is no outcome of it (-want +got):\n%s", cmp.Diff(outcomes[len(outcomes)-1].state(), got, exact()...))
	}
	moved := !same(s.model.state(), got)
	s.moved = s.moved || moved
	s.model = outcomes[reached]
	have := s.machine.routes(s.t)
	err = s.checkRoutes(got.blocked(o.now), have, killed, o.args[0] == "restore")
	switch {
	case !moved:
		stage = before
	case !slices.Equal(have, got.blocked(o.now)):
		stage = between
	default:
		stage = later
	}
	s.routes = have
	return stage, err
}

// checkRoutes compares what is blocked with what should be. A killed command may
// not have added and deleted all yet; restore deletes none.
func (s *story) checkRoutes(want, have []netip.Prefix, killed, keeps bool) error {
	for _, p := range have {
		if !slices.Contains(want, p) && !slices.Contains(s.routes, p) {
			return fmt.Errorf("%s was blocked without a ban", p)
		}
	}
	for _, p := range s.routes {
		if slices.Contains(want, p) && !slices.Contains(have, p) {
			return fmt.Errorf("the route of %s, which is banned, was deleted", p)
		}
	}
	if killed {
		return nil
	}
	if keeps {
		have = slices.DeleteFunc(slices.Clone(have), func(p netip.Prefix) bool { return !slices.Contains(want, p) })
	}
	if !slices.Equal(want, have) {
		return fmt.Errorf("blocked (-want +got):\n%s", cmp.Diff(want, have, exact()...))
	}
	return nil
}

func same(a, b content) bool { return cmp.Equal(a, b, exact()...) }

// exact compares all there is.
func exact() []cmp.Option {
	return []cmp.Option{cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Prefix{})}
}
