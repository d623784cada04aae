package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fixtures names a directory; if it is set, the tests write what Postfix logged
// into it, as make fixtures has them do.
const fixtures = "SMTPBAN_FIXTURES"

// captures are the files that were written so.
const captures = "../internal/postfix/testdata/captured"

func TestFixturesBookworm(t *testing.T) { captureFixtures(t, "bookworm") }
func TestFixturesTrixie(t *testing.T)   { captureFixtures(t, "trixie") }

// captureFixtures provokes every kind of line that a real Postfix can be made to
// write about a client, and proves that it did.
func captureFixtures(t *testing.T, suite string) {
	needSystem(t)
	s := newSystem(t, suite)
	defer lookAround(t, s)
	installProvocable(t, s)
	s.boot(t)
	serveNames(t, s.net.server)
	serve(t, s.net.server, policyService, policy)
	serve(t, s.net.server, milterService, milter)
	serve(t, s.net.server, dovecotService, dovecot)

	version := strings.Split(s.run(t, "postconf", "-h", "mail_version"), ".")
	release := version[0] + "." + version[1]
	all := provocations(release)
	provoke(t, s.net, all)
	lines := mailLog(t, s)
	for deadline := time.Now().Add(10 * time.Second); len(missing(all, lines)) > 0 && time.Now().Before(deadline); {
		time.Sleep(200 * time.Millisecond) // a server notices a hang-up a little later
		lines = mailLog(t, s)
	}
	for _, m := range missing(all, lines) {
		t.Error(m)
	}
	file := filepath.Join(t.TempDir(), "mail.log")
	writeFixtures(t, file, lines)
	for _, m := range misread(all, match(t, file)) {
		t.Error(m)
	}
	if dir := os.Getenv(fixtures); dir != "" && !t.Failed() {
		writeFixtures(t, filepath.Join(dir, "postfix-"+release+".log"), lines)
	}
}

// TestCapturesAreComplete finds a row that was added or changed without asking
// real servers what they log then.
func TestCapturesAreComplete(t *testing.T) {
	for _, release := range []string{"3.7", "3.10"} {
		t.Run(release, func(t *testing.T) {
			lines := readFixtures(t, filepath.Join(captures, "postfix-"+release+".log"))
			for _, m := range missing(provocations(release), lines) {
				t.Error(m)
			}
			if t.Failed() {
				t.Log("sudo make fixtures writes the file anew")
			}
		})
	}
}

// A logLine is one of Postfix's lines about a client.
type logLine struct {
	at           time.Time
	tag, message string
}

func (l logLine) String() string { return l.tag + ": " + l.message }

// speakers are the programs that name clients.
var speakers = []string{"smtpd", "postscreen", "cleanup"}

// mailLog returns what Postfix's own user wrote about clients.
func mailLog(t *testing.T, s *system) []logLine {
	t.Helper()
	s.run(t, "journalctl", "--sync")
	uid := strings.TrimSpace(s.run(t, "id", "-u", "postfix"))
	text := s.run(t, "journalctl", "-q", "-o", "json", "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,SYSLOG_PID", "_TRANSPORT=syslog", "_UID="+uid)
	var lines []logLine
	for line := range strings.Lines(text) {
		var e struct {
			At      string `json:"__REALTIME_TIMESTAMP"`
			Tag     string `json:"SYSLOG_IDENTIFIER"`
			PID     string `json:"SYSLOG_PID"`
			Message string `json:"MESSAGE"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("journalctl printed %q: %v", line, err)
		}
		µs, err := strconv.ParseInt(e.At, 10, 64)
		if err != nil {
			t.Fatalf("journalctl printed %q: %v", line, err)
		}
		if slices.Contains(speakers, e.Tag[strings.LastIndex(e.Tag, "/")+1:]) {
			lines = append(lines, logLine{time.UnixMicro(µs), e.Tag + "[" + e.PID + "]", e.Message})
		}
	}
	return lines
}

// pattern makes the regular expression of a whole message out of a short form,
// in which CLIENT is the client's name and address as smtpd writes them, PEER its
// address and port as postscreen does, ADDRESS the address alone, and QID the
// number of a mail in the queue, if there is one yet. It shares nothing with
// smtpban's parser.
func (p provocation) pattern(short string) *regexp.Regexp {
	address := regexp.QuoteMeta(p.from.String())
	return regexp.MustCompile(`^` + strings.NewReplacer(
		"CLIENT", `[A-Za-z0-9.-]+\[`+address+`\]`,
		"PEER", `\[`+address+`\]:[0-9]+`,
		"ADDRESS", address,
		"QID", `(NOQUEUE|[0-9A-F]+)`,
	).Replace(short) + `$`)
}

// missing tells what was provoked and is not in the lines.
func missing(all []provocation, lines []logLine) []string {
	var complaints []string
	shown, open := map[string]bool{}, 0
	for _, p := range all {
		for _, short := range p.logs {
			pattern := p.pattern(short)
			if slices.ContainsFunc(lines, func(l logLine) bool { return pattern.MatchString(l.message) }) {
				shown[p.class] = true
				continue
			}
			complaints = append(complaints, fmt.Sprintf("%q from %s: no line matches %s; there are\n%s", p.class, p.from, short, about(p, lines)))
		}
	}
	for _, class := range classes {
		if !shown[class] {
			complaints = append(complaints, "no line of class "+class)
		}
	}
	for _, l := range lines {
		switch first, _, _ := strings.Cut(l.message, " "); first {
		case "connect":
			open++
		case "disconnect":
			open--
		}
	}
	if open != 0 {
		complaints = append(complaints, fmt.Sprintf("%d sessions are not over", open))
	}
	return complaints
}

// A reading is how smtpban match says a line was read.
type reading struct {
	Line    int
	Class   string
	Address string
	Counted bool
}

// match lets smtpban, as it is built, read a maillog.
func match(t *testing.T, file string) []reading {
	t.Helper()
	output(t, exec.Command("make", "-C", "..", "build"))
	text := output(t, exec.Command("../bin/smtpban", "match", "--maillog", file, "-o", "json"))
	var readings []reading
	for line := range strings.Lines(text) {
		var r reading
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("smtpban match printed %q: %v", line, err)
		}
		readings = append(readings, r)
	}
	return readings
}

// misread tells of whom smtpban has not read what they did, and of whom it
// counts something although they did nothing.
func misread(all []provocation, readings []reading) []string {
	var complaints []string
	of := map[string][]reading{}
	for _, r := range readings {
		of[r.Address] = append(of[r.Address], r)
	}
	for _, p := range all {
		does := of[p.from.String()]
		bad := func(r reading) bool { return r.Class == p.class }
		if slices.Contains(harmless, p.class) {
			if slices.ContainsFunc(does, func(r reading) bool { return r.Counted }) {
				complaints = append(complaints, fmt.Sprintf("%q from %s counts: %+v", p.class, p.from, does))
			}
		} else if !slices.ContainsFunc(does, bad) {
			complaints = append(complaints, fmt.Sprintf("%q from %s is read as %+v", p.class, p.from, does))
		}
	}
	return complaints
}

// about returns the lines that name a client.
func about(p provocation, lines []logLine) string {
	client := regexp.MustCompile(`\b` + regexp.QuoteMeta(p.from.String()) + `\b`)
	var text strings.Builder
	for _, l := range lines {
		if client.MatchString(l.message) {
			fmt.Fprintln(&text, l)
		}
	}
	return text.String()
}

// readFixtures returns the lines of a file, without their times.
func readFixtures(t *testing.T, file string) []logLine {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var lines []logLine
	for line := range strings.Lines(string(text)) {
		head, message, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "]: ")
		if !ok {
			t.Fatalf("%s holds %q", file, line)
		}
		lines = append(lines, logLine{tag: head[strings.LastIndex(head, " ")+1:] + "]", message: message})
	}
	return lines
}

// writeFixtures writes the lines as rsyslog would.
func writeFixtures(t *testing.T, file string, lines []logLine) {
	t.Helper()
	var text strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&text, "%s mx %s\n", l.at.UTC().Format("2006-01-02T15:04:05.000000Z"), l)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d lines", file, len(lines))
}
