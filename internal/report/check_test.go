package report

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestChecksAreATableAndWhatToDo(t *testing.T) {
	checks := []Check{
		{Name: "journal", Result: OK, Found: "readable"},
		{Name: "routes", Result: Fault, Found: "none\x1b[2J", Remedy: "see ip-route(8)\n"},
	}
	const table = "" +
		"CHECK    RESULT   FOUND\n" +
		"journal  ok       readable\n" +
		"routes   failure  none?[2J\n" +
		"\n2 checks listed.\n" +
		"\nroutes: see ip-route(8)?\n"
	const array = `[
  {
    "check": "journal",
    "result": "ok",
    "found": "readable",
    "remedy": null
  },
  {
    "check": "routes",
    "result": "failure",
    "found": "none\u001b[2J",
    "remedy": "see ip-route(8)\n"
  }
]
`
	var text, json strings.Builder
	if err := (Text{Location: time.UTC, Legend: true}).WriteChecks(&text, checks); err != nil {
		t.Fatal(err)
	}
	if err := WriteChecksJSON(&json, checks); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{table, array}, []string{text.String(), json.String()}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestResultsAreOrderedFromSkippedToFailure(t *testing.T) {
	order := []Result{Skipped, OK, Warning, Fault}
	for i, a := range order {
		for j, b := range order {
			if a.Worse(b) != (i > j) {
				t.Errorf("%s worse than %s: %v", a, b, a.Worse(b))
			}
		}
	}
}
