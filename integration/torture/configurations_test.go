package torture_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"smtpban/integration/torture"
)

// TestTortureConfigurations breaks the configuration of a machine with bans, each
// time in another place, and runs one of the commands that go by it: each is to
// refuse with the file, line and column, exit 78, and change nothing. Only restore
// does its work first.
func TestTortureConfigurations(t *testing.T) {
	private(t)
	binary := build(t)
	torture.Run(t, torture.Row{
		Title: "broken configurations", Goal: "200, all refused with file:line:column, exit 78, nothing changed",
		Short: 40, Full: 400,
		Figure: func(y torture.Tally) string {
			return fmt.Sprintf("%d files (%d drop-ins), all refused with file:line:column and exit 78", y.Rounds, y.Counts["drop-ins"])
		},
	}, func(r *torture.Round) error {
		m := newMachine(t, binary, r.Dir(t))
		defer m.table.Close()
		return (&vandal{Round: r, machine: m, t: t}).tell()
	})
}

// vandal is a round.
type vandal struct {
	*torture.Round
	*machine
	t *testing.T
}

func (v *vandal) tell() error {
	now := began
	bans := []string{"203.0.113.1", "203.0.113.2", "2001:db8:1::/64"}
	if err := v.command(now, append([]string{"ban", "-q"}, bans...)...).succeed(); err != nil {
		return err
	}
	where, text, err := v.damage()
	if err != nil {
		return err
	}
	verb := [][]string{
		{"block"}, {"block", "--dry-run"}, {"expire"}, {"restore"}, {"report"}, {"report", "--mark"}, {"list"}, {"check"},
		{"ban", "203.0.113.3"}, {"unban", "203.0.113.1"}, {"unban", "--all"}, {"-b"}, {"-e", "-p", "-b"},
	}[v.Rand.IntN(13)]
	state, routes := v.files(), v.machine.routes(v.t)
	r := v.command(now.Add(time.Minute), verb...)
	r.Run()
	said := regexp.MustCompile(`(?m)^(smtpban: )?` + regexp.QuoteMeta(where) + `:\d+: .+`)
	switch {
	case r.ProcessState == nil, r.status() != 78:
		err = r.fail("broken by %q: exit status 78 is wanted", text)
	case !said.MatchString(r.output.String()):
		err = r.fail("broken by %q: %s: is wanted", text, where)
	case v.files() != state:
		err = r.fail("broken by %q: it changed the state", text)
	case !slices.Equal(routes, v.machine.routes(v.t)):
		err = r.fail("broken by %q: it changed the routes", text)
	}
	return err
}

// files is the content of all that is kept but the lock.
func (v *vandal) files() string {
	var text strings.Builder
	dir := filepath.Dir(v.state())
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			fmt.Fprintf(&text, "%s\n%s\n", path, readFile(v.t, path))
		}
		return err
	})
	if err != nil {
		v.t.Fatal(err)
	}
	return text.String()
}

// damage puts something wrong into the configuration or a drop-in, and returns
// the file and line that an error must name.
func (v *vandal) damage() (where, text string, err error) {
	section, line := wrong(v.Rand)
	path, lines := v.config(), strings.Split(strings.TrimSuffix(string(readFile(v.t, v.config())), "\n"), "\n")
	if v.Rand.IntN(2) == 0 {
		v.Count("drop-ins", 1)
		path = filepath.Join(v.dir, "smtpban.d", fmt.Sprintf("%02d.toml", v.Rand.IntN(100)))
		lines = slices.Repeat([]string{"# a comment"}, v.Rand.IntN(5))
	}
	lines = slices.DeleteFunc(lines, func(l string) bool { return key(l) != "" && key(l) == key(line) }) // twice would be another mistake
	if !slices.Contains(lines, section) {
		lines = append(lines, section)
	}
	at := slices.Index(lines, section)
	lines = slices.Insert(lines, at+1, line)
	err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
	return fmt.Sprintf("%s:%d", path, at+2), line, err
}

// key returns what a line sets.
func key(line string) string {
	name, _, ok := strings.Cut(line, "=")
	if !ok {
		return ""
	}
	return strings.TrimSpace(name)
}

// wrong returns a section and a line in it that is refused.
func wrong(r *rand.Rand) (section, line string) {
	sections := []struct {
		name   string
		values map[string][]string
	}{
		{"[policy]", map[string][]string{
			"maxretry":       {"0", "-5", "1001", "5.0", `"5"`, "true", "05", "five", "99999999999999999999", "2026-03-01"},
			"findtime":       {`"0"`, `"500ms"`, `"53w"`, `"infinity"`, "86400", `""`, `"-1d"`, `"7 dayz"`, "1d", `"1d`, `"\q"`},
			"bantime":        {`"0s"`, `"300y"`, "inf", "[]", `"13w"`},
			"bantime_factor": {"0.5", "101", "nan", `"2"`, "1e999", "-1"},
			"bantime_max":    {`"1s"`, "12", `"x"`},
			"forget":         {`"-1"`, "1.5", `"1 fortnight"`},
			"ipv4_prefix":    {"15", "33", `"/32"`, "0"},
			"ipv6_prefix":    {"31", "129", `"/64"`, "64.0"},
			"ignoreip":       {`"192.0.2.1"`, `["192.0.2.300"]`, `["192.0.2.1/33"]`, `["192.0.2.1/24"]`, `["fe80::1%eth0"]`, `["mail.example.com"]`, `[""]`, "[5]"},
			"ignorename":     {`"example.org"`, `[""]`, `["."]`, `["*.example.org"]`, `["192.0.2.1"]`, `[".bücher.example"]`, "[true]"},
			"maxrety":        {"5"}, "MaxRetry": {"5"}, `"max retry"`: {"5"},
		}},
		{"[classes]", map[string][]string{
			"sasl-auth": {"-1", "1001", "0.5", `"one"`, "[]", "{}"},
			"sasl-auht": {"1"}, "login": {"1"}, "SASL-AUTH": {"1"},
		}},
		{"[service.submission.classes]", map[string][]string{"relay-denied": {"-1", "1.5", `"0"`}, "bad": {"2"}}},
		{"[journal]", map[string][]string{
			"directory":    {`"journal"`, "true", `"/x\u0000"`},
			"postfix_user": {"89", `"4294967296"`, `"post fix"`, `"/usr"`},
			"path":         {`"/x"`},
		}},
		{"[store]", map[string][]string{"path": {`""`, `"smtpban.db"`, "1", "/var/lib/smtpban.db"}, "directory": {`"/x"`}}},
		{"[route]", map[string][]string{
			"protocol": {"4", "256", "16", "186", `"smtpban"`}, "table": {"0", "255", "2147483648", "main"},
			"max_ipv4": {"0", "-1", "10000001"}, "max_ipv6": {"0", "10000001", `"many"`},
			"end_connections": {"25", `"smtp"`, "[25, 0]", "[65536]", `["smtp"]`}, "metric": {"1"},
		}},
	}
	if r.IntN(10) == 0 {
		return "[policy]", []string{"maxretry", "= 5", "maxretry = 5 findtime = '1d'", "[policy", "]", "\x00", "findtime = '\xff'", "\x1b[31m = 1"}[r.IntN(8)]
	}
	s := sections[r.IntN(len(sections))]
	names := make([]string, 0, len(s.values))
	for name := range s.values {
		names = append(names, name)
	}
	slices.Sort(names) // a seed draws the same each time
	name := names[r.IntN(len(names))]
	return s.name, name + " = " + s.values[name][r.IntN(len(s.values[name]))]
}
