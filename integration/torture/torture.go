// Package torture runs a test many times over, each time another way, and keeps
// the figure that comes out of it.
//
// A row of the table in integration/README.md is a test named TestTorture and the row. By itself
// it runs as few rounds as go well with the other tests; make torture runs it at
// full length:
//
//	make torture                            every row
//	make torture-kill                       one
//	make torture-kill SEED=7 ROUNDS=100     another length, another seed
//	make torture-kill SEED=7 ROUND=17       one round again
//
// A run at full length that was interrupted goes on where it was.
package torture

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The environment that make torture sets, see the package comment.
const (
	lengthVariable = "SMTPBAN_TORTURE" // full, or empty for a short run
	roundsVariable = "SMTPBAN_ROUNDS"
	seedVariable   = "SMTPBAN_SEED"
	roundVariable  = "SMTPBAN_ROUND"
)

// Full reports whether rows run at full length.
func Full() bool { return os.Getenv(lengthVariable) == "full" }

// Row is what is done over and over.
type Row struct {
	Title  string // as the table names it
	Goal   string // what the figure is to be
	Short  int    // rounds within go test
	Full   int    // rounds of make torture
	Figure func(Tally) string
	Check  func(Tally) error // what must hold of all rounds together; may be nil
}

// Tally is what the rounds so far came to.
type Tally struct {
	Rounds     int                `json:"rounds"`
	Violations int                `json:"violations"`
	Counts     map[string]int     `json:"counts,omitempty"`
	Worst      map[string]float64 `json:"worst,omitempty"` // the highest value
	Seconds    float64            `json:"seconds"`
}

func newTally() Tally { return Tally{Counts: map[string]int{}, Worst: map[string]float64{}} }

func (y *Tally) worst(what string, value float64) {
	if old, ok := y.Worst[what]; !ok || value > old {
		y.Worst[what] = value
	}
}

// add adds what other rounds came to.
func (y *Tally) add(other Tally) {
	y.Rounds += other.Rounds
	y.Violations += other.Violations
	y.Seconds += other.Seconds
	for what, n := range other.Counts {
		y.Counts[what] += n
	}
	for what, v := range other.Worst {
		y.worst(what, v)
	}
}

// Round is one of them. Whatever it leaves to chance comes from Rand, which
// depends on the seed and N alone: so a round can be run again by itself.
type Round struct {
	N     int
	Seed  uint64
	Rand  *rand.Rand
	tally Tally // of this round
	dir   string
}

// Count adds n to a count that the figure is made of.
func (r *Round) Count(what string, n int) { r.tally.Counts[what] += n }

// Worst keeps the value if it is the highest one so far.
func (r *Round) Worst(what string, value float64) { r.tally.worst(what, value) }

// Dir returns a folder of the round's own, made at the first call. That of a
// round that failed is kept.
func (r *Round) Dir(t testing.TB) string {
	t.Helper()
	if r.dir == "" {
		dir, err := os.MkdirTemp("", fmt.Sprintf("torture-%d-", r.N))
		if err != nil {
			t.Fatal(err)
		}
		r.dir = dir
	}
	return r.dir
}

// maxViolations ends a run: then it is known that something is wrong.
const maxViolations = 10

// Run runs the row's rounds in the test's own goroutine. An error is a violation
// of what the row proves, after which the next round follows; what keeps the row
// from its work ends the test by t.Fatal.
func Run(t *testing.T, row Row, round func(*Round) error) {
	t.Helper()
	p, err := begin(t.Name(), row)
	if err != nil {
		t.Fatal(err)
	}
	if text := os.Getenv(roundVariable); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("%s=%s: %v", roundVariable, text, err)
		}
		begin := time.Now()
		if _, err := p.play(t, n, round); err != nil {
			t.Fatalf("%s: round %d with seed %d: %v", p.Row, n, p.Seed, err)
		}
		fmt.Printf("%s: round %d with seed %d: no violation (%v)\n", p.Row, n, p.Seed, time.Since(begin).Round(time.Millisecond))
		return
	}
	t.Logf("%s: seed %d, rounds %d to %d", p.Row, p.Seed, p.Tally.Rounds, p.Wanted-1)
	p.all(t, round)
	p.Figure = row.Figure(p.Tally)
	if p.Tally.Violations == 0 && row.Check != nil {
		if err := row.Check(p.Tally); err != nil {
			t.Errorf("%s: %v", p.Row, err)
			p.Figure += " (NOT MET: " + err.Error() + ")"
		}
	}
	p.save(t)
	fmt.Printf("%s: %s (%d violations, seed %d, %.0f s)\n", p.Row, p.Figure, p.Tally.Violations, p.Seed, p.Tally.Seconds)
}

// all runs the rounds that are still to come.
func (p *progress) all(t *testing.T, round func(*Round) error) {
	defer p.save(t) // also where the test ends early
	saved := time.Now()
	for p.Tally.Rounds < p.Wanted {
		n := p.Tally.Rounds
		came, err := p.play(t, n, round)
		p.Tally.add(came)
		if err != nil {
			t.Errorf("%s: round %d with seed %d: %v\nto repeat it: make torture-%[1]s SEED=%[3]d ROUND=%[2]d", p.Row, n, p.Seed, err)
		}
		if p.Tally.Violations >= maxViolations {
			t.Fatalf("%s: %d violations are enough", p.Row, p.Tally.Violations)
		}
		if time.Since(saved) > time.Second {
			p.save(t)
			saved = time.Now()
		}
	}
}

// play runs one round and returns what it came to.
func (p *progress) play(t *testing.T, n int, round func(*Round) error) (Tally, error) {
	r := &Round{N: n, Seed: p.Seed, Rand: rand.New(rand.NewPCG(p.Seed, uint64(n))), tally: newTally()}
	begin := time.Now()
	err := round(r)
	r.tally.Rounds, r.tally.Seconds = 1, time.Since(begin).Seconds()
	if err != nil {
		r.tally.Violations = 1
		if r.dir != "" {
			err = fmt.Errorf("%w\nwhat it left is in %s", err, r.dir)
		}
	} else if err := os.RemoveAll(r.dir); err != nil { // of "" does nothing
		t.Fatal(err)
	}
	return r.tally, err
}

// wanted returns how many rounds are to be run, and with which seed; 0 stands for
// a seed that nobody named.
func wanted(row Row) (rounds int, seed uint64, err error) {
	rounds = row.Short
	if Full() {
		rounds = row.Full
	}
	var errs [2]error
	if text := os.Getenv(roundsVariable); text != "" {
		rounds, errs[0] = strconv.Atoi(text)
	}
	if text := os.Getenv(seedVariable); text != "" {
		seed, errs[1] = strconv.ParseUint(text, 10, 64)
	}
	return rounds, seed, errors.Join(errs[:]...)
}

// rowOf returns the row that a test is about.
func rowOf(test string) (string, error) {
	row, ok := strings.CutPrefix(strings.ToLower(test), "testtorture")
	if !ok || row == "" {
		return "", fmt.Errorf("the test of a row is named TestTorture and the row, not %s", test)
	}
	return row, nil
}
