package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// Position is the last entry read of one boot. The zero Position comes before
// every entry: the boot is known, but nothing of it was read.
//
// The cursor alone is not enough: it is lost when its entry is vacuumed, and a
// clock set back makes it compare wrongly. Within a boot the monotonic clock
// never runs backwards, so (Monotonic, Realtime) tells old from new without it.
type Position struct {
	Cursor    string        // journald's, opaque; for a maillog the hashes of the lines that bear Realtime
	Realtime  time.Time     // UTC, microseconds
	Monotonic time.Duration // since the boot; 0 if the input has no such clock
}

// Positions holds the position in every boot known to the reader.
type Positions map[Boot]Position

// Covers reports whether an entry with these stamps had already been read when
// p was taken, judged by the clocks alone. On equal stamps it says yes.
func (p Position) Covers(monotonic time.Duration, realtime time.Time) bool {
	if monotonic != p.Monotonic {
		return monotonic < p.Monotonic
	}
	return !realtime.After(p.Realtime)
}

const positionVersion = 1

// MarshalBinary encodes p for the store. It never fails.
func (p Position) MarshalBinary() ([]byte, error) {
	b := []byte{positionVersion}
	b = binary.AppendVarint(b, p.Realtime.UnixMicro())
	b = binary.AppendVarint(b, p.Monotonic.Microseconds())
	return append(b, p.Cursor...), nil
}

// UnmarshalBinary decodes what MarshalBinary wrote.
func (p *Position) UnmarshalBinary(b []byte) error {
	if len(b) == 0 {
		return errors.New("decoding position: empty")
	}
	if b[0] != positionVersion {
		return fmt.Errorf("decoding position: unknown version %d", b[0])
	}
	b = b[1:]
	realtime, n := binary.Varint(b)
	if n <= 0 {
		return errors.New("decoding position: cut off")
	}
	b = b[n:]
	monotonic, n := binary.Varint(b)
	if n <= 0 {
		return errors.New("decoding position: cut off")
	}
	if monotonic < 0 || monotonic > math.MaxInt64/int64(time.Microsecond) {
		return fmt.Errorf("decoding position: no monotonic clock shows %d µs", monotonic)
	}
	*p = Position{
		Cursor:    string(b[n:]),
		Realtime:  time.UnixMicro(realtime).UTC(),
		Monotonic: time.Duration(monotonic) * time.Microsecond,
	}
	return nil
}
