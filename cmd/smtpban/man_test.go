package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
	"smtpban/internal/pass"
	"smtpban/internal/report"
	"smtpban/internal/store"
	"smtpban/man"
)

const (
	manPage = "../../man/smtpban.8.md"
	readme  = "../../README.md"
)

func TestManualPageDefinesEveryCommand(t *testing.T) {
	var want []string
	for _, cmd := range commands(completeRoot()) {
		want = append(want, strings.TrimSuffix(strings.TrimPrefix(cmd.UseLine(), "smtpban "), " [flags]"))
	}
	got := definitions(section(t, "# COMMANDS"))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-commands +page):\n%s", diff)
	}
}

func TestNoTopicHasTheNameOfACommand(t *testing.T) {
	topics := man.Topics()
	if len(topics) == 0 {
		t.Error("there is no topic")
	}
	for _, topic := range topics {
		if cmd, _, err := completeRoot().Find([]string{topic.Name}); err == nil && cmd.HasParent() {
			t.Errorf("smtpban help %s shows the usage of the command", topic.Name)
		}
	}
}

func TestManualPageDefinesEveryOptionWhereItBelongs(t *testing.T) {
	headings := map[string]string{}
	heading := ""
	line := regexp.MustCompile(`(?m)^#+ (.*)$|` + definition.String())
	for _, match := range line.FindAllStringSubmatch(section(t, "# OPTIONS")+"\n# OLD OPTIONS\n"+section(t, "# OLD OPTIONS"), -1) {
		if match[1] != "" {
			heading = strings.Replace(match[1], "OLD OPTIONS", "Options without a command", 1)
		} else {
			headings[plain(match[2])] = heading
		}
	}
	if diff := cmp.Diff(flagHeadings(completeRoot()), headings); diff != "" {
		t.Errorf("(-flags +page):\n%s", diff)
	}
}

// commands returns those that do something: in the place of ignore its parts.
func commands(root *cobra.Command) (all []*cobra.Command) {
	for _, cmd := range root.Commands() {
		if cmd.Name() == "ignore" {
			all = append(all, cmd.Commands()...)
		} else {
			all = append(all, cmd)
		}
	}
	return all
}

// flagHeadings returns, for each flag as it is written in the page, the heading
// that says which commands have it.
func flagHeadings(root *cobra.Command) map[string]string {
	users := map[string][]string{}
	for _, cmd := range commands(root) {
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			name := strings.TrimPrefix(cmd.CommandPath(), "smtpban ")
			users[describeFlag(f)] = append(users[describeFlag(f)], name)
		})
	}
	headings := map[string]string{}
	root.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		headings[describeFlag(f)] = "Options without a command"
	})
	for option, names := range users {
		last := len(names) - 1
		headings[option] = "Options of " + names[last]
		if last > 0 {
			headings[option] = "Options of " + strings.Join(names[:last], ", ") + " and " + names[last]
		}
	}
	everywhere := func(f *pflag.Flag) { headings[describeFlag(f)] = "Options of every command" }
	root.PersistentFlags().VisitAll(everywhere)
	everywhere(root.Flags().Lookup("help"))
	return headings
}

// describeFlag writes a flag as in "-o, --output FORMAT".
func describeFlag(f *pflag.Flag) string {
	value, _ := pflag.UnquoteUsage(f)
	text := strings.TrimSpace("--" + f.Name + " " + value)
	if f.Shorthand != "" {
		text = "-" + f.Shorthand + ", " + text
	}
	return text
}

var codeBlock = regexp.MustCompile("(?ms)^```.*?^```$")

func TestManualPageDefinesEveryExitStatus(t *testing.T) {
	if diff := cmp.Diff(exitStatuses(t), definitions(section(t, "# EXIT STATUS"))); diff != "" {
		t.Errorf("(-exit.go +page):\n%s", diff)
	}
}

// exitStatuses returns those that exit.go names.
func exitStatuses(t *testing.T) (statuses []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "exit.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "exit") {
			statuses = append(statuses, spec.Values[0].(*ast.BasicLit).Value)
		}
		return true
	})
	return statuses
}

// sampleReport tells of a client that was banned and comes all the same, and of its
// neighbour, who came close to a ban.
func sampleReport(at func(clock string) time.Time, b report.Ban) report.Report {
	neighbour := netip.MustParsePrefix("203.0.113.10/32")
	attempts := func(hour string, n, bans int) report.Hour {
		return report.Hour{Start: at(hour), Attempts: map[ban.Class]int{ban.SASLAuth: n}, Bans: bans}
	}
	return report.Report{
		Host: "mx1.example", Until: at("10:00:00"), Bans: []report.Ban{b}, Attackers: 2,
		Clients: []report.Client{
			{Prefix: b.Prefix, Failures: 7, First: at("07:30:00"), Last: at("09:15:00"), State: report.Blocked},
			{Prefix: neighbour, Failures: 4, First: at("07:45:00"), Last: at("09:30:00"), State: report.Open},
		},
		Ineffective: []report.Ineffective{{Prefix: b.Prefix, Since: at("08:00:30"), Last: at("09:15:00")}},
		Seen:        []report.Seen{{Class: ban.SASLAuth, Count: store.Count{Events: 13, Counted: 11}}},
		Gaps:        []store.Gap{{From: at("03:00:00"), To: at("03:00:07.5"), Reason: "the last entry read is gone from the journal"}},
		Unknown:     []store.Shape{{Text: "smtpd: warning: CLIENT: tried N new tricks", Count: 1, First: at("09:15:00"), Last: at("09:15:00")}},
		Changes:     report.Changes{New: report.Group{Named: []report.Change{{Ban: b.Ban}}}},
		Near:        report.Near{Clients: []report.NearMiss{{Prefix: neighbour, Points: 4, At: at("09:30:00")}}, MaxRetry: 5},
		Networks:    []report.Network{{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Clients: 2, Failures: 11}},
		Users:       report.Users{Named: []report.User{{Name: "info", Attempts: 9}}, Others: 2},
		Hours:       []report.Hour{attempts("07:00:00", 5, 0), attempts("08:00:00", 4, 1), attempts("09:00:00", 4, 1)},
	}
}

func TestManualPageShowsTheJSONAsItIs(t *testing.T) {
	at := func(clock string) time.Time {
		stamp, err := time.Parse(time.RFC3339Nano, "2026-03-01T"+clock+"Z")
		if err != nil {
			t.Fatal(err)
		}
		return stamp
	}
	client := netip.MustParsePrefix("203.0.113.9/32")
	bans := []report.Ban{{Route: true, Ban: ban.Ban{
		Prefix: client, Class: ban.SASLAuth, Failures: 7, Start: at("08:00:00.123456"),
		Until: at("08:00:00.123456").AddDate(0, 0, 1), Count: 1, Origin: ban.OriginJournal,
	}}, {Route: true, Ban: ban.Ban{
		Prefix: netip.MustParsePrefix("2001:db8:bad::/48"), Start: at("09:00:00"),
		Until: ban.Forever, Count: 1, Origin: ban.OriginManual, Reason: "scans us",
	}}}
	summary := sampleReport(at, bans[0])
	line, err := matched("warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: (reason unavailable), sasl_username=alice")
	if err != nil {
		t.Fatal(err)
	}
	hit := ban.Hit{Weight: 1, Event: ban.Event{
		Time: at("07:30:00"), Identifier: "postfix/smtpd", PID: 4711, Service: "smtpd", Class: ban.SASLAuth, Address: client.Addr(), User: "alice",
	}}
	past := ban.Ban{Prefix: client, Class: ban.SASLAuth, Failures: 5, Start: at("08:00:00").AddDate(0, 0, -9), Until: at("08:00:00").AddDate(0, 0, -8), Count: 1, Origin: ban.OriginJournal}
	why := report.Explanation{
		Prefix: client, Client: ban.Client{Failures: 1, First: hit.Time, Last: hit.Time}, Points: 1, Count: 2, Length: 48 * time.Hour,
		Events:  []report.Event{{Hit: hit, Line: "warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: (reason unavailable), sasl_username=alice"}},
		Earlier: []store.Ended{{Ban: past, At: past.Until, How: store.Expired}},
	}
	simulation := pass.NewSimulation(time.Time{}, ban.Forever, at("10:00:00"), ban.DefaultPolicy())
	for minute := range 6 {
		simulation.Add(journal.Entry{
			Time: hit.Time.Add(time.Duration(minute) * time.Minute), Identifier: "postfix/smtpd", PID: 4711,
			Message: "warning: unknown[203.0.113.9]: SASL LOGIN authentication failed: UGFzc3dvcmQ6",
		})
	}
	outcomes := []outcome{newOutcome(simulation.Verdicts[0], ban.NeverBan{})}
	checks := []report.Check{{Name: "journal", Result: report.OK, Found: "it can be read, and has entries of 2 boots"}, {
		Name: "postfix-log", Result: report.Fault, Found: "/etc/postfix has maillog_file = /var/log/postfix.log",
		Remedy: "postconf -c /etc/postfix -X maillog_file, then postfix reload: Postfix logs to the journal then",
	}}
	var list, glance, object, reasons, what, spared, doctor bytes.Buffer
	if err := report.WriteBansJSON(&list, bans); err != nil {
		t.Fatal(err)
	}
	if err := report.WriteJSON(&glance, sampleStatus(at("10:00:00")).toJSON()); err != nil {
		t.Fatal(err)
	}
	if err := summary.WriteJSON(&object); err != nil {
		t.Fatal(err)
	}
	if err := report.WriteExplanationsJSON(&reasons, []report.Explanation{why}, ban.DefaultPolicy()); err != nil {
		t.Fatal(err)
	}
	if err := (simulated{Simulation: simulation, outcomes: outcomes}).writeJSON(&what); err != nil {
		t.Fatal(err)
	}
	ignores := []ban.Ignore{{Prefix: client, Added: at("09:00:00"), Until: at("09:00:00").AddDate(0, 0, 14), Reason: "calls back on Monday"}}
	if err := report.WriteIgnoresJSON(&spared, ignores); err != nil {
		t.Fatal(err)
	}
	if err := report.WriteChecksJSON(&doctor, checks); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, text := range []string{list.String(), glance.String(), object.String(), reasons.String(), what.String(), spared.String(), line, doctor.String()} {
		want = append(want, "```json\n"+text+"```")
	}
	if diff := cmp.Diff(want, codeBlock.FindAllString(section(t, "# JSON OUTPUT"), -1)); diff != "" {
		t.Errorf("(-output +page):\n%s", diff)
	}
}

func TestManualPageShowsAnExportThatCanBeImported(t *testing.T) {
	example, _, _ := strings.Cut(section(t, "# MOVING THE STATE"), "\n```\n\nThe kinds of")
	_, example, _ = strings.Cut(example, "```\n")
	found, err := store.ReadExport(strings.NewReader(example), "page", func(store.Record) error { return nil })
	if diff := cmp.Diff(map[string]int{"ban": 1}, found.Records); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// matched returns what smtpban match -o json prints of a message.
func matched(message string) (string, error) {
	var out bytes.Buffer
	a := &app{stdout: &out, log: &logger{stderr: &out}}
	root := newRootCommand(a)
	root.SetArgs([]string{"match", "-o", "json", message})
	err := root.Execute()
	return out.String(), err
}

func TestManualPageDefinesEveryCheck(t *testing.T) {
	var want []string
	for _, e := range (&doctor{}).examinations() {
		want = append(want, e.name)
	}
	var got []string
	for _, term := range definitions(section(t, "# CHECKS")) {
		got = append(got, strings.Split(term, ", ")...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-checks +page):\n%s", diff)
	}
}

func TestManualPageNamesTheMessageIDs(t *testing.T) {
	text := section(t, "# JOURNAL FIELDS")
	for _, id := range []string{idBanned, idSpared, idUnbanned, idHeld, idFreed, idIgnored, idStopped} {
		if !strings.Contains(text, "MESSAGE_ID="+id) {
			t.Errorf("MESSAGE_ID=%s is missing", id)
		}
	}
}

// The catalogue is what journalctl -x says; journalctl itself reads it here.
func TestCatalogueExplainsTheMessageIDs(t *testing.T) {
	root := t.TempDir()
	place := filepath.Join(root, "usr/lib/systemd/catalog")
	if err := os.MkdirAll(place, 0o755); err != nil {
		t.Fatal(err)
	}
	text := readText(t, "../../units/smtpban.catalog")
	if err := os.WriteFile(filepath.Join(place, "smtpban.catalog"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--update-catalog"}, {"--dump-catalog"}} {
		out, err := exec.Command("journalctl", append([]string{"--root=" + root}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("journalctl %v: %v\n%s", args, err, out)
		}
		text = string(out)
	}
	var got []string
	for _, match := range regexp.MustCompile(`(?m)^-- ([0-9a-f]{32})`).FindAllStringSubmatch(text, -1) {
		got = append(got, match[1])
	}
	want := []string{idBanned, idSpared, idUnbanned, idHeld, idFreed, idIgnored, idStopped}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-ids +catalogue):\n%s", diff)
	}
}

// completeRoot returns the root command with what cobra adds when it runs.
func completeRoot() *cobra.Command {
	root := newRootCommand(&app{log: &logger{}})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpFlag()
	root.InitDefaultVersionFlag()
	return root
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// section returns a section of the manual page without its heading.
func section(t *testing.T, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut(readText(t, manPage), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("the page has no section %q", heading)
	}
	text, _, _ := strings.Cut(rest, "\n# ")
	return text
}

// definition is a line of the page that the next one explains.
var definition = regexp.MustCompile(`(?m)^(\S.*)\n: `)

// definitions returns what is defined in a part of the page.
func definitions(text string) []string {
	var terms []string
	for _, match := range definition.FindAllStringSubmatch(text, -1) {
		terms = append(terms, plain(match[1]))
	}
	return terms
}

func plain(markdown string) string { return strings.ReplaceAll(markdown, "*", "") }
