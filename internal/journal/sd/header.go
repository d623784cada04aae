//go:build cgo

package sd

import (
	"encoding/binary"
	"io"
	"os"
)

// header is what the header of a journal file says, see
// https://systemd.io/JOURNAL_FILE_FORMAT/.
type header struct {
	archived bool     // journald has finished with it
	sequence [16]byte // of which its entries are part, a cursor's s=
	entries  uint64
	head     uint64 // number in the sequence of its first entry, a cursor's i=
	tail     uint64 // and of its last one
}

// readHeader reads the header of a file, if it still has that name and was not
// renamed or vacuumed.
func readHeader(name string, id fileID) (h header, ok bool) {
	f, err := os.Open(name)
	if err != nil {
		return header{}, false
	}
	defer f.Close()
	const state, sequence, entries, tail, head, end = 16, 72, 152, 160, 168, 176
	const stateArchived = 2
	var b [end]byte
	if _, err := io.ReadFull(f, b[:]); err != nil {
		return header{}, false
	}
	word := func(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
	h = header{b[state] == stateArchived, [16]byte(b[sequence:]), word(entries), word(head), word(tail)}
	now, err := identify(int(f.Fd()))
	return h, err == nil && now == id
}
