package foreign

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"smtpban/internal/ban"
	"smtpban/internal/config"
)

// List reads a list that has an address or prefix a line, and perhaps, after blanks,
// for how long from now or until when it is banned, see systemd.time(7). What follows
// # or ; is a comment. An address stands for itself alone.
func List(in io.Reader, name string, o Options) iter.Seq2[ban.Imported, error] {
	return func(yield func(ban.Imported, error) bool) {
		l := newLines(in, name)
		for line, more := l.next(); more; line, more = l.next() {
			if comment := bytes.IndexAny(line, "#;"); comment >= 0 {
				line = line[:comment]
			}
			if line = bytes.TrimSpace(line); len(line) == 0 {
				continue
			}
			b, err := o.entry(string(line))
			if len(line) > maxEntry { // not to be told in full
				err = errors.New("it is too long for a prefix and a time")
			}
			if err != nil {
				err = l.errorf(l.number, "%w", err)
			}
			if !yield(b, err) {
				return
			}
		}
		if err := l.failed(); err != nil {
			yield(ban.Imported{}, err)
		}
	}
}

// maxEntry is longer than any prefix with a time.
const maxEntry = 200

// entry reads a line of a list.
func (o Options) entry(line string) (b ban.Imported, err error) {
	prefix, end := line, ""
	if blank := strings.IndexAny(line, " \t"); blank >= 0 {
		prefix, end = line[:blank], strings.TrimSpace(line[blank:])
	}
	b = ban.Imported{Start: o.Now, Until: ban.End(o.Now, o.Length)}
	if b.Prefix, err = config.ParsePrefix(prefix); err != nil {
		return b, err
	}
	if err := ban.CheckPrefix(b.Prefix); err != nil {
		return b, err
	}
	if end == "" {
		return b, nil
	}
	if span, err := config.ParseSpan(end); err == nil {
		b.Until = ban.End(o.Now, span)
		return b, nil
	}
	if b.Until, err = config.ParseTime(end, o.Now, o.Local); err != nil {
		return b, fmt.Errorf(`%q is neither a time span such as "2w" nor a time such as "2026-03-01 08:00"`, end)
	}
	return b, nil
}
