package torture

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Result is what is known of a row's run at full length.
type Result struct {
	Row     string `json:"row"`
	Title   string `json:"title"`
	Goal    string `json:"goal"`
	Figure  string `json:"figure"` // "" until it has ended
	Seed    uint64 `json:"seed"`
	Wanted  int    `json:"wanted"` // rounds
	Tally   Tally  `json:"tally"`
	Machine string `json:"machine"`
	Version string `json:"version"` // of smtpban
	Ended   string `json:"ended"`   // day
}

// progress is a Result on its way. That of a short run is kept nowhere.
type progress struct {
	Result
	path string
}

// begin returns where the row's run is: at its beginning, or where one of the
// same seed and version was interrupted.
func begin(test string, row Row) (*progress, error) {
	name, err := rowOf(test)
	if err != nil {
		return nil, err
	}
	rounds, seed, err := wanted(row)
	if err != nil {
		return nil, err
	}
	p := &progress{Result: Result{
		Row: name, Title: row.Title, Goal: row.Goal, Seed: seed, Wanted: rounds, Machine: machine(), Tally: newTally(),
	}}
	if Full() && os.Getenv(roundVariable) == "" {
		if err := p.resume(); err != nil {
			return nil, err
		}
	}
	for p.Seed == 0 {
		p.Seed = uint64(rand.Uint32())
	}
	return p, nil
}

// resume goes on with what an interrupted run left.
func (p *progress) resume() error {
	root, err := root()
	if err != nil {
		return err
	}
	p.path = filepath.Join(Results(root), p.Row+".json")
	p.Version = version(root)
	last, err := ReadResult(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	same := (p.Seed == 0 || p.Seed == last.Seed) && last.Version == p.Version && last.Machine == p.Machine
	if same && last.Tally.Rounds < p.Wanted {
		p.Seed = last.Seed
		p.Tally.add(last.Tally)
	}
	return nil
}

// save writes down where the run is.
func (p *progress) save(t *testing.T) {
	if p.path == "" {
		return
	}
	p.Ended = time.Now().UTC().Format(time.DateOnly)
	text, err := json.MarshalIndent(p.Result, "", "  ")
	partial := p.path + ".new"
	err = errors.Join(err, os.MkdirAll(filepath.Dir(p.path), 0o755), os.WriteFile(partial, text, 0o644))
	if err := errors.Join(err, os.Rename(partial, p.path)); err != nil {
		t.Errorf("keeping the progress: %v", err)
	}
}

// Results returns where the results are kept, below the top of the sources.
func Results(root string) string { return filepath.Join(root, "build", "torture") }

// ReadResult reads the result of a row.
func ReadResult(path string) (Result, error) {
	var r Result
	text, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("reading %s: %w (remove it to begin anew)", path, err)
	}
	return r, nil
}

// root returns the top of the sources, in which every test runs.
func root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod here or above: run the tests in the sources")
		}
		dir = up
	}
}

// version returns what make build stamps into the program.
func version(root string) string {
	cmd := exec.Command("git", "-c", "safe.directory=*", "describe", "--tags", "--always", "--dirty")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// machine says what the rounds run on.
func machine() string {
	kernel, systemd := "unknown", "unknown"
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		kernel = unix.ByteSliceToString(name.Release[:])
	}
	if out, err := exec.Command("systemctl", "--version").Output(); err == nil {
		if fields := strings.Fields(string(out)); len(fields) > 1 {
			systemd = fields[1]
		}
	}
	return fmt.Sprintf("Linux %s, systemd %s, %s", kernel, systemd, runtime.Version())
}
