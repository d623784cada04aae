package main

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/journal/sd"
	"smtpban/internal/pass"
)

// small is a journal that is soon made.
func small(t *testing.T, files int) (dir string, truth Truth) {
	t.Helper()
	if _, err := os.Stat(writer); errors.Is(err, fs.ErrNotExist) {
		if os.Getenv("CI") != "" {
			t.Fatalf("no %s: install systemd-journal-remote", writer)
		}
		t.Skipf("no %s: install systemd-journal-remote", writer)
	}
	dir, truth, err := journalDir(t.TempDir(), plan{Seed: 7, Entries: 6000, Clients: 100}, files)
	if err != nil {
		t.Fatal(err)
	}
	return dir, truth
}

func TestWhatIsTrueOfTheJournalIsWhatTheProgramFinds(t *testing.T) {
	dir, truth := small(t, 4)
	policy := config.Defaults().Policy
	for _, c := range ban.Classes() {
		if c != ban.Login {
			policy.Weights[c] = 1
		}
	}
	simulation := pass.NewSimulation(time.Time{}, ban.Forever, end(), policy)
	in, err := sd.Open(sd.Options{Directory: dir, UID: postfixUID})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for e, err := range in.Entries() {
		if err != nil {
			t.Fatal(err)
		}
		simulation.Add(e)
	}
	if simulation.Entries != truth.ClientFacing {
		t.Errorf("%d entries, want %d", simulation.Entries, truth.ClientFacing)
	}
	found := map[string]Client{}
	for _, c := range simulation.Verdicts[0].Clients() {
		x := Client{Classes: map[string]int{}, Banned: len(c.Bans) > 0}
		for _, n := range c.Classes {
			x.Classes[n.Class.String()] = n.Count
		}
		found[key(c.Prefix.Addr())] = x
	}
	if diff := cmp.Diff(truth.Clients, found); diff != "" {
		t.Errorf("(-true +found):\n%s", diff)
	}
}

func TestTheJournalIsOneSequenceOfSoundFiles(t *testing.T) {
	dir, truth := small(t, 3)
	names, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil || len(names) != 3 {
		t.Fatalf("files: %v, %v", names, err)
	}
	if out, err := exec.Command("journalctl", "-D", dir, "--verify").CombinedOutput(); err != nil {
		t.Errorf("journalctl --verify: %v\n%s", err, out)
	}
	out, err := exec.Command("journalctl", "-q", "-D", dir, "-o", "export", "--output-fields=_PID").Output()
	if err != nil {
		t.Fatal(err)
	}
	sequences := map[string]bool{}
	n := 0
	for line := range strings.Lines(string(out)) {
		if cursor, ok := strings.CutPrefix(line, "__CURSOR="); ok {
			n++
			sequences[strings.Split(cursor, ";")[0]] = true
		}
	}
	if n != truth.Entries || len(sequences) != 1 {
		t.Errorf("%d entries of %d sequences, want %d of one", n, len(sequences), truth.Entries)
	}
}

func TestASeedAlwaysMakesTheSame(t *testing.T) {
	p := plan{Seed: 3, Entries: 5000, Clients: 300}
	lines, truth := generate(p)
	again, _ := generate(p)
	if !slices.Equal(lines, again) {
		t.Error("the second time the entries are others")
	}
	p.Seed++
	if other, _ := generate(p); slices.Equal(lines, other) {
		t.Error("another seed makes the same entries")
	}
	classes, banned, ipv6 := map[string]int{}, 0, 0
	for k, c := range truth.Clients {
		for class, n := range c.Classes {
			classes[class] += n
		}
		if c.Banned {
			banned++
		}
		if strings.Contains(k, ":") {
			ipv6++
		}
	}
	for _, o := range offences {
		if classes[o.class] == 0 {
			t.Errorf("nothing of class %s", o.class)
		}
	}
	if n := len(truth.Clients); banned == 0 || banned == n || ipv6 == 0 || ipv6 == n || truth.Postfix != 5000*3/10 && truth.Postfix < 1400 {
		t.Errorf("%d clients, %d banned, %d IPv6, %d entries of Postfix", n, banned, ipv6, truth.Postfix)
	}
}

func TestResultsThatAreNotTrueAreAnError(t *testing.T) {
	truth := Truth{Clients: map[string]Client{"198.51.100.7": {Classes: map[string]int{"sasl-auth": 5}, Banned: true}}}
	const right = `{"clients":[{"client":"198.51.100.7","classes":{"sasl-auth":5},"banned":true}]}`
	if err := checkTruth([]byte(right), truth); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{
		strings.Replace(right, "5}", "6}", 1), strings.Replace(right, "true", "false", 1),
		strings.Replace(right, ".7", ".8", 1), `{"clients":[]}`, "",
	} {
		if checkTruth([]byte(wrong), truth) == nil {
			t.Errorf("no error for %q", wrong)
		}
	}
}

func TestPairsAreTakenByTurnsAndTheFirstDoesNotCount(t *testing.T) {
	var turns string
	sample := func(name string, values ...time.Duration) measurement {
		return func() (time.Duration, error) {
			turns += name
			v := values[0]
			values = values[1:]
			return v, nil
		}
	}
	a, b, ratio, err := pairs(3, sample("a", 900, 10, 30, 20), sample("b", 1, 10, 10, 40))
	if turns != "abababab" || a != 20 || b != 10 || ratio != 1 || err != nil {
		t.Errorf("%s: %d, %d, %v, %v", turns, a, b, ratio, err)
	}
	failing := func() (time.Duration, error) { return 0, errors.New("x") }
	if _, _, _, err := pairs(1, failing, sample("b", 1, 1)); err == nil {
		t.Error("no error of a sample that failed")
	}
}

func TestTheTableTellsWhatWasMetAndWhatWasNotMeasured(t *testing.T) {
	b := bench{}
	b.compare(row{number: "1", what: "a scan"}, "", 300*time.Millisecond, 200*time.Millisecond, 1.5, "C", 1.5)
	b.compare(row{number: "5", what: "a run"}, "154 files", 2*time.Second, time.Second, 2, "14 files", 1.5)
	b.skip(row{number: "2", what: "a peer"}, "not installed", "at most 0.13")
	var got strings.Builder
	if err := (Report{Machine: "Linux 6", Seed: 1, Results: b.results}).write(&got); err != nil {
		t.Fatal(err)
	}
	const want = "" +
		"| row | what             | figure        | against         | ratio | goal         | met          |\n" +
		"|-----|------------------|---------------|-----------------|-------|--------------|--------------|\n" +
		"| 1   | a scan           | 300 ms        | C 200 ms        | 1.50  | at most 1.5  | yes          |\n" +
		"| 5   | a run: 154 files | 2.00 s        | 14 files 1.00 s | 2.00  | at most 1.5  | **no**       |\n" +
		"| 2   | a peer           | not installed |                 |       | at most 0.13 | not measured |\n" +
		"\nLinux 6, seed 1\n"
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEveryRowHasItsNumberOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows() {
		seen[r.number] = true
	}
	if len(seen) != 13 || len(rows()) != 13 {
		t.Errorf("rows %v", slices.Sorted(maps.Keys(seen)))
	}
}
