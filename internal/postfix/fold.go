package postfix

import (
	"net/netip"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
)

// Finding is what a line means after all lines before it.
type Finding struct {
	Event  ban.Event // with a Class of 0 if there is none
	Times  int       // how often the event happened; 0 if it is the outcome of one that has counted
	Reason string    // why there is no event, or it did not happen anew
	Login  bool      // beside the event, the session had a login
}

// isOutcome is why what follows in a session from an offence is not another one.
const isOutcome = "the outcome of what this session has told already"

// Sessions folds lines into findings. What a session has told already does not
// count again: one attempt, one event.
type Sessions struct {
	weight  func(ban.Class, string) int // ban.Policy.Weight
	open    map[Key]*Session
	stored  map[Key]bool
	changed map[Key]bool // since the last call of Changes
}

// NewSessions starts with no session open. weight says how much a class counts
// at a service.
func NewSessions(weight func(c ban.Class, service string) int) *Sessions {
	return &Sessions{weight: weight, open: map[Key]*Session{}, stored: map[Key]bool{}, changed: map[Key]bool{}}
}

// Add folds the line that was parsed from an entry.
func (s *Sessions) Add(e journal.Entry, l Line) Finding {
	f := Finding{Reason: l.Reason}
	if l.Class != 0 {
		f.Event, f.Times = event(e, l), 1
	}
	if e.PID == 0 { // whose lines belong together can't be told
		if l.rule != nil && l.rule.step == closes {
			f.Times, f.Login = max(1, l.failed), l.failed > 0 && l.succeeded > 0
		}
		return f.tidy()
	}
	if l.rule == nil {
		return f
	}
	key := Key{e.Boot, e.Identifier, e.PID, netip.AddrPortFrom(l.Address, l.Port)}
	switch l.rule.step {
	case opens:
		s.close(key)
		s.close(key.process())
	case closes:
		s.end(key, e.Time, l, &f)
	case guess:
		s.guess(key, e.Time, l, &f)
	case outage:
		s.touch(key.process(), e.Time).Outage = true
	case lostInAuth:
		s.lost(key, e.Time, &f)
	default:
		s.offence(key, e.Time, l, &f)
	}
	return f.tidy()
}

// tidy leaves no event that did not happen.
func (f Finding) tidy() Finding {
	if f.Event.Class == 0 {
		f.Times = 0
	}
	return f
}

func event(e journal.Entry, l Line) ban.Event {
	return ban.Event{
		Time: e.Time, Boot: e.Boot, Identifier: e.Identifier, PID: e.PID,
		Service: l.Service, Class: l.Class, Address: l.Address, Name: clip(l.Name), User: clip(l.User),
	}
}

// process is the key of what concerns a process, but no client yet.
func (k Key) process() Key {
	k.Client = netip.AddrPort{}
	return k
}

// offence folds a line that is no part of AUTH.
func (s *Sessions) offence(key Key, now time.Time, l Line, f *Finding) {
	if l.Class == 0 && !l.told || !l.Address.IsValid() {
		return
	}
	session := s.find(key, now)
	if session != nil && (session.Counted&uint64(l.with) != 0 || session.Tested && l.rule.step == refused) {
		f.Times, f.Reason = 0, isOutcome
		return
	}
	if l.rule.step == tested {
		s.touch(key, now).Tested = true
	}
	if l.told {
		s.touch(key, now).Told++
	}
	s.count(key, now, l, f)
}

// count remembers that an offence counts, if it does.
func (s *Sessions) count(key Key, now time.Time, l Line, f *Finding) {
	if l.Class != ban.Login && s.weight(l.Class, l.Service) > 0 {
		s.touch(key, now).Counted |= uint64(of(l.Class))
	}
}

// guess folds a line about an AUTH command that failed.
func (s *Sessions) guess(key Key, now time.Time, l Line, f *Finding) {
	if !l.Address.IsValid() {
		return
	}
	session := s.touch(key, now)
	session.Told++
	down := s.find(key.process(), now)
	if down != nil {
		s.close(key.process())
	}
	switch {
	case l.Class == 0:
	case l.generic && down != nil:
		f.Event, f.Reason = ban.Event{}, isServerFault
	case session.repeats(l, now):
		f.Times, f.Reason = 0, "the same user by another mechanism, which has counted in this session"
	default:
		s.count(key, now, l, f)
	}
}

// lost notes that the connection was lost in AUTH. That is an attempt only if
// nothing else tells of it: lines so far, or the statistics to come.
func (s *Sessions) lost(key Key, now time.Time, f *Finding) {
	if !key.Client.Addr().IsValid() {
		return
	}
	session := s.touch(key, now)
	f.Times, f.Reason = 0, "counts at the session's end, if nothing else tells of the attempt"
	if session.Told > 0 {
		f.Reason = "the end of an attempt of which a line has told"
		return
	}
	session.LostAuth = now
}

// end folds the end of a session. By the statistics, some AUTH commands failed
// of which no line told: they were refused before a password was looked at, or
// the connection was lost in them.
func (s *Sessions) end(key Key, now time.Time, l Line, f *Finding) {
	session := s.find(key, now)
	if session == nil {
		session = &Session{}
	}
	s.close(key)
	if !l.Address.IsValid() {
		return
	}
	unlogged := l.failed - session.Told
	switch {
	case l.failed > 0 && unlogged > 0:
		f.Times = unlogged
		f.Login = l.succeeded > 0
	case l.failed > 0 && l.succeeded > 0:
		f.Event.Class = ban.Login
	case l.failed > 0:
		f.Times, f.Reason = 0, "lines of this session have told of its AUTH commands"
	case l.succeeded == 0 && !session.LostAuth.IsZero():
		f.Event = ban.Event{
			Time: session.LostAuth, Boot: key.Boot, Identifier: key.Identifier, PID: key.PID,
			Service: l.Service, Class: ban.LostConnectionAfterAuth, Address: l.Address, Name: clip(l.Name),
		}
		f.Times, f.Reason = 1, ""
	}
}
