package foreign

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/config"
)

// Fail2banQuery asks fail2ban's database for what Fail2ban reads: every jail, and
// its bans in force. They are in the table bips since 0.11.
const Fail2banQuery = "select jails.name as jail, ip, timeofban, bantime from jails left join bips on bips.jail = jails.name order by jail, ip"

// sqliteMagic is how a database of SQLite begins (https://sqlite.org/fileformat.html).
const sqliteMagic = "SQLite format 3\x00"

// IsSQLite reports whether a file that begins like this is a database of SQLite.
func IsSQLite(begin []byte) bool { return bytes.HasPrefix(begin, []byte(sqliteMagic)) }

// Jailed is a ban of a jail. The prefix is invalid where the jail has none.
type Jailed struct {
	Jail string
	ban.Imported
}

// row is what the query answers. Numbers are seconds; bantime.rndtime, or a
// bantime.factor such as 1.5, makes lengths that are not whole.
type row struct {
	Jail      *string  `json:"jail"`
	IP        *string  `json:"ip"`
	TimeOfBan *float64 `json:"timeofban"`
	BanTime   *float64 `json:"bantime"`
}

// Fail2ban reads what "sqlite3 -json" answers to Fail2banQuery: a JSON array of
// objects, or nothing at all where there are none.
func Fail2ban(in io.Reader, name string, o Options) iter.Seq2[Jailed, error] {
	return func(yield func(Jailed, error) bool) {
		buffered := bufio.NewReader(in)
		begin, err := buffered.Peek(len(sqliteMagic))
		switch {
		case err != nil && err != io.EOF:
			yield(Jailed{}, fmt.Errorf("%s: %w", name, err))
			return
		case len(begin) == 0:
			return
		case IsSQLite(begin):
			yield(Jailed{}, fmt.Errorf("%s: it is a database, which can be read from a file only, not from a pipe", name))
			return
		}
		d := json.NewDecoder(buffered)
		if t, err := d.Token(); err != nil || t != json.Delim('[') {
			yield(Jailed{}, fmt.Errorf("%s: it is neither fail2ban's database nor what sqlite3 -json prints of it, a JSON array", name))
			return
		}
		for n := 1; d.More(); n++ {
			var r row
			if err := d.Decode(&r); err != nil {
				yield(Jailed{}, fmt.Errorf("%s: row %d: %w", name, n, err))
				return
			}
			b, err := r.ban(o)
			if err != nil {
				err = fmt.Errorf("%s: row %d: %w", name, n, err)
			}
			if !yield(b, err) {
				return
			}
		}
		if _, err := d.Token(); err != nil {
			yield(Jailed{}, fmt.Errorf("%s: it is cut off: %w", name, err))
		} else if _, err := d.Token(); err != io.EOF {
			yield(Jailed{}, fmt.Errorf("%s: there is more after the end of the array", name))
		}
	}
}

// ban makes sense of a row.
func (r row) ban(o Options) (b Jailed, err error) {
	if r.Jail == nil {
		return b, errors.New("there is no jail in it (is it the answer to another query?)")
	}
	b.Jail = *r.Jail
	if r.IP == nil {
		return b, nil
	}
	if b.Prefix, err = config.ParsePrefix(*r.IP); err != nil {
		return b, fmt.Errorf("jail %q: %w", b.Jail, err)
	}
	if err := ban.CheckPrefix(b.Prefix); err != nil {
		return b, fmt.Errorf("jail %q: %w", b.Jail, err)
	}
	if r.TimeOfBan == nil || *r.TimeOfBan < 0 || *r.TimeOfBan > float64(ban.Forever.Unix()) {
		return b, fmt.Errorf("jail %q: %s: timeofban is no time in seconds since 1970", b.Jail, b.Prefix)
	}
	b.Start = time.Unix(int64(*r.TimeOfBan), 0).UTC()
	b.Until = ban.End(b.Start, r.length(o.Length))
	return b, nil
}

// length returns how long the ban lasts. What fail2ban took over from a version that
// kept no lengths has -2, for one that it does not know.
func (r row) length(unknown time.Duration) time.Duration {
	const forever = -1
	switch {
	case r.BanTime == nil, *r.BanTime < forever:
		return unknown
	case *r.BanTime == forever, *r.BanTime >= ban.Infinity.Seconds():
		return ban.Infinity
	}
	return time.Duration(*r.BanTime) * time.Second
}
