package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"smtpban/integration/torture"
)

// measureActivation, set to 1, asks for the tests below: make bench-activation does.
const measureActivation = "SMTPBAN_ACTIVATION"

// By turns every unit is started so often, in each of so many rounds.
const (
	activations      = 10
	activationRounds = 7
)

const (
	unitDir = "usr/lib/systemd/system"
	sandbox = unitDir + "/smtpban-.service.d/10-sandbox.conf"
)

// The options of the sandbox that may cost something, with what switches them off:
// those that need mounts, those that are filters of system calls, and the others.
// Several in a line belong together.
var (
	mounting = []string{
		"ProtectKernelTunables=no", "ProtectControlGroups=no", "InaccessiblePaths=", "ProtectProc=default ProcSubset=all", "ProtectKernelLogs=no",
		"ProtectKernelModules=no", "ProtectHome=no", "ProtectSystem=no ReadWritePaths=", "PrivateDevices=no", "PrivateTmp=no",
	}
	filtering = []string{
		"SystemCallFilter= SystemCallArchitectures=",
		"RestrictAddressFamilies= RestrictNamespaces=no RestrictRealtime=no RestrictSUIDSGID=no LockPersonality=no MemoryDenyWriteExecute=no ProtectClock=no ProtectHostname=no",
	}
	others = []string{"NoNewPrivileges=no", "IPAddressDeny=", "DevicePolicy=auto", "MemoryMax= TasksMax=", "KeyringMode=inherit RemoveIPC=no"}
)

// They print what one start of smtpban-block.service costs, all that systemd does
// for it included, and which lines of the unit make it dear.
func TestActivationBookworm(t *testing.T) { activate(t, "bookworm") }
func TestActivationTrixie(t *testing.T)   { activate(t, "trixie") }

func activate(t *testing.T, suite string) {
	if os.Getenv(measureActivation) != "1" {
		t.Skip("only by make bench-activation")
	}
	needSystem(t)
	s := &story{system: newSystem(t, suite)}
	defer dumpJournal(t, s.system)
	s.installed(t)
	s.run(t, "smtpban", "block")
	s.run(t, "systemctl", "start", "smtpban-restore.service")

	rows := []*activation{
		{what: "smtpban-block.service", unit: "smtpban-block"},
		{what: "  with /bin/true in the place of smtpban", unit: s.variant(t, "smtpban-true", "ExecStart=", "ExecStart=/bin/true")},
		{what: "  without what mounts", unit: s.variant(t, "smtpban-unmounted", append(fields(mounting), "PrivateMounts=no")...)},
		{what: "  without the filters of system calls", unit: s.variant(t, "smtpban-unfiltered", fields(filtering)...)},
		{what: "  without the sandbox", unit: s.variant(t, "bare", bare...)},
		{what: "  only asked for, as it is active already", unit: "smtpban-restore"},
		{what: "nothing, for as long"},
	}
	whole, stripped, parts := rows[0], rows[4], len(rows)
	for i, off := range slices.Concat(mounting, filtering, others) {
		changes := strings.Fields(off)
		name := strings.ReplaceAll(off, " ", ", ")
		rows = append(rows,
			&activation{what: name, unit: s.variant(t, fmt.Sprint("smtpban-without", i), changes...), than: whole},
			&activation{unit: s.variant(t, fmt.Sprint("bare-with", i), append(slices.Clone(bare), s.shipped(t, changes)...)...), than: stripped})
	}
	s.run(t, "systemctl", "daemon-reload")
	for round := range activationRounds + 1 {
		for _, r := range rows {
			spent := s.activations(t, r.unit, whole.wall)
			if round > 0 { // the first does not count
				r.add(spent)
			} else {
				r.wall = spent.wall
			}
		}
	}
	fmt.Printf("%s: systemd %s, CPU time of a start in ms\n%-40s %6s %6s %8s %7s %7s\n", suite, s.version(t, "systemd"), "", "TOTAL", "PID 1", "SERVICE", "JOURNAL", "OTHERS")
	for _, r := range rows[:parts] {
		fmt.Printf("%-40s %6.1f %6.1f %8.1f %7.1f %7.1f\n", r.what, ms(r.total), ms(r.init), ms(r.service), ms(r.journald), ms(r.others()))
	}
	fmt.Printf("smtpban block by hand, the process alone: %.1f\n", s.byHand(t))
	fmt.Printf("%6s %6s\n%6s %6s\n", "SAVES", "ADDS", "IF OFF", "ALONE")
	for i := parts; i < len(rows); i += 2 {
		fmt.Printf("%6.1f %6.1f  %s\n", -rows[i].more(), rows[i+1].more(), rows[i].what)
	}
}

// fields returns the settings of some options one by one.
func fields(options []string) []string { return strings.Fields(strings.Join(options, " ")) }

// bare is what block needs and has from the drop-in for all services. The other
// architectures' system calls would make every filter dearer than it is.
var bare = []string{"User=smtpban", "StateDirectory=smtpban", "SystemCallArchitectures=native"}

// variant makes a unit that is smtpban-block.service but for some settings, and
// returns its name. The sandbox is that of all units of smtpban if its name is one.
func (s *story) variant(t *testing.T, name string, settings ...string) string {
	t.Helper()
	unit, err := os.ReadFile(filepath.Join(s.root, unitDir, "smtpban-block.service"))
	if err != nil {
		t.Fatal(err)
	}
	const own = "etc/systemd/system/"
	s.write(t, own+name+".service", string(unit))
	s.write(t, own+name+".service.d/90-variant.conf", "[Unit]\nStartLimitIntervalSec=0\n[Service]\n"+strings.Join(settings, "\n")+"\n")
	return name
}

// shipped returns the sandbox's lines with these settings.
func (s *story) shipped(t *testing.T, settings []string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.root, sandbox))
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range settings {
		name, _, _ := strings.Cut(each, "=")
		before := len(lines)
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, name+"=") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		if len(lines) == before {
			t.Fatalf("%s has no %s=", sandbox, name)
		}
	}
	return lines
}

// spending is what a start took: CPU time of the whole system, of its parts, and
// how long it lasted.
type spending struct {
	total, init, service, journald, wall time.Duration
}

func (s spending) others() time.Duration { return s.total - s.init - s.service - s.journald }

// activation is a row of the table: the medians of what was spent on a unit.
type activation struct {
	what, unit string // no unit: nothing is started
	than       *activation
	all        []spending
	spending
}

func (a *activation) add(s spending) {
	a.all = append(a.all, s)
	middle := func(of func(spending) time.Duration) time.Duration {
		var values []time.Duration
		for _, each := range a.all {
			values = append(values, of(each))
		}
		return torture.Quantile(values, 0.5)
	}
	a.total = middle(func(s spending) time.Duration { return s.total })
	a.init = middle(func(s spending) time.Duration { return s.init })
	a.service = middle(func(s spending) time.Duration { return s.service })
	a.journald = middle(func(s spending) time.Duration { return s.journald })
	a.wall = middle(func(s spending) time.Duration { return s.wall })
}

// more is what it takes more than another one, in ms: the median of the
// differences in each round.
func (a *activation) more() float64 {
	var differences []time.Duration
	for i, each := range a.all {
		differences = append(differences, each.total-a.than.all[i].total)
	}
	return ms(torture.Quantile(differences, 0.5))
}

// activations starts a unit several times, or waits for as long as that takes with
// another, and returns the mean.
func (s *story) activations(t *testing.T, unit string, wait time.Duration) spending {
	t.Helper()
	before, begin := s.spent(t), time.Now()
	if unit == "" {
		time.Sleep(activations * wait)
	} else {
		s.run(t, "sh", "-ec", fmt.Sprintf("for i in $(seq %d); do systemctl start %s.service; done", activations, unit))
	}
	after := s.spent(t)
	mean := func(from, to time.Duration) time.Duration { return (to - from) / activations }
	return spending{
		mean(before.total, after.total), mean(before.init, after.init), mean(before.service, after.service),
		mean(before.journald, after.journald), time.Since(begin) / activations,
	}
}

// spent returns what the system has spent up to now. What runs in it through
// nsenter(1), systemctl and sh above all, is not in its control group and does not
// count; a service that has ended is still in system.slice.
func (s *story) spent(t *testing.T) spending {
	t.Helper()
	slice := s.usage(t, "payload/system.slice")
	standing, err := filepath.Glob(filepath.Join(s.unified(t), "payload/system.slice/*"))
	if err != nil {
		t.Fatal(err)
	}
	now := spending{
		total: s.usage(t, ""), init: s.usage(t, "payload/init.scope"),
		service: slice, journald: s.usage(t, "payload/system.slice/systemd-journald.service"),
	}
	for _, dir := range standing {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			now.service -= s.usage(t, filepath.Join("payload/system.slice", filepath.Base(dir)))
		}
	}
	return now
}

// usage returns the CPU time of one of the system's control groups and those in it.
func (s *story) usage(t *testing.T, group string) time.Duration {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.unified(t), group, "cpu.stat"))
	if err != nil {
		t.Fatal(err)
	}
	_, usage, _ := strings.Cut(string(text), "usage_usec ")
	usage, _, _ = strings.Cut(usage, "\n")
	µs, err := strconv.Atoi(usage)
	if err != nil {
		t.Fatalf("cpu.stat of %q: %v", group, err)
	}
	return time.Duration(µs) * time.Microsecond
}

// unified returns the system's control group in the hierarchy that counts CPU time,
// which version 2 does even where the controllers are with version 1.
func (s *story) unified(t *testing.T) string {
	t.Helper()
	for _, dir := range s.cgroup {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err == nil {
			return dir
		}
	}
	t.Fatal("there is no control group of version 2")
	return ""
}

// byHand returns the CPU time of smtpban block as root types it, in ms.
func (s *story) byHand(t *testing.T) float64 {
	t.Helper()
	const runs = 100
	// The last line of times is that of the children, such as 0m0.410000s 0m0.350000s.
	text := s.run(t, "sh", "-ec", fmt.Sprintf("for i in $(seq %d); do smtpban -q block; done; times", runs))
	lines := strings.Split(strings.TrimSpace(text), "\n")
	total := time.Duration(0)
	for _, field := range strings.Fields(lines[len(lines)-1]) {
		each, err := time.ParseDuration(field)
		if err != nil {
			t.Fatalf("times printed %q: %v", text, err)
		}
		total += each
	}
	return ms(total / runs)
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }
