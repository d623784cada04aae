package integration

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"testing"

	"smtpban/integration/torture"
)

// TestTortureReboots turns a Debian 12 and a Debian 13 off and on, again and again,
// with more clients banned each time, while banned and unbanned ones hammer at it.
// The story does it once.
func TestTortureReboots(t *testing.T) {
	needFull(t)
	stories := map[string]*story{}
	torture.Run(t, torture.Row{
		Title: "reboots of the real system, Debian 12 and 13",
		Goal:  "20 of each, counts equal, 0 connections of banned clients",
		Full:  40,
		Figure: func(y torture.Tally) string {
			return fmt.Sprintf("%d reboots of Debian 12, %d of Debian 13, up to %.0f bans, counts equal, 0 connections of banned clients",
				y.Counts["bookworm"], y.Counts["trixie"], y.Worst["bans"])
		},
	}, func(r *torture.Round) error {
		suite := []string{"bookworm", "trixie"}[r.N%2]
		s := stories[suite]
		if s == nil {
			s = &story{system: newSystem(t, suite), refused: map[string]int{}, letIn: []netip.Addr{friend, friend6}}
			stories[suite] = s
			s.installed(t)
			s.run(t, "systemctl", "enable", "--now", "smtpban-block.timer")
		}
		// A subtest of its own: what is wrong is a violation, and the next
		// round follows.
		if !t.Run(fmt.Sprintf("%d", r.N), func(t *testing.T) { s.attackedAndRebooted(t, r.N) }) {
			return errors.New("see above")
		}
		r.Count(suite, 1)
		r.Worst("bans", float64(len(s.shutOut)))
		return nil
	})
}

// attackedAndRebooted is a round: three more clients of IPv4 and one of IPv6 are
// banned, and the system goes off and on.
func (s *story) attackedAndRebooted(t *testing.T, round int) {
	defer dumpJournal(t, s.system)
	var sessions []session
	for i := range 3 {
		n := 1 + round/2*3 + i
		sessions = append(sessions, session{netip.AddrFrom4([4]byte{203, 0, 113, byte(n)}), smtpPort, guesses(maxRetry+i, n)})
	}
	network := round/2 + 1
	sessions = append(sessions, session{netip.MustParseAddr(fmt.Sprintf("2001:db8:bad:%x::1", network)), submissionPort, guesses(maxRetry, round)})
	maps.Copy(s.refused, s.net.attack(t, sessions))
	for _, each := range sessions {
		s.shutOut = append(s.shutOut, each.from)
	}
	s.run(t, "journalctl", "--sync")
	s.run(t, "smtpban", "block")
	s.checkReport(t)
	s.checkBans(t)
	before := maps.Clone(s.refused)
	s.reboot(t)
	same(t, "failures before and after the reboot", before, s.refused)
	s.checkReport(t)
}
