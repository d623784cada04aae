package foreign

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"smtpban/internal/ban"
)

// Dump reads what gdbm_dump(1) prints of smtpban.py's database, in its usual format,
// which is text: a header, then for each pair the key and the value, each as a line
// #:len= and lines of base64, and at last #:count=, how many pairs there were. The
// key is an IPv4 address, the value the local time of its ban.
func Dump(in io.Reader, name string, o Options) iter.Seq2[ban.Imported, error] {
	return func(yield func(ban.Imported, error) bool) {
		buffered := bufio.NewReader(in)
		if err := checkDump(buffered, name); err != nil {
			yield(ban.Imported{}, err)
			return
		}
		d := dump{lines: newLines(buffered, name)}
		for {
			key, more, err := d.datum()
			if err != nil {
				yield(ban.Imported{}, err)
			}
			if err != nil || !more {
				return
			}
			value, more, err := d.datum()
			if err == nil && !more {
				err = d.errorf(key.line, "a key without a value")
			}
			if err != nil {
				yield(ban.Imported{}, err)
				return
			}
			d.pairs++
			if !yield(d.ban(key, value, o)) {
				return
			}
		}
	}
}

// checkDump makes sure that a file is such a dump.
func checkDump(in *bufio.Reader, name string) error {
	const (
		text   = "# GDBM dump file"
		binary = "!\r\n! GDBM FLAT FILE DUMP"
	)
	begin, err := in.Peek(len(binary))
	if err != nil && err != io.EOF {
		return fmt.Errorf("%s: %w", name, err)
	}
	switch {
	case bytes.HasPrefix(begin, []byte(text)):
		return nil
	case isDatabase(begin):
		file := name
		if file == "-" {
			file = "FILE"
		}
		return fmt.Errorf("%s: it is the database itself; print it as text first, by the program of Debian's package gdbmtool: gdbm_dump %s - | smtpban import --from smtpban-py -", name, file)
	case bytes.HasPrefix(begin, []byte(binary)):
		return fmt.Errorf("%s: it is a dump in gdbm_dump's binary format; make one without -H binary", name)
	}
	return fmt.Errorf("%s: it is not what gdbm_dump prints, which begins with %q", name, text)
}

// isDatabase reports whether a file that begins like this is a gdbm database: with a
// number that says so in either byte order, see gdbmconst.h.
func isDatabase(begin []byte) bool {
	if len(begin) < 4 {
		return false
	}
	magic := []uint32{0x13579acd, 0x13579ace, 0x13579acf, 0x13579ad0, 0x13579ad1}
	return slices.Contains(magic, binary.LittleEndian.Uint32(begin)) || slices.Contains(magic, binary.BigEndian.Uint32(begin))
}

// dump reads the data of a dump.
type dump struct {
	*lines
	pairs  int
	length string // of the next datum, as the line says that was read last; "" for none
}

// datum is a key or a value.
type datum struct {
	text string
	line int // where it begins
}

// maxDatum is longer than any that smtpban.py wrote.
const maxDatum = 1 << 12

// datum returns the next one, and whether there is one.
func (d *dump) datum() (x datum, more bool, err error) {
	for d.length == "" {
		line, more := d.next()
		if !more {
			return x, false, errors.Join(d.failed(), d.cutOff())
		}
		if count, last := strings.CutPrefix(string(line), "#:count="); last {
			return x, false, d.finish(count)
		}
		if len(line) > 0 && line[0] != '#' {
			return x, false, d.errorf(d.number, "there must be #:len= before this")
		}
		d.length, _ = strings.CutPrefix(string(line), "#:len=")
		if d.length == string(line) {
			d.length = ""
		}
	}
	x.line = d.number
	want, err := strconv.Atoi(d.length)
	if err != nil || want < 0 || want > maxDatum {
		return x, false, d.errorf(x.line, "%q is no length of up to %d", d.length, maxDatum)
	}
	d.length = ""
	x.text, err = d.base64(want)
	return x, true, err
}

// base64 reads a datum of this length.
func (d *dump) base64(length int) (string, error) {
	var text []byte
	for need := base64.StdEncoding.EncodedLen(length); len(text) < need; {
		line, more := d.next()
		if !more {
			return "", errors.Join(d.failed(), d.cutOff())
		}
		text = append(text, line...)
	}
	decoded, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil || len(decoded) != length {
		return "", d.errorf(d.number, "it is not the base64 of %d bytes", length)
	}
	return string(decoded), nil
}

func (d *dump) cutOff() error {
	if d.failed() != nil {
		return nil
	}
	return fmt.Errorf("%s: it is cut off: after %d pairs the line #:count= is missing, which says how many there were", d.name, d.pairs)
}

// finish reads how many pairs there were.
func (d *dump) finish(count string) error {
	if count != strconv.Itoa(d.pairs) {
		return d.errorf(d.number, "%q pairs were dumped, and %d are here", count, d.pairs)
	}
	return nil
}

// ban reads a pair. Texts of C end in a NUL.
func (d *dump) ban(key, value datum, o Options) (b ban.Imported, err error) {
	address := strings.TrimSuffix(key.text, "\x00")
	a, err := netip.ParseAddr(address)
	if err != nil || !a.Is4() {
		return b, d.errorf(key.line, "%q is no IPv4 address", address)
	}
	start, err := localTime(strings.TrimSuffix(value.text, "\x00"), o.Local)
	if err != nil {
		return b, d.errorf(value.line, "%s: %w", a, err)
	}
	return ban.Imported{Prefix: netip.PrefixFrom(a, a.BitLen()), Start: start, Until: ban.End(start, o.Length)}, nil
}

// localTime reads a time as smtpban.py wrote it. When the clock is set back in
// autumn, an hour comes twice, and the text does not tell which one is meant: the
// first one is taken, so that nobody is banned for longer than he was.
func localTime(text string, local *time.Location) (time.Time, error) {
	const layout = "2006 Jan 02 15:04:05"
	t, err := time.ParseInLocation(layout, text, local)
	if err != nil {
		return t, fmt.Errorf(`%q is no time such as "2026 Mar 01 08:00:00" (smtpban.py wrote the months in the language of its locale, and only English can be read)`, text)
	}
	for _, back := range []time.Duration{30 * time.Minute, time.Hour} { // by how much clocks are set back
		if earlier := t.Add(-back); earlier.Format(layout) == t.Format(layout) {
			return earlier.UTC(), nil
		}
	}
	return t.UTC(), nil
}
