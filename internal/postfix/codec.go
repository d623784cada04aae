package postfix

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Keys and sessions are stored by whoever keeps them; only here it is known what
// the bytes mean.

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
	client, identifier := b[1:1+int(b[0])], b[1+int(b[0]):]
	if k.Client, err = decodeClient(client); err != nil {
		return Key{}, err
	}
	k.PID, k.Identifier = int(pid), string(identifier)
	return k, nil
}

func decodeClient(b []byte) (a netip.AddrPort, err error) { return a, a.UnmarshalBinary(b) }

const sessionVersion = 1

func (s *Session) encode() []byte {
	b := []byte{sessionVersion}
	b = binary.AppendVarint(b, s.Last.UnixMicro())
	b = binary.AppendUvarint(b, uint64(s.Told))
	b = binary.AppendUvarint(b, s.Seen)
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
	s := &Session{Last: d.time(), Told: int(d.uint()), Seen: d.uint()}
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
