package torture

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// exampleVariable makes TestTortureExample a row: of which some rounds fail, as
// in "fail at 3", or end the process, as in "stop at 3".
const exampleVariable = "SMTPBAN_TEST_EXAMPLE"

func TestTortureExample(t *testing.T) {
	what := os.Getenv(exampleVariable)
	if what == "" {
		return // it is only what the other tests run in a process of its own
	}
	row := Row{
		Title: "an example", Goal: "10 rounds", Short: 4, Full: 10,
		Figure: func(y Tally) string { return fmt.Sprintf("%d of %d even", y.Counts["even"], y.Rounds) },
		Check: func(y Tally) error {
			if y.Counts["even"] == 0 {
				return errors.New("none was even")
			}
			return nil
		},
	}
	Run(t, row, func(r *Round) error {
		drawn := r.Rand.IntN(1000)
		fmt.Printf("drawn %d: %d\n", r.N, drawn)
		if drawn%2 == 0 {
			r.Count("even", 1)
		}
		r.Worst("drawn", float64(drawn))
		switch what {
		case "fail at " + strconv.Itoa(r.N):
			return errors.New("it went wrong")
		case "fail":
			return errors.New("as always")
		case "stop at " + strconv.Itoa(r.N):
			t.Fatal("cannot go on")
		}
		return nil
	})
}

// example runs the row in sources of its own and returns what it printed.
func example(t *testing.T, sources, what string, env ...string) (output string, ok bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(sources, "go.mod"), []byte("module example\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestTortureExample$", "-test.v")
	cmd.Dir = sources
	for _, name := range []string{lengthVariable, roundsVariable, seedVariable, roundVariable} {
		cmd.Env = append(cmd.Env, name+"=")
	}
	cmd.Env = append(append(os.Environ(), append(cmd.Env, exampleVariable+"="+what)...), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// drawn returns what the rounds drew.
func drawn(output string) (lines []string) {
	for line := range strings.Lines(output) {
		if strings.HasPrefix(line, "drawn ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func result(t *testing.T, sources string) Result {
	t.Helper()
	r, err := ReadResult(filepath.Join(Results(sources), "example.json"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func equal(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatARoundDrawsDependsOnTheSeedAndItsNumberAlone(t *testing.T) {
	all, ok := example(t, t.TempDir(), "run", seedVariable+"=5", roundsVariable+"=6")
	again, okAgain := example(t, t.TempDir(), "run", seedVariable+"=5", roundVariable+"=4")
	other, okOther := example(t, t.TempDir(), "run", seedVariable+"=6", roundsVariable+"=6")
	if !ok || !okAgain || !okOther || len(drawn(all)) != 6 {
		t.Fatalf("%s\n%s\n%s", all, again, other)
	}
	equal(t, drawn(all)[4:5], drawn(again))
	if cmp.Equal(drawn(all), drawn(other)) {
		t.Error("two seeds draw the same")
	}
}

func TestAnInterruptedFullRunGoesOnWhereItWas(t *testing.T) {
	whole, interrupted := t.TempDir(), t.TempDir()
	full := []string{lengthVariable + "=full", seedVariable + "=5"}
	all, ok := example(t, whole, "run", full...)
	first, stopped := example(t, interrupted, "stop at 3", full...)
	then, finished := example(t, interrupted, "run", lengthVariable+"=full") // nor is the seed asked for again
	if !ok || stopped || !finished {
		t.Fatalf("%s\n%s\n%s", all, first, then)
	}
	equal(t, drawn(all)[3:], drawn(then))
	want, got := result(t, whole), result(t, interrupted)
	want.Tally.Seconds, got.Tally.Seconds = 0, 0
	equal(t, want, got)
	equal(t, 10, got.Tally.Rounds)
	if again, _ := example(t, interrupted, "run", full...); len(drawn(again)) != 10 {
		t.Errorf("a run that had ended did not begin anew:\n%s", again)
	}
}

func TestAShortRunKeepsNoResult(t *testing.T) {
	sources := t.TempDir()
	output, ok := example(t, sources, "run", seedVariable+"=5")
	if !ok || len(drawn(output)) != 4 {
		t.Fatal(output)
	}
	if _, err := os.Stat(Results(sources)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there are results: %v", err)
	}
}

func TestAViolationIsCountedAndSaysHowToRepeatItAndTheRunGoesOn(t *testing.T) {
	sources := t.TempDir()
	output, ok := example(t, sources, "fail at 3", lengthVariable+"=full", seedVariable+"=5")
	if ok || len(drawn(output)) != 10 || !strings.Contains(output, "make torture-example SEED=5 ROUND=3") {
		t.Error(output)
	}
	equal(t, 1, result(t, sources).Tally.Violations)
	if output, _ := example(t, sources, "fail", lengthVariable+"=full", seedVariable+"=9", roundsVariable+"=50"); len(drawn(output)) != maxViolations {
		t.Errorf("nothing stops a run that always fails:\n%s", output)
	}
}

func TestWhatMustHoldOfAllRoundsIsChecked(t *testing.T) {
	sources := t.TempDir()
	output, ok := example(t, sources, "run", lengthVariable+"=full", seedVariable+"=5", roundsVariable+"=0")
	if ok || !strings.Contains(result(t, sources).Figure, "NOT MET: none was even") {
		t.Error(output)
	}
}
