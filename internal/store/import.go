package store

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxLine is longer than any line of an export; a file that is none may have
// lines without end.
const maxLine = 64 << 20

// Imported says what was read from an export.
type Imported struct {
	Header
	Records map[string]int // by their kind
}

// ReadExport hands the records of an export to add, in their order. The errors
// begin with the name of the file and the line. That nothing is missing is known
// only at the end.
func ReadExport(file io.Reader, name string, add func(Record) error) (Imported, error) {
	r := exportReader{in: bufio.NewReaderSize(file, 64<<10), kinds: kinds()}
	imported, err := r.read(add)
	switch {
	case err == nil:
		return imported, nil
	case r.line == 0:
		return Imported{}, fmt.Errorf("%s: %w", name, err)
	}
	return Imported{}, fmt.Errorf("%s:%d: %w", name, r.line, err)
}

type exportReader struct {
	in    *bufio.Reader
	kinds []kind
	line  int // the number of the last one read
	cut   bool
}

func (r *exportReader) read(add func(Record) error) (Imported, error) {
	text, err := r.next()
	if err == io.EOF {
		err = errors.New("it is empty")
	}
	if err != nil {
		return Imported{}, err
	}
	imported := Imported{Records: map[string]int{}}
	if imported.Header, err = readHeader(text); err != nil {
		return Imported{}, err
	}
	for n := 0; ; n++ {
		text, err := r.next()
		if err == io.EOF {
			return Imported{}, r.errCut(n)
		}
		if err != nil {
			return Imported{}, err
		}
		var is struct{ Smtpban, Record string }
		switch err := json.Unmarshal(text, &is); {
		case err != nil && r.cut:
			return Imported{}, r.errCut(n)
		case err != nil:
			return Imported{}, fmt.Errorf("it is no record: %w", err)
		}
		if is.Smtpban == endLine {
			return imported, r.finish(text, n)
		}
		record, err := readRecord(r.kinds, is.Record, text)
		if err == nil {
			err = add(record)
		}
		if err != nil {
			return Imported{}, err
		}
		imported.Records[record.Kind]++
	}
}

func readHeader(text []byte) (Header, error) {
	var h Header
	if err := json.Unmarshal(text, &h); err != nil || h.Smtpban != headerLine {
		return Header{}, errors.New(`it is no export of smtpban, which begins with {"smtpban":"export",`)
	}
	newest := newestSchema(migrations)
	switch { // records have been the same since schema 1, and only new kinds were added
	case h.Schema > newest:
		return Header{}, fmt.Errorf("schema %d, this version knows up to %d: %w", h.Schema, newest, ErrNewer)
	case h.Schema == 0:
		return Header{}, errors.New("schema 0, and the first one is 1")
	}
	if err := unmarshal(text, &h); err != nil {
		return Header{}, err
	}
	return h, nil
}

// finish reads the last line, after n records.
func (r *exportReader) finish(text []byte, n int) error {
	var last end
	if err := unmarshal(text, &last); err != nil {
		return err
	}
	if last.Records != n {
		return fmt.Errorf("%d records were exported, and %d are here", last.Records, n)
	}
	if _, err := r.next(); err != io.EOF {
		return errors.Join(err, errors.New("the export ends before this line"))
	}
	return nil
}

func (r *exportReader) errCut(n int) error {
	return fmt.Errorf("it is cut off: after %d records the last line is missing, which says how many there were", n)
}

// next returns the next line, and io.EOF after the last. It is valid until the
// next call.
func (r *exportReader) next() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		line = bytes.Clone(line)
		for err == bufio.ErrBufferFull && len(line) <= maxLine {
			var more []byte
			more, err = r.in.ReadSlice('\n')
			line = append(line, more...)
		}
	}
	r.cut = err == io.EOF
	switch {
	case err == io.EOF && len(line) == 0:
		return nil, io.EOF
	case err == bufio.ErrBufferFull:
		r.line++
		return nil, errors.New("the line is too long")
	case err != nil && err != io.EOF:
		return nil, err
	}
	r.line++
	return line, nil
}
