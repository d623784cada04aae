package torture_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"smtpban/integration/torture"
)

// story is a machine on which commands are run, and the model of what comes of
// it.
type story struct {
	*torture.Round
	*machine
	*writer
	t      *testing.T
	model  model // what the state must be
	routes []netip.Prefix
	pace   map[string]time.Duration // how long each verb takes
	moved  bool                     // something was committed since this was last set to false
}

// newStory begins one with so many clients.
func newStory(t *testing.T, r *torture.Round, binary string, clients int) *story {
	t.Helper()
	m := newMachine(t, binary, r.Dir(t))
	return &story{
		t: t, Round: r, machine: m, writer: newWriter(m.journal(), r.Rand, clients), model: newModel(),
		pace: map[string]time.Duration{},
	}
}

// open begins the journal. One that is still empty would be an error.
func (s *story) open() error { return errors.Join(s.start(), s.log(1), s.stop(), s.start()) }

func (s *story) close() {
	s.writer.kill()
	s.table.Close()
}

// order is a command, and what it makes of a state.
type order struct {
	args     []string
	now      time.Time
	outcomes func(folded int) []model // in the order in which they are reached; the last one is the end
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

func (s *story) block() order { return s.blockAt(s.now()) }

func (s *story) blockAt(now time.Time) order {
	return order{[]string{"block"}, now, func(folded int) []model {
		read := s.model.fold(s.failures[s.model.Events:folded])
		return []model{read, read.expire(now)} // what was over may be ended after the commit of what was read
	}}
}

func (s *story) expire() order {
	now := s.now()
	return order{[]string{"expire"}, now, func(int) []model { return []model{s.model, s.model.expire(now)} }}
}

func (s *story) ban(client netip.Prefix) order {
	return s.sentence(client, time.Duration(30+s.Rand.IntN(300))*time.Second)
}

func (s *story) sentence(client netip.Prefix, length time.Duration) order {
	now := s.now()
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

// restore follows a reboot, which has left no route, or somebody's doubt.
func (s *story) restore() order {
	if s.Rand.IntN(2) == 0 {
		s.clearRoutes(s.t)
		s.routes = nil
	}
	return order{[]string{"restore"}, s.now(), func(int) []model { return []model{s.model} }}
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
// one that was not killed must have reached the end. A killed one may have ended
// some of the bans whose time is over. It says how far that one came: before its
// commit, between that and the routes, or later.
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
	reached := slices.IndexFunc(outcomes, func(m model) bool {
		return same(m.state(), got) || killed && same(m.expire(o.now).state(), got.expired(o.now))
	})
	if reached < 0 {
		return "", fmt.Errorf("the state is no outcome of it (-want +got):\n%s", cmp.Diff(outcomes[len(outcomes)-1].state(), got, exact()...))
	}
	moved := !same(s.model.state(), got)
	s.moved = s.moved || moved
	s.model = outcomes[reached]
	s.model.Bans, s.model.Ended = got.Bans, got.Ended
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
