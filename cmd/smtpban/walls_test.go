package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// walls is the plan of the house: what each room imports of our own and of
// others' making. Each outside thing belongs to one room.
var walls = map[string][]string{
	"internal/ban":        nil,
	"internal/journal":    nil,
	"internal/journal/sd": {"github.com/coreos/go-systemd/v22/sdjournal", "internal/journal"},
	"internal/postfix":    {"internal/ban", "internal/journal"},
	"internal/guard":      {"internal/ban"},
	"internal/store":      {"go.etcd.io/bbolt", "go.etcd.io/bbolt/errors", "golang.org/x/sys/unix", "internal/ban"},
	"internal/route":      {"github.com/vishvananda/netlink", "github.com/vishvananda/netlink/nl", "golang.org/x/sys/unix", "internal/ban"},
	"internal/config":     {"github.com/pelletier/go-toml/v2", "github.com/pelletier/go-toml/v2/unstable", "internal/ban"},
	"internal/foreign":    {"internal/ban", "internal/config"},
	"internal/report":     {"internal/ban", "internal/store"},
	"internal/pass":       {"internal/ban", "internal/journal", "internal/postfix", "internal/store"},
}

func TestRoomsImportOnlyWhatThePlanAllows(t *testing.T) {
	const module = "smtpban/"
	output, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"internal/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for line := range strings.Lines(string(output)) {
		fields := strings.Fields(line)
		room := strings.TrimPrefix(fields[0], module)
		if strings.HasSuffix(room, "test") { // for tests only
			continue
		}
		got[room] = nil
		for _, path := range fields[1:] {
			own, isOwn := strings.CutPrefix(path, module)
			if isOwn || strings.Contains(strings.Split(path, "/")[0], ".") {
				got[room] = append(got[room], own)
			}
		}
		slices.Sort(got[room])
	}
	if diff := cmp.Diff(walls, got); diff != "" {
		t.Errorf("the plan and the house differ (-plan +house):\n%s", diff)
	}
}
