package torture_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"smtpban/integration/torture"
	"smtpban/internal/store/storetest"
)

// damagesPerRound is how often a story comes to the same point.
const damagesPerRound = 5

// TestTortureDamage damages the state, at times its snapshot as well, and runs the
// program, at times killing it first. It must either find all as it was or say what is wrong, keep the damaged
// file, leave blocked who was, and count every failure in the journal once.
// What the package makes of a damaged file is tested there.
func TestTortureDamage(t *testing.T) {
	needRemote(t)
	private(t)
	binary := build(t)
	torture.Run(t, torture.Row{
		Title: "random damage of the state, at times of its snapshot, too",
		Goal:  "1,000, no panic escapes, no silent reset",
		Short: 12, Full: 1000 / damagesPerRound,
		Figure: func(y torture.Tally) string {
			return fmt.Sprintf("%d damages: %d without effect; the last commits mended %d, the snapshot %d, the journal alone %d, a run that was killed %d",
				y.Counts["damages"], y.Counts["harmless"], y.Counts["commit"], y.Counts["snapshot"], y.Counts["nothing"], y.Counts["by the killed"])
		},
	}, func(r *torture.Round) error {
		p := &patient{story: newStory(t, r, binary, 30)}
		defer p.close()
		if err := p.fallIll(false); err != nil {
			return err
		}
		p.order = p.block()
		for range damagesPerRound {
			if err := errors.Join(p.again(), p.hurt()); err != nil {
				return err
			}
		}
		return nil
	})
}

// hurt damages the state, and looks what becomes of that.
func (p *patient) hurt() error {
	name := p.damage(p.state())
	if p.Rand.IntN(3) == 0 && p.files["smtpban.db.snapshot"] != nil {
		name += ", and its snapshot " + p.damage(p.state()+".snapshot")
	}
	p.Count("damages", 1)
	damaged := readFile(p.t, p.state())
	killed := p.Rand.IntN(3) == 0
	if killed {
		name += ", and a run killed"
		if err := p.killed(); err != nil {
			return err
		}
	}
	cmd := p.command(p.order.now, p.order.args...)
	cmd.Run()
	err := p.treated(cmd, damaged, killed)
	if err != nil {
		return cmd.fail("%s: %w", name, err)
	}
	again := p.command(p.order.now, "block")
	if err := again.succeed(); err != nil {
		return fmt.Errorf("%s: the run after it: %w", name, err)
	}
	return p.command(p.order.now, "list").succeed()
}

// killed kills the command while it may be mending the state.
func (p *patient) killed() error {
	cmd := p.command(p.order.now, p.order.args...)
	moment := time.Duration(p.Rand.Float64() * float64(p.expected("block")))
	if err := cmd.Start(); err != nil {
		return err
	}
	time.Sleep(moment)
	cmd.Process.Kill() // fails if it has ended already
	cmd.Wait()
	return nil
}

// damage damages a file in some way, which it returns.
func (p *patient) damage(path string) string {
	all := storetest.Damages()
	how := all[p.Rand.IntN(len(all))]
	if err := os.WriteFile(path, how.Do(p.Rand, readFile(p.t, path)), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return how.Name
}

// treated looks at what the command did about the damage, or the one that was
// killed before it, which may not have come to say so.
func (p *patient) treated(cmd *run, damaged []byte, killed bool) error {
	said := cmd.output.String()
	if strings.Contains(said, "goroutine") {
		return errors.New("it panicked")
	}
	aside, err := os.ReadFile(p.state() + ".damaged-1")
	if cmd.status() == 0 && err != nil {
		p.Count("harmless", 1)
		_, err := p.check(p.order, false)
		return err
	}
	if err != nil || !bytes.Equal(aside, damaged) {
		return fmt.Errorf("the damaged file was not kept: %w", err)
	}
	if cmd.status() != 1 && !killed {
		return errors.New("it should have failed")
	}
	got, err := p.read()
	if err != nil {
		return err
	}
	if got.Events != len(p.failures) {
		return fmt.Errorf("%d of %d failures are counted", got.Events, len(p.failures))
	}
	blocked, have := got.blocked(p.order.now), p.machine.routes(p.t)
	if !slices.Equal(blocked, have) {
		return fmt.Errorf("banned are %v, blocked %v", blocked, have)
	}
	for _, prefix := range p.had {
		b := p.well.Bans[prefix.String()]
		if b.Active(p.order.now) && !slices.Contains(have, prefix) {
			return fmt.Errorf("%s is not blocked any more", prefix)
		}
	}
	if cmd.status() == 0 {
		p.Count("by the killed", 1)
		return nil
	}
	return p.countSource(said)
}

// countSource counts what took the place of the damaged state.
func (p *patient) countSource(said string) error {
	for source, words := range map[string]string{
		"commit": "all but perhaps the last change to it was saved", "snapshot": "its snapshot of", "nothing": "there is no good snapshot",
	} {
		if strings.Contains(said, words) {
			p.Count(source, 1)
			return nil
		}
	}
	return errors.New("it does not say what it did about that")
}
