package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"smtpban/internal/foreign"
	"smtpban/internal/report"
)

// openForeign opens the bans of another program. fail2ban keeps its own in a
// database, which sqlite3(1) is asked about.
func (a *app) openForeign(o origin) (io.ReadCloser, error) {
	in, err := a.openFile(o.file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && o.from == fromFail2ban:
		return nil, fmt.Errorf("opening fail2ban's database: %w (fail2ban-client get dbfile says where it is)", err)
	case err != nil:
		return nil, fmt.Errorf("opening bans: %w", err)
	case o.from != fromFail2ban || o.file == "-":
		return in, nil
	}
	buffered := bufio.NewReader(in)
	begin, err := buffered.Peek(16)
	if err != nil && err != io.EOF {
		in.Close()
		return nil, err
	}
	if !foreign.IsSQLite(begin) {
		return struct {
			io.Reader
			io.Closer
		}{buffered, in}, nil
	}
	in.Close()
	answer, err := askSQLite(o.file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.file, err)
	}
	return io.NopCloser(bytes.NewReader(answer)), nil
}

// askSQLite asks a database of fail2ban's for its bans. It changes nothing there.
func askSQLite(file string) ([]byte, error) {
	var program string
	err := exec.ErrNotFound
	for _, place := range []string{"/usr/bin/sqlite3", "/usr/local/bin/sqlite3"} {
		if err != nil {
			program, err = exec.LookPath(place)
		}
	}
	if err != nil {
		return nil, errors.New("to read fail2ban's database takes the program sqlite3: apt install sqlite3, or dnf install sqlite")
	}
	path, err := filepath.Abs(file) // which no option can be taken for
	if err != nil {
		return nil, err
	}
	const patience = ".timeout 10000" // ms, while fail2ban writes
	cmd := exec.Command(program, "-batch", "-init", os.DevNull, "-readonly", "-json", "-cmd", patience, path, foreign.Fail2banQuery)
	var answer, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &answer, &complaint
	if err := cmd.Run(); err != nil {
		hint := ""
		switch {
		case strings.Contains(complaint.String(), "no such table: jails"):
			hint = " (it is not the database of fail2ban)"
		case strings.Contains(complaint.String(), "no such table: bips"):
			hint = " (fail2ban before 0.11 did not keep how long its bans last; smtpban import --from list takes a list of them)"
		}
		return nil, fmt.Errorf("asking sqlite3: %w: %s%s", err, report.Printable(oneLine(errors.New(strings.TrimSpace(complaint.String())))), hint)
	}
	return answer.Bytes(), nil
}
