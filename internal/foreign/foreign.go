// Package foreign reads the bans of others: a plain list of prefixes, the database
// of smtpban.py as gdbm_dump(1) prints it, and that of fail2ban as sqlite3(1) does.
// It only reads. Which of the bans count is for others to say.
//
// Its readers yield the bans in the order of the file. An error begins with the
// place that it is about; what is wrong with one ban does not keep them from the
// next.
package foreign

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

// Options say what a file leaves open.
type Options struct {
	Now    time.Time
	Length time.Duration  // of a ban whose end it does not tell
	Local  *time.Location // of times that do not name theirs
}

// maxLine is longer than any line of such a file. What is no text may have lines
// without end.
const maxLine = 1 << 16

// lines reads a file line by line.
type lines struct {
	name   string
	in     *bufio.Scanner
	number int // of the last line read
}

func newLines(in io.Reader, name string) *lines {
	l := &lines{name: name, in: bufio.NewScanner(in)}
	l.in.Buffer(nil, maxLine)
	return l
}

// next returns the next line without what ends it, and whether there is one. It is
// valid until the next call.
func (l *lines) next() ([]byte, bool) {
	if !l.in.Scan() {
		return nil, false
	}
	l.number++
	return bytes.TrimRight(l.in.Bytes(), "\r"), true
}

// errorf is an error at a line.
func (l *lines) errorf(number int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", l.name, number, fmt.Errorf(format, args...))
}

// failed returns why there is no next line, nil at the end of the file.
func (l *lines) failed() error {
	err := l.in.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = errors.New("the line is too long")
	}
	if err == nil {
		return nil
	}
	return l.errorf(l.number+1, "%w", err)
}
