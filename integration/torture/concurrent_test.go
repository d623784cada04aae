package torture_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/integration/torture"
	"smtpban/internal/store"
)

const (
	crowdSize  = 50
	exitLocked = 75
)

// TestTortureConcurrent starts many commands at once on one state, in every fourth
// round on none yet. Whatever one of them says it did must be there afterwards,
// and nothing twice. Now and then somebody holds the lock for longer than they
// wait: then all that write give up, and those that look do not care.
func TestTortureConcurrent(t *testing.T) {
	needRemote(t)
	private(t)
	binary := build(t)
	torture.Run(t, torture.Row{
		Title: "50 processes at once: block, ban, unban, expire, list, report",
		Goal:  "1,000 rounds, 0 lost updates",
		Short: 8, Full: 1000,
		Figure: func(y torture.Tally) string {
			return fmt.Sprintf("%d rounds, %d updates said to be done were, %d gave up with status 75, the longest took %.1f s",
				y.Rounds, y.Counts["updates"], y.Counts["locked"], y.Worst["wait"])
		},
		Check: func(y torture.Tally) error { return tooFew(y, "locked", 1) },
	}, func(r *torture.Round) error {
		c := &crowd{story: newStory(t, r, binary, 12)}
		defer c.close()
		return c.meet(r.N%4 == 0, r.N%100 == 3)
	})
}

// crowd is a round: commands that all start at once.
type crowd struct {
	*story
	at      time.Time
	members []member
}

// member is one of the commands, and what it makes of a state if it says that it
// succeeded; nil for one that only looks.
type member struct {
	args []string
	does func(model) model
}

// meet is a round. The commands meet a state unless it is to be made by one of
// them; if it is held they can't do anything.
func (c *crowd) meet(fresh, held bool) error {
	if err := c.open(); err != nil {
		return err
	}
	if !fresh {
		if err := c.before(); err != nil {
			return err
		}
	}
	if err := c.log(40); err != nil {
		return err
	}
	if err := c.stop(); err != nil { // all must be there for all of them
		return err
	}
	c.at = c.now()
	c.gather()
	if held {
		unlock, err := store.New(c.state()).Lock(0)
		if err != nil {
			return err
		}
		defer unlock()
	}
	return c.rush(held)
}

// before makes bans of an earlier time, some of which are over when the crowd
// comes.
func (c *crowd) before() error {
	now := c.now()
	for i := range 10 {
		length := time.Second
		if i%2 == 0 {
			length = time.Hour
		}
		m := c.banFor(nthOther(i), now, length)
		if err := c.command(now, m.args...).succeed(); err != nil {
			return err
		}
		c.model = m.does(c.model).expire(now)
	}
	return c.whole(c.block())
}

// nthOther returns the i-th prefix of those that are not in the log.
func nthOther(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(100 + i)}), 32)
}

func (c *crowd) banFor(client netip.Prefix, now time.Time, length time.Duration) member {
	return member{
		[]string{"ban", client.String(), "--for", fmt.Sprintf("%ds", int(length.Seconds()))},
		func(m model) model { return m.ban(client, now, length) },
	}
}

// gather draws the commands, in the order in which they start.
func (c *crowd) gather() {
	expire := func(m model) model { return m.expire(c.at) }
	for i := range crowdSize {
		var m member
		switch {
		case i < 12:
			m = member{[]string{"block"}, func(m model) model { return m.fold(c.failures[m.Events:]).expire(c.at) }}
		case i < 24:
			m = c.banFor(nthOther(i), c.at, time.Duration(60+i)*time.Second)
		case i < 29: // all the same client
			m = c.banFor(nthOther(50), c.at, time.Duration(60+c.Rand.IntN(600))*time.Second)
		case i < 34:
			client := nthOther(2 * (i - 29))
			m = member{[]string{"unban", client.String()}, func(m model) model { return m.unban(client, c.at) }}
		case i < 39:
			m = member{[]string{"expire"}, expire}
		case i < 45:
			m = member{[]string{"list"}, nil}
		default:
			m = member{[]string{"report"}, nil}
		}
		c.members = append(c.members, m)
	}
	c.Rand.Shuffle(len(c.members), func(i, j int) { c.members[i], c.members[j] = c.members[j], c.members[i] })
}

// rush starts them all, and compares what they leave with what they say they did.
func (c *crowd) rush(held bool) error {
	runs := make([]*run, len(c.members))
	begin := time.Now()
	for i, m := range c.members {
		runs[i] = c.command(c.at, m.args...)
		if err := runs[i].Start(); err != nil {
			return err
		}
	}
	for _, r := range runs {
		r.Wait()
	}
	c.Worst("wait", time.Since(begin).Seconds())
	want := c.model
	for i, m := range c.members {
		switch status := runs[i].status(); {
		case status == exitLocked && m.does != nil:
			c.Count("locked", 1)
		case status != 0:
			return runs[i].fail("neither done nor locked")
		case m.does != nil && held:
			return runs[i].fail("done although the state was locked")
		case m.does != nil:
			want = m.does(want)
			c.Count("updates", 1)
		}
	}
	return c.compare(want)
}

func (c *crowd) compare(want model) error {
	got, err := c.read()
	if err != nil {
		return err
	}
	sortEnded(got.Ended)
	if diff := cmp.Diff(want.state(), got, exact()...); diff != "" {
		return fmt.Errorf("the state differs from what the commands said they did (-want +got):\n%s", diff)
	}
	if blocked, have := got.blocked(c.at), c.machine.routes(c.t); !slices.Equal(blocked, have) {
		return fmt.Errorf("banned are %v, blocked %v", blocked, have)
	}
	return nil
}
