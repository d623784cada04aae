// Package units holds the systemd units; here systemd itself judges them.
package units

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// maxExposure is what `systemd-analyze security` may say of a service, from 0
// (safe) to 10.
const maxExposure = 1.2

// maxMailExposure is that for the service that must be able to run a setgid program,
// which rules out most of the sandbox.
const maxMailExposure = 6

func TestSystemdFindsNoFaultInTheUnits(t *testing.T) {
	services, timers := install(t)
	args := append([]string{"verify", "--man=no"}, append(services, timers...)...)
	out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestEveryServiceIsWellSandboxed(t *testing.T) {
	services, _ := install(t)
	overall := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)
	for _, service := range services {
		t.Run(filepath.Base(service), func(t *testing.T) {
			out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", service).CombinedOutput()
			if err != nil {
				t.Fatalf("systemd-analyze security: %v\n%s", err, out)
			}
			match := overall.FindSubmatch(out)
			if match == nil {
				t.Fatalf("no overall exposure level in:\n%s", out)
			}
			exposure, err := strconv.ParseFloat(string(match[1]), 64)
			if err != nil {
				t.Fatal(err)
			}
			limit := maxExposure
			if strings.HasPrefix(filepath.Base(service), "smtpban-report-mail@") {
				limit = maxMailExposure
			}
			if exposure > limit {
				t.Errorf("exposure %.1f, want at most %.1f:\n%s", exposure, limit, out)
			}
		})
	}
}

// TestDoctorAndWatchHaveTheSandboxOfBlock compares the units line by line; the
// drop-in that all get goes by the beginning of their names.
func TestDoctorAndWatchHaveTheSandboxOfBlock(t *testing.T) {
	// What differs: the program, how long it may take, how its end is judged and
	// logged, and where block and watch remember their last failure.
	own := []string{"ExecStart", "Type", "TimeoutStartSec", "WatchdogSec", "Restart", "RestartSec", "LogLevelMax", "SuccessExitStatus",
		"RuntimeDirectory", "RuntimeDirectoryMode", "RuntimeDirectoryPreserve"}
	block := settings(t, "smtpban-block.service", own)
	for _, unit := range []string{"smtpban-doctor.service", "smtpban-watch.service"} {
		if diff := cmp.Diff(block, settings(t, unit, own)); diff != "" {
			t.Errorf("(-block +%s):\n%s", unit, diff)
		}
	}
}

// TestTheMailsServiceCanRunASetgidProgram makes sure that the drop-in for this service
// takes the place of the one for all, and has nothing of what implies NoNewPrivileges=
// for a user who is not root, see systemd.exec(5).
func TestTheMailsServiceCanRunASetgidProgram(t *testing.T) {
	const common, own = "smtpban-.service.d", "smtpban-report-mail@.service.d"
	var names [2][]string
	for i, dir := range []string{common, own} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names[i] = append(names[i], e.Name())
		}
	}
	if diff := cmp.Diff(names[0], names[1]); diff != "" {
		t.Errorf("drop-ins (-all services +the mail's):\n%s", diff)
	}
	implying := []string{"NoNewPrivileges", "DynamicUser", "PrivateDevices", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs",
		"ProtectClock", "ProtectHostname", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "RestrictAddressFamilies",
		"LockPersonality", "MemoryDenyWriteExecute", "SystemCallArchitectures", "SystemCallFilter", "SystemCallLog"}
	for _, file := range []string{"smtpban-report-mail@.service", filepath.Join(own, names[1][0])} {
		for _, line := range settings(t, file, nil) {
			if name, _, _ := strings.Cut(line, "="); slices.Contains(implying, name) {
				t.Errorf("%s: %s", file, line)
			}
		}
	}
}

// TestTheMailIsSentToWhomTheUnitIsNamedForOrNotAtAll runs the unit's script as systemd
// does, with a program in the place of sendmail(1) that shows what it gets.
func TestTheMailIsSentToWhomTheUnitIsNamedForOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"sendmail": "#!/bin/sh\nprintf '%s|' \"$@\" && cat\n", "report.eml": "Subject: x\n\nbody\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	start := regexp.MustCompile(`ExecStart=/bin/sh -c '(.*)' sh %I %S/smtpban/report/report.eml\n`)
	match := start.FindStringSubmatch(strings.Join(settings(t, "smtpban-report-mail@.service", nil), ""))
	if match == nil {
		t.Fatal("there is no such script")
	}
	script := strings.NewReplacer("%%", "%", "$$", "$", "/usr/sbin/sendmail", filepath.Join(dir, "sendmail")).Replace(match[1])
	for _, to := range []string{"admin", "-t", "a b", "$(id)`id`", "%s", `a"b'c\n`} {
		got, err := exec.Command("/bin/sh", "-c", script, "sh", to, filepath.Join(dir, "report.eml")).Output()
		if want := "-i|--|" + to + "|To: " + to + "\nSubject: x\n\nbody\n"; err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", to, got, err, want)
		}
	}
	got, err := exec.Command("/bin/sh", "-c", script, "sh", "admin", filepath.Join(dir, "missing")).Output()
	if err == nil || len(got) > 0 {
		t.Errorf("without a report: %q, %v; want nothing and an error", got, err)
	}
}

// settings returns the lines in the section [Service] of a unit, without some.
func settings(t *testing.T, unit string, without []string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	_, service, _ := strings.Cut(string(text), "\n[Service]\n")
	service, _, _ = strings.Cut(service, "\n[")
	for line := range strings.Lines(service) {
		name, _, isSetting := strings.Cut(line, "=")
		if isSetting && !strings.HasPrefix(line, "#") && !slices.Contains(without, name) {
			lines = append(lines, line)
		}
	}
	return lines
}

// install lays the units out as `make install` does, with a program that does
// nothing in the place of smtpban, and returns their paths.
func install(t *testing.T) (services, timers []string) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("systemd-analyze is needed to judge the units:", err)
		}
		t.Skip("SKIPPED: the units were not judged, there is no systemd-analyze:", err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "smtpban"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	units, err := filepath.Glob(filepath.Join(dir, "smtpban-*.*"))
	if err != nil {
		t.Fatal(err)
	}
	units = slices.DeleteFunc(units, func(unit string) bool { return filepath.Ext(unit) == ".d" })
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.ReplaceAll(string(text), "@sbindir@", dir))
		if err := os.WriteFile(unit, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(unit) == ".timer" {
			timers = append(timers, unit)
		} else {
			services = append(services, unit)
		}
	}
	if len(services) != 7 || len(timers) != 3 {
		t.Fatalf("found %d services and %d timers, want 7 and 3: %q", len(services), len(timers), units)
	}
	return services, timers
}
