package integration

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// packageFile is where a system has the package that is installed in it.
const packageFile = "root/smtpban.deb"

// checkAdvice looks for what the package says where smtpban does not run.
func checkAdvice(t *testing.T, told string) {
	t.Helper()
	const want = `
smtpban does not run yet. See whom it would ban: smtpban block --dry-run
Then let it: systemctl enable --now smtpban-block.timer
`
	if !strings.Contains(told, want) {
		t.Fatalf("installing did not say%sbut\n%s", want, told)
	}
}

// checkOff proves that no unit of smtpban's runs.
func (s *story) checkOff(t *testing.T) {
	t.Helper()
	if running := s.run(t, "systemctl", "list-units", "--no-legend", "--plain", "--state=active,activating", "smtpban-*"); running != "" {
		t.Fatalf("units that run:\n%s", running)
	}
}

// upgraded installs a newer version, with another description of a timer, while
// the timers run.
func (s *story) upgraded(t *testing.T) {
	s.run(t, "systemctl", "enable", "--now", "smtpban-block.timer")
	s.run(t, "smtpban", "block")
	s.checkBans(t)
	s.makeNewer(t)
	// What disappears for a moment only is missed as well.
	var moved bytes.Buffer
	monitor := s.command("ip", "monitor", "route")
	monitor.Stdout = &moved
	if err := monitor.Start(); err != nil {
		t.Fatal(err)
	}
	told := s.run(t, "dpkg", "--install", "/root/newer.deb")
	s.checkBans(t)
	complain(t, "stopping ip monitor", monitor.Process.Signal(syscall.SIGTERM))
	_ = monitor.Wait() // its exit status is that of the signal
	if strings.Contains(moved.String(), "blackhole") {
		t.Errorf("routes that the upgrade moved:\n%s", lastLines(moved.String(), 20))
	}
	s.run(t, "systemctl", "is-active", "smtpban-block.timer", "smtpban-expire.timer")
	enabled, _, _ := s.try(t, "systemctl", "is-enabled", "smtpban-block.timer", "smtpban-restore.service", "smtpban-report.timer")
	same(t, "what is enabled of block, restore and report", "enabled\nenabled\ndisabled\n", enabled)
	same(t, "the timer's description", "Newer\n", s.run(t, "systemctl", "show", "-P", "Description", "smtpban-block.timer"))
	if strings.Contains(told, "does not run yet") {
		t.Errorf("the upgrade said that smtpban does not run:\n%s", told)
	}
}

// makeNewer packs the package again, with a higher version.
func (s *story) makeNewer(t *testing.T) {
	t.Helper()
	s.run(t, "dpkg-deb", "--raw-extract", "/"+packageFile, "/root/newer")
	s.run(t, "sed", "--in-place", "s/^Version: 0~/Version: 1~/", "/root/newer/DEBIAN/control")
	s.run(t, "sed", "--in-place", "s/^Description=.*/Description=Newer/", "/root/newer/usr/lib/systemd/system/smtpban-block.timer")
	s.run(t, "dpkg-deb", "-Znone", "--build", "/root/newer", "/root/newer.deb")
	s.run(t, "rm", "--recursive", "/root/newer")
}

// downgraded puts a state in place such as a later version might have left.
func (s *story) downgraded(t *testing.T) {
	s.run(t, "systemctl", "stop", "smtpban-block.timer", "smtpban-block.service")
	path := filepath.Join(s.root, "var/lib/smtpban/smtpban.db")
	ours, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.ReplaceAll(ours, []byte("schema\x00\x00\x00\x02"), []byte("schema\x00\x00\x00\x63"))
	newer = bytes.ReplaceAll(newer, []byte("digest\x01"), []byte("digesu\x01"))
	overwrite(t, path, newer)
	before, inKernel := storeFiles(t, s.system), routes(t, s.system)

	_, told, code := s.try(t, "smtpban", "block")
	if code != 78 || !strings.Contains(told, "schema 99, this version knows up to 2: written by a newer version of smtpban") {
		t.Errorf("block with a newer state: exit status %d, %s", code, told)
	}
	s.try(t, "systemctl", "start", "smtpban-expire.service")
	same(t, "how expire's unit ended", "78\n", s.run(t, "systemctl", "show", "-P", "ExecMainStatus", "smtpban-expire.service"))
	same(t, "the newer state", before, storeFiles(t, s.system))
	same(t, "routes", inKernel, routes(t, s.system))

	overwrite(t, path, ours)
	s.run(t, "systemctl", "reset-failed")
	s.run(t, "systemctl", "start", "smtpban-block.timer")
	s.checkBans(t)
}

// overwrite changes the contents of a file and nothing else about it.
func overwrite(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// removed looks for what could still block somebody, and for what is to stay.
func (s *story) removed(t *testing.T) {
	const list = "/var/lib/smtpban-lists/removed"
	s.write(t, "etc/smtpban/smtpban.d/lists.toml", fmt.Sprintf("[[publish]]\npath = %q\nformat = \"plain\"\n", list))
	s.run(t, "systemctl", "start", "smtpban-block.service")
	s.run(t, "grep", "--quiet", s.shutOut[0].String(), list)

	s.run(t, "dpkg", "--remove", "smtpban")
	same(t, "the published list", "", s.run(t, "cat", list))
	s.checkOff(t)
	if got := routes(t, s.system); len(got) > 0 {
		t.Errorf("routes that are left: %v", got)
	}
	s.net.checkDoors(t, nil, s.shutOut[:10:10])
	if program := s.run(t, "find", "/usr/sbin", "/usr/lib/systemd/system", "-name", "smtpban*"); program != "" {
		t.Errorf("files that are left:\n%s", program)
	}
	s.run(t, "ls", "/var/lib/smtpban/smtpban.db", "/etc/smtpban/smtpban.toml", "/etc/smtpban/smtpban.d/story.toml")
}

// installedAgain finds what was kept when it was removed.
func (s *story) installedAgain(t *testing.T) {
	checkAdvice(t, s.run(t, "dpkg", "--install", "/"+packageFile))
	s.checkOff(t)
	if got := routes(t, s.system); len(got) > 0 {
		t.Errorf("routes that nobody asked for: %v", got)
	}
	s.run(t, "systemctl", "enable", "--now", "smtpban-block.timer")
	s.run(t, "smtpban", "block")
	s.checkBans(t)
}

// scriptsOfRPM runs them as rpm would, with the number of versions that there will
// be afterwards; the files are those of the .deb.
func (s *story) scriptsOfRPM(t *testing.T) {
	script := func(name, left string) string {
		t.Helper()
		text, err := os.ReadFile("../packaging/rpm/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return s.run(t, "sh", "-ec", string(text), "sh", left)
	}
	told := script("post", "2") + script("preun", "1") + script("postun", "1")
	same(t, "what an upgrade says", "", told)
	s.run(t, "systemctl", "is-active", "smtpban-block.timer", "smtpban-expire.timer")
	s.checkBans(t)

	script("preun", "0")
	s.checkOff(t)
	if got := routes(t, s.system); len(got) > 0 {
		t.Errorf("routes that are left: %v", got)
	}
	if state, _, _ := s.try(t, "systemctl", "is-enabled", "smtpban-block.timer"); state != "disabled\n" {
		t.Errorf("the timer is %s", state)
	}
	script("postun", "0")
	checkAdvice(t, "\n"+script("post", "1"))
}

// purged looks for anything that bears smtpban's name or belongs to its user.
func (s *story) purged(t *testing.T) {
	s.run(t, "systemctl", "enable", "--now", "smtpban-block.timer")
	s.run(t, "systemctl", "enable", mailUnit)
	s.run(t, "systemctl", "enable", "--now", watchService)
	s.run(t, "dpkg", "--purge", "smtpban")
	s.checkOff(t)
	for _, family := range []string{"-4", "-6"} {
		if left := s.run(t, "ip", family, "route", "show", "proto", "213"); left != "" {
			t.Errorf("routes that are left:\n%s", left)
		}
	}
	s.net.checkDoors(t, nil, []netip.Addr{s.shutOut[0]})
	found := strings.Fields(s.run(t, "find", "/etc", "/root", "/run", "/tmp", "/usr", "/var", "-xdev", "-user", "smtpban", "-o", "-name", "*smtpban*"))
	left := slices.DeleteFunc(found, func(path string) bool {
		// What the story itself has put there.
		return path == "/"+packageFile || strings.HasPrefix(path, "/etc/systemd/system/smtpban-block.timer.d")
	})
	same(t, "files that are left", []string{}, left)
}
