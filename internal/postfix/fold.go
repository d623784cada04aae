package postfix

import (
	"net/netip"
	"strings"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
)

// Finding is what a line means after all lines before it.
type Finding struct {
	Event  ban.Event // with a Class of 0 if there is none
	Times  int       // how often the event happened; 0 if its session has told of it already
	Reason string    // why there is no event, or it did not happen anew, or only now

	// Fault is when the line was written, if it tells that the authentication
	// server does not answer, otherwise zero.
	Fault time.Time
}

// Why a line that has a class tells nothing new.
const (
	isOutcome   = "the outcome of what this session has told already"
	isRepeated  = "the same user by another mechanism, which this session has told already"
	isAccounted = "lines of this session have told of its AUTH commands"
	isEndOfAUTH = "the end of an attempt of which a line has told"
	isPending   = "counts at the session's end, if nothing else tells of the attempt"
	isForLost   = "nothing else has told of the connection that was lost in AUTH"
	isStray     = "without a process id it is not known what else its session told"
)

// Add folds the line that was parsed from an entry.
func (s *Sessions) Add(e journal.Entry, l Line) Finding {
	f := Finding{Reason: l.Reason}
	if l.Class != 0 {
		f.Event, f.Times = event(e, l), 1
	}
	if l.dead {
		f.Fault = e.Time
	}
	if l.rule == nil {
		return f
	}
	if e.PID == 0 {
		if l.Class != 0 && (l.Class == ban.AuthUnlogged || l.rule.step == stepLostInAUTH) {
			f.Times, f.Reason = 0, isStray
		}
		return f
	}
	key := Key{e.Boot, e.Identifier, e.PID, netip.AddrPortFrom(l.Address, l.Port)}
	switch l.rule.step {
	case stepOpens:
		s.close(key)
		s.close(key.process())
	case stepOutage:
		s.touch(key.process(), e.Time).Outage = true
	case stepCloses:
		s.end(key, e.Time, l, &f)
	case stepGuess:
		s.guess(key, e.Time, l, &f)
	case stepLostInAUTH:
		s.lost(key, e.Time, l, &f)
	case stepRefusal:
		s.offence(key, e.Time, l, &f)
	case stepNone:
		if l.Class != 0 && l.Class != ban.Login {
			s.offence(key, e.Time, l, &f)
		}
	case stepApart:
	}
	return f
}

// event makes its own copies of the names, so that it does not keep the whole
// line in memory.
func event(e journal.Entry, l Line) ban.Event {
	return ban.Event{
		Time: e.Time, Boot: e.Boot, Identifier: e.Identifier, PID: e.PID,
		Service: l.Service, Class: l.Class, Address: l.Address,
		Name: strings.Clone(clipName(l.Name)), User: strings.Clone(clip(l.User)),
	}
}

// process is the key of what concerns a process, but no client yet.
func (k Key) process() Key {
	k.Client = netip.AddrPort{}
	return k
}

// offence folds a line that is no part of AUTH.
func (s *Sessions) offence(key Key, now time.Time, l Line, f *Finding) {
	if !l.Address.IsValid() {
		return
	}
	if session := s.find(key, now); session != nil && session.Seen&uint64(l.with) != 0 && l.Class != 0 {
		f.Times, f.Reason = 0, isOutcome
		return
	}
	session := s.touch(key, now)
	session.Seen |= uint64(of(l.Class))
	if l.told {
		session.Told++
	}
}

// guess folds a line about an AUTH command that failed.
func (s *Sessions) guess(key Key, now time.Time, l Line, f *Finding) {
	if !l.Address.IsValid() {
		return
	}
	session := s.touch(key, now)
	session.Told++
	session.Seen |= uint64(of(l.Class))
	outage := s.find(key.process(), now) != nil
	s.close(key.process())
	switch {
	case l.Class == 0:
	case l.generic && outage:
		*f = Finding{Reason: isServerFault, Fault: now}
	case session.repeats(l, now):
		f.Times, f.Reason = 0, isRepeated
	}
}

// lost notes that the connection was lost in AUTH. That is an attempt only if
// nothing else tells of it: lines so far, or the statistics to come.
func (s *Sessions) lost(key Key, now time.Time, l Line, f *Finding) {
	if !l.Address.IsValid() {
		return
	}
	session := s.touch(key, now)
	session.Seen |= uint64(of(l.Class))
	f.Times, f.Reason = 0, isPending
	if session.Told > 0 {
		f.Reason = isEndOfAUTH
		return
	}
	session.LostAuth = now
}

// end folds the end of a session. By the statistics, some AUTH commands failed
// of which no line told: they were refused before a password was looked at, or
// the connection was lost in them. A client that logged in after all is excused.
func (s *Sessions) end(key Key, now time.Time, l Line, f *Finding) {
	session := s.find(key, now)
	s.close(key)
	switch {
	case session == nil && l.Class == ban.AuthUnlogged:
		f.Times = l.failed
	case session == nil:
	case l.Class == ban.AuthUnlogged && l.failed > session.Told:
		f.Times = l.failed - session.Told
	case l.Class == ban.AuthUnlogged:
		f.Times, f.Reason = 0, isAccounted
	case l.Class == 0 && l.Address.IsValid() && !session.LostAuth.IsZero():
		*f = Finding{Times: 1, Reason: isForLost, Event: ban.Event{
			Time: session.LostAuth, Boot: key.Boot, Identifier: key.Identifier, PID: key.PID,
			Service: l.Service, Class: ban.LostConnectionAfterAuth, Address: l.Address, Name: strings.Clone(clipName(l.Name)),
		}}
	}
}
