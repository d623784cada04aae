package postfix

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
)

// step is what a line means to its session.
type step int

const (
	stepNone       step = iota // no more than the offence it tells of, if any
	stepApart                  // it is written before the session begins
	stepOpens                  // the client has come
	stepCloses                 // it has gone
	stepGuess                  // its password was refused, or could not be looked at
	stepLostInAUTH             // it went during AUTH: the end of the session says more
	stepRefusal                // a command was refused, for whatever reason
	stepOutage                 // saslauthd does not answer; the next line names the client
)

// classes is a set of classes. Class 0 stands for refusals that are no offence.
type classes uint64

const every = ^classes(0)

func of(c ban.Class) classes { return 1 << c }

// Bounds of what is remembered of sessions.
const (
	maxSessions = 4096
	maxAge      = 24 * time.Hour // since the last line that mattered
	maxGuesses  = 8              // user names of a session
)

// sameGuess is how long a mail program may take to try one password by all the
// mechanisms that it knows.
const sameGuess = 10 * time.Second

// Key tells the session of a line. One smtpd serves one client at a time, but
// one postscreen many; the port of a client tells its connections apart, where
// it is logged. Without a client the key stands for the process.
type Key struct {
	Boot       journal.Boot
	Identifier string
	PID        int
	Client     netip.AddrPort
}

// Session is what must be remembered of an SMTP session until it ends. Most
// sessions leave nothing to remember.
type Session struct {
	Last     time.Time // of its last line that mattered
	Told     int       // AUTH commands that failed, of which lines told
	Seen     uint64    // classes of which lines told, bit by bit, whether they have points or not
	LostAuth time.Time // when the connection was lost in AUTH; zero if it was not
	Outage   bool      // saslauthd did not answer, see step
	Guesses  []Guess   // the latest first
}

// Guess is a password that was tried, perhaps by several mechanisms.
type Guess struct {
	User       string
	Time       time.Time
	Mechanisms []string // in capitals
}

// repeats reports whether the same user was tried by other mechanisms just now:
// a mail program goes through all of them with one wrong password. A name that
// is too long to be kept whole is never the same.
func (s *Session) repeats(l Line, now time.Time) bool {
	if l.User == "" || len(l.User) > maxText {
		return false
	}
	mechanism := strings.ToUpper(clip(l.mechanism))
	at := slices.IndexFunc(s.Guesses, func(g Guess) bool { return g.User == l.User })
	if at >= 0 {
		g := &s.Guesses[at]
		if now.Sub(g.Time).Abs() <= sameGuess && !slices.Contains(g.Mechanisms, mechanism) {
			g.Mechanisms = append(g.Mechanisms, mechanism)
			return true
		}
		s.Guesses = slices.Delete(s.Guesses, at, at+1)
	}
	fresh := Guess{User: strings.Clone(l.User), Time: now, Mechanisms: []string{mechanism}}
	s.Guesses = slices.Insert(s.Guesses, 0, fresh)
	s.Guesses = s.Guesses[:min(len(s.Guesses), maxGuesses)]
	return false
}
