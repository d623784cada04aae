package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"smtpban/integration/torture"
)

func TestTheTableHasTheRowsThatWereRun(t *testing.T) {
	folder := t.TempDir()
	for _, r := range []torture.Result{
		{Row: "kill", Title: "killed", Figure: "10 kills", Seed: 7, Version: "v1", Machine: "Linux 6", Ended: "2026-03-01"},
		{Row: "disk", Title: "bad disks", Seed: 8, Wanted: 9, Tally: torture.Tally{Rounds: 3, Violations: 1}, Version: "v1", Machine: "Linux 6", Ended: "2026-03-01"},
	} {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, r.Row+".json"), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var got strings.Builder
	if err := table(&got, folder, []string{"disk", "never", "kill"}); err != nil {
		t.Fatal(err)
	}
	const want = "| what | figure | seed | command |\n" +
		"| --- | --- | --- | --- |\n" +
		"| bad disks | interrupted after 3 of 9 rounds, 1 violations | 8 | `make torture-disk` |\n" +
		"| killed | 10 kills; 0 violations | 7 | `make torture-kill` |\n" +
		"\n" +
		"smtpban v1 on Linux 6, 2026-03-01\n"
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
