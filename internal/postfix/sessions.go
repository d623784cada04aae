package postfix

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

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
	s.changed[key] = true
}

// makeRoom forgets a quarter of the sessions, those in which nothing has
// happened for longest.
func (s *Sessions) makeRoom() {
	keys := slices.SortedFunc(maps.Keys(s.open), func(a, b Key) int {
		return cmp.Or(s.open[a].Last.Compare(s.open[b].Last), bytes.Compare(a.encode(), b.encode()))
	})
	for _, key := range keys[:maxSessions/4] {
		s.close(key)
	}
}

// Forget drops the sessions whose end must have been lost, judged at now.
func (s *Sessions) Forget(now time.Time) {
	for key, session := range s.open {
		if now.Sub(session.Last) > maxAge {
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
		session := s.open[key]
		switch {
		case session != nil:
			changes = append(changes, Change{key.encode(), session.encode()})
			s.stored[key] = true
		case s.stored[key]:
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

var errCut = errors.New("damaged value")

func (k Key) encode() []byte {
	b := append([]byte(nil), k.Boot[:]...)
	b = binary.AppendUvarint(b, uint64(k.PID))
	client, _ := k.Client.MarshalBinary() // never fails
	b = append(b, byte(len(client)))
	b = append(b, client...)
	return append(b, k.Identifier...)
}

func decodeKey(b []byte) (k Key, err error) {
	n := copy(k.Boot[:], b)
	b = b[n:]
	pid, n := binary.Uvarint(b)
	if n <= 0 || pid > 1<<31 {
		return Key{}, errCut
	}
	b = b[n:]
	if len(b) == 0 || len(b) <= int(b[0]) {
		return Key{}, errCut
	}
	k.PID = int(pid)
	if k.Client, err = decodeClient(b[1 : 1+b[0]]); err != nil {
		return Key{}, err
	}
	k.Identifier = string(b[1+b[0]:])
	return k, nil
}

func decodeClient(b []byte) (a netip.AddrPort, err error) { return a, a.UnmarshalBinary(b) }

const sessionVersion = 1

func (s *Session) encode() []byte {
	b := []byte{sessionVersion}
	b = binary.AppendVarint(b, s.Last.UnixMicro())
	b = binary.AppendUvarint(b, uint64(s.Told))
	b = binary.AppendUvarint(b, s.Counted)
	lost := int64(0)
	if !s.LostAuth.IsZero() {
		lost = s.LostAuth.UnixMicro()
	}
	b = binary.AppendVarint(b, lost)
	b = append(b, 0)
	if s.Outage {
		b[len(b)-1] = 1
	}
	b = binary.AppendUvarint(b, uint64(len(s.Guesses)))
	for _, g := range s.Guesses {
		b = appendText(b, g.User)
		b = binary.AppendVarint(b, g.Time.UnixMicro())
		b = binary.AppendUvarint(b, uint64(len(g.Mechanisms)))
		for _, m := range g.Mechanisms {
			b = appendText(b, m)
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func decodeSession(b []byte) (*Session, error) {
	if len(b) == 0 {
		return nil, errCut
	}
	if b[0] != sessionVersion {
		return nil, fmt.Errorf("unknown version %d", b[0])
	}
	d := decoder{rest: b[1:]}
	s := &Session{Last: d.time(), Told: int(d.uint()), Counted: d.uint()}
	if lost := d.time(); !lost.Equal(time.UnixMicro(0)) {
		s.LostAuth = lost
	}
	s.Outage = d.uint() == 1
	for n := d.count(); n > 0; n-- {
		g := Guess{User: d.text(), Time: d.time()}
		for m := d.count(); m > 0; m-- {
			g.Mechanisms = append(g.Mechanisms, d.text())
		}
		s.Guesses = append(s.Guesses, g)
	}
	if d.bad || len(d.rest) > 0 {
		return nil, errCut
	}
	return s, nil
}

// decoder reads what encode wrote. After a failure everything reads as zero.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) skip(n int) {
	if n <= 0 {
		d.bad, d.rest = true, nil
		return
	}
	d.rest = d.rest[n:]
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.rest)
	d.skip(n)
	return v
}

func (d *decoder) time() time.Time {
	v, n := binary.Varint(d.rest)
	d.skip(n)
	return time.UnixMicro(v).UTC()
}

// count reads the length of a list whose elements take at least a byte each.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.rest)) {
		d.bad, d.rest = true, nil
		return 0
	}
	return int(n)
}

func (d *decoder) text() string {
	n := d.count()
	text := string(d.rest[:n])
	d.rest = d.rest[n:]
	return text
}
