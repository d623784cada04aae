package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"
	"time"

	"smtpban/internal/ban"
)

// A stored value is a version, the fields, and a CRC-32C of both: bbolt
// checksums its meta pages, but not the data. Times are kept to the microsecond,
// which is what the journal has.

const valueVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errDamaged = damagef("damaged value")

type encoder []byte

func newEncoder() encoder { return encoder{valueVersion} }

func (e encoder) seal() []byte {
	return binary.LittleEndian.AppendUint32(e, crc32.Checksum(e, castagnoli))
}

func (e *encoder) uint(v uint64)    { *e = binary.AppendUvarint(*e, v) }
func (e *encoder) bytes(b []byte)   { *e = append(*e, b...) }
func (e *encoder) string(s string)  { e.uint(uint64(len(s))); *e = append(*e, s...) }
func (e *encoder) time(t time.Time) { *e = binary.AppendVarint(*e, t.UnixMicro()) }
func (e *encoder) bool(b bool) {
	v := uint64(0)
	if b {
		v = 1
	}
	e.uint(v)
}
func (e *encoder) addr(a netip.Addr) {
	b := a.AsSlice()
	e.uint(uint64(len(b)))
	e.bytes(b)
}

func (e *encoder) hits(hits []ban.Hit) {
	e.uint(uint64(len(hits)))
	for _, h := range hits {
		e.time(h.Time)
		e.bytes(h.Boot[:])
		e.string(h.Identifier)
		e.uint(uint64(h.PID))
		e.string(h.Service)
		e.uint(uint64(h.Class))
		e.addr(h.Address)
		e.string(h.Name)
		e.string(h.User)
		e.uint(uint64(h.Weight))
	}
}

// decoder reads back what encoder wrote. After a failure everything reads as
// zero and err is set.
type decoder struct {
	rest []byte
	err  error
}

func newDecoder(value []byte) *decoder {
	const sum = 4
	if len(value) < 1+sum {
		return &decoder{err: errDamaged}
	}
	body := value[:len(value)-sum]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(value[len(body):]) {
		return &decoder{err: errDamaged}
	}
	if body[0] != valueVersion {
		return &decoder{err: fmt.Errorf("value of unknown version %d", body[0])}
	}
	return &decoder{rest: body[1:]}
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = errDamaged
	}
	d.rest = nil
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) bool() bool {
	v := d.uint()
	if v > 1 {
		d.fail()
	}
	return v == 1
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.fail()
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) string() string { return string(d.bytes(d.uint())) }

func (d *decoder) time() time.Time {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.fail()
		return time.Time{}
	}
	d.rest = d.rest[n:]
	return time.UnixMicro(v).UTC()
}

func (d *decoder) addr() netip.Addr {
	b := d.bytes(d.uint())
	a, ok := netip.AddrFromSlice(b)
	if !ok && len(b) > 0 {
		d.fail()
	}
	return a
}

// count reads the length of a list whose elements take at least one byte each,
// so that a damaged length can't ask for more memory than the value has bytes.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.rest)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) hits() []ban.Hit {
	var hits []ban.Hit
	for n := d.count(); n > 0 && d.err == nil; n-- {
		var h ban.Hit
		h.Time = d.time()
		copy(h.Boot[:], d.bytes(uint64(len(h.Boot))))
		h.Identifier = d.string()
		h.PID = int(d.uint())
		h.Service = d.string()
		h.Class = ban.Class(d.uint())
		h.Address = d.addr()
		h.Name = d.string()
		h.User = d.string()
		h.Weight = int(d.uint())
		hits = append(hits, h)
	}
	return hits
}

// sealed makes a stored value of bytes that mean something to others only.
func sealed(b []byte) []byte {
	e := newEncoder()
	e.bytes(b)
	return e.seal()
}

// opened returns a copy of the bytes given to sealed.
func opened(value []byte) ([]byte, error) {
	d := newDecoder(value)
	return bytes.Clone(d.rest), d.err
}

func encodeTime(t time.Time) []byte {
	e := newEncoder()
	e.time(t)
	return e.seal()
}

func decodeTime(value []byte) (time.Time, error) {
	d := newDecoder(value)
	at := d.time()
	return at, d.finish()
}

// finish returns the first failure, bytes left over being one.
func (d *decoder) finish() error {
	if len(d.rest) > 0 {
		d.fail()
	}
	return d.err
}

func encodeClient(c ban.Client) []byte {
	e := newEncoder()
	e.uint(uint64(c.Failures))
	e.time(c.First)
	e.time(c.Last)
	e.time(c.LastHit)
	e.time(c.Until)
	e.time(c.Pardon)
	e.uint(uint64(len(c.Ends)))
	for _, end := range c.Ends {
		e.time(end)
	}
	e.hits(c.Hits)
	return e.seal()
}

func decodeClient(key, value []byte) (ban.Client, error) {
	prefix, err := parsePrefixKey(key[1:])
	if err != nil {
		return ban.Client{}, fmt.Errorf("key %x of a client: %w", key, err)
	}
	d := newDecoder(value)
	c := ban.Client{Prefix: prefix}
	c.Failures = int(d.uint())
	c.First = d.time()
	c.Last = d.time()
	c.LastHit = d.time()
	c.Until = d.time()
	c.Pardon = d.time()
	for n := d.count(); n > 0 && d.err == nil; n-- {
		c.Ends = append(c.Ends, d.time())
	}
	c.Hits = d.hits()
	if err := d.finish(); err != nil {
		return ban.Client{}, fmt.Errorf("client %s: %w", prefix, err)
	}
	return c, nil
}

func (e *encoder) ban(b ban.Ban) {
	e.time(b.Until)
	e.time(b.Start)
	e.uint(uint64(b.Class))
	e.uint(uint64(b.Failures))
	e.uint(uint64(b.Count))
	e.string(b.Origin)
	e.string(b.Reason)
	if b.Held { // this came later, and most are not
		e.bool(true)
	}
}

func (d *decoder) ban(prefix netip.Prefix) ban.Ban {
	b := ban.Ban{Prefix: prefix}
	b.Until = d.time()
	b.Start = d.time()
	b.Class = ban.Class(d.uint())
	b.Failures = int(d.uint())
	b.Count = int(d.uint())
	b.Origin = d.string()
	b.Reason = d.string()
	if len(d.rest) > 0 {
		if b.Held = d.bool(); !b.Held {
			d.fail()
		}
	}
	return b
}

func encodeEvidence(x ban.Evidence) []byte {
	e := newEncoder()
	e.hits(x.Hits)
	e.uint(uint64(len(x.Others)))
	named := false
	for _, o := range x.Others {
		e.addr(o.Address)
		named = named || o.Name != ""
	}
	if named { // the names came later than the addresses, and most networks have none
		for _, o := range x.Others {
			e.string(o.Name)
		}
	}
	return e.seal()
}

func decodeEvidence(value []byte) (ban.Evidence, error) {
	d := newDecoder(value)
	x := ban.Evidence{Hits: d.hits()}
	for range d.count() {
		x.Others = append(x.Others, ban.Offender{Address: d.addr()})
	}
	if len(d.rest) > 0 {
		for i := range x.Others {
			x.Others[i].Name = d.string()
		}
	}
	return x, d.finish()
}

func encodeBan(b ban.Ban) []byte {
	e := newEncoder()
	e.ban(b)
	return e.seal()
}

func decodeBan(key, value []byte) (ban.Ban, error) {
	prefix, source, err := parseBanKey(key)
	if err != nil {
		return ban.Ban{}, fmt.Errorf("key %x of a ban: %w", key, err)
	}
	d := newDecoder(value)
	b := d.ban(prefix)
	if b.Source() != source {
		d.fail()
	}
	if err := d.finish(); err != nil {
		return ban.Ban{}, fmt.Errorf("ban of %s: %w", prefix, err)
	}
	return b, nil
}

// banKey orders the bans by their prefix; one of our own comes before those that
// were imported.
func banKey(b ban.Ban) []byte { return append(prefixKey(b.Prefix), b.Source()...) }

func parseBanKey(k []byte) (prefix netip.Prefix, source string, err error) {
	if len(k) < 2 || len(k) < int(k[0])+2 {
		return netip.Prefix{}, "", errDamaged
	}
	prefix, err = parsePrefixKey(k[:int(k[0])+2])
	return prefix, string(k[int(k[0])+2:]), err
}

func encodeEnded(x Ended) []byte {
	e := newEncoder()
	e.string(x.How)
	e.ban(x.Ban)
	return e.seal()
}

func decodeEnded(key, value []byte) (Ended, error) {
	if len(key) < 8 {
		return Ended{}, fmt.Errorf("key %x of an ended ban: %w", key, errDamaged)
	}
	prefix, err := parsePrefixKey(key[8:])
	if err != nil {
		return Ended{}, fmt.Errorf("key %x of an ended ban: %w", key, err)
	}
	d := newDecoder(value)
	x := Ended{At: time.UnixMicro(int64(binary.BigEndian.Uint64(key))).UTC()}
	x.How = d.string()
	x.Ban = d.ban(prefix)
	if err := d.finish(); err != nil {
		return Ended{}, fmt.Errorf("ended ban of %s: %w", prefix, err)
	}
	return x, nil
}

// prefixKey orders like ban.ComparePrefix: IPv4 before IPv6, then by address.
func prefixKey(p netip.Prefix) []byte {
	a := p.Addr().AsSlice()
	return append(append([]byte{byte(len(a))}, a...), byte(p.Bits()))
}

func parsePrefixKey(k []byte) (netip.Prefix, error) {
	if len(k) < 2 || len(k) != int(k[0])+2 {
		return netip.Prefix{}, errDamaged
	}
	a, ok := netip.AddrFromSlice(k[1 : len(k)-1])
	p := netip.PrefixFrom(a, int(k[len(k)-1]))
	if !ok || !p.IsValid() {
		return netip.Prefix{}, errDamaged
	}
	return p, nil
}
