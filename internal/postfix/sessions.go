package postfix

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Sessions folds lines into findings. What a session has told already does not
// count again: one attempt, one event. The zero value is not ready for use.
type Sessions struct {
	open    map[Key]*Session
	stored  map[Key]bool
	changed map[Key]bool // since the last call of Changes
}

// NewSessions starts with no session open.
func NewSessions() *Sessions {
	return &Sessions{open: map[Key]*Session{}, stored: map[Key]bool{}, changed: map[Key]bool{}}
}

// find returns an open session, nil if there is none, or one so old that its
// end must have been lost.
func (s *Sessions) find(key Key, now time.Time) *Session {
	if len(s.open) == 0 {
		return nil
	}
	session := s.open[key]
	if session != nil && now.Sub(session.Last).Abs() > maxAge {
		s.close(key)
		return nil
	}
	return session
}

// touch returns a session that is to be remembered.
func (s *Sessions) touch(key Key, now time.Time) *Session {
	session := s.find(key, now)
	if session == nil {
		if len(s.open) == maxSessions {
			s.makeRoom()
		}
		session = &Session{}
		s.open[key] = session
	}
	session.Last = now
	s.changed[key] = true
	return session
}

func (s *Sessions) close(key Key) {
	if len(s.open) == 0 || s.open[key] == nil {
		return
	}
	delete(s.open, key)
	if s.stored[key] {
		s.changed[key] = true
	} else {
		delete(s.changed, key) // it came and went
	}
}

// makeRoom forgets a quarter of the sessions, those in which nothing has
// happened for longest.
func (s *Sessions) makeRoom() {
	keys := slices.SortedFunc(maps.Keys(s.open), func(a, b Key) int {
		if by := s.open[a].Last.Compare(s.open[b].Last); by != 0 {
			return by
		}
		return bytes.Compare(a.encode(), b.encode())
	})
	for _, key := range keys[:maxSessions/4] {
		s.close(key)
	}
}

// Forget drops the sessions whose end must have been lost, judged at now.
func (s *Sessions) Forget(now time.Time) {
	for key, session := range s.open {
		if now.Sub(session.Last).Abs() > maxAge {
			s.close(key)
		}
	}
}

// Change is what became of a session: its value under a key, or nil if it is
// over.
type Change struct{ Key, Value []byte }

// Changes returns what has changed since the last call, and since Restore, in
// order of the keys.
func (s *Sessions) Changes() []Change {
	var changes []Change
	for key := range s.changed {
		if session := s.open[key]; session != nil {
			changes = append(changes, Change{key.encode(), session.encode()})
			s.stored[key] = true
		} else {
			changes = append(changes, Change{key.encode(), nil})
			delete(s.stored, key)
		}
	}
	clear(s.changed)
	slices.SortFunc(changes, func(a, b Change) int { return bytes.Compare(a.Key, b.Key) })
	return changes
}

// Restore opens a session as an earlier Change left it.
func (s *Sessions) Restore(c Change) error {
	key, err := decodeKey(c.Key)
	if err != nil {
		return fmt.Errorf("key %x of a session: %w", c.Key, err)
	}
	session, err := decodeSession(c.Value)
	if err != nil {
		return fmt.Errorf("session of %s[%d] with %s: %w", key.Identifier, key.PID, key.Client, err)
	}
	s.open[key], s.stored[key] = session, true
	return nil
}
