package integration

import (
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPackages lets Debian's and Red Hat's own tools judge the packages. A system
// need not be booted for that, and nobody needs to be root.
func TestPackages(t *testing.T) {
	needTools(t, "make", "lintian", "rpm", "rpmlint", "dpkg-deb")
	deb, rpm := buildPackages(t)

	t.Run("lintian finds no error in the .deb", func(t *testing.T) {
		output(t, exec.Command("lintian", "--fail-on", "error", deb))
	})
	t.Run("rpmlint finds in the .rpm only what may be", func(t *testing.T) {
		output(t, shielded(t, "rpmlint", "--config", "../packaging/rpm/rpmlint.toml", rpm))
	})
	t.Run("both have the same files", func(t *testing.T) {
		want := packaged(output(t, exec.Command("dpkg-deb", "--contents", deb)), 5)
		got := packaged(output(t, exec.Command("rpm", "--query", "--package", "--list", "--verbose", rpm)), 8)
		same(t, "files of the .rpm beside those of the .deb", want, got)
		if !slices.Contains(got, "-rwxr-xr-x /usr/sbin/smtpban") {
			t.Errorf("no program among %q", got)
		}
		if !slices.Contains(got, "-rw-r--r-- /usr/share/doc/smtpban/README.md") {
			t.Errorf("no README.md among %q", got)
		}
	})
	t.Run("the libraries that are loaded at run time are required", func(t *testing.T) {
		depends := output(t, exec.Command("dpkg-deb", "--field", deb, "Depends"))
		requires := output(t, exec.Command("rpm", "--query", "--package", "--requires", rpm))
		if !strings.Contains(depends, "libsystemd0") || !strings.Contains(requires, "systemd-libs\n") {
			t.Errorf("the .deb depends on %sthe .rpm requires\n%s", depends, requires)
		}
	})
	t.Run("the program that reads fail2ban's database is suggested", func(t *testing.T) {
		same(t, "what the .deb suggests", "sqlite3\n", output(t, exec.Command("dpkg-deb", "--field", deb, "Suggests")))
		same(t, "what the .rpm suggests", "sqlite\n", output(t, exec.Command("rpm", "--query", "--package", "--suggests", rpm)))
	})
	t.Run("the configuration is the admin's", func(t *testing.T) {
		want := "/etc/iproute2/rt_protos.d/smtpban.conf\n/etc/smtpban/smtpban.toml\n"
		got := strings.Split(output(t, exec.Command("dpkg-deb", "--info", deb, "conffiles")), "\n")
		slices.Sort(got)
		same(t, "conffiles of the .deb", want, strings.TrimLeft(strings.Join(got, "\n")+"\n", "\n"))
		same(t, "configuration files of the .rpm", want, output(t, exec.Command("rpm", "--query", "--package", "--configfiles", rpm)))
	})
	t.Run("the scripts of the .rpm are shell", func(t *testing.T) {
		for _, script := range []string{"post", "preun", "postun"} {
			output(t, exec.Command("sh", "-n", "../packaging/rpm/"+script))
		}
	})
	t.Run("built again they are the same to the byte", func(t *testing.T) {
		want := [][32]byte{checksum(t, deb), checksum(t, rpm)}
		output(t, exec.Command("../packaging/build"))
		same(t, "checksums", want, [][32]byte{checksum(t, deb), checksum(t, rpm)})
	})
}

// TestScriptsOfPackagesNameEveryUnitThatCanBeEnabled finds a new unit whose links
// would be left when a package is removed.
func TestScriptsOfPackagesNameEveryUnitThatCanBeEnabled(t *testing.T) {
	units, err := filepath.Glob("../units/smtpban-*.*")
	if err != nil {
		t.Fatal(err)
	}
	var enabled []string
	for _, unit := range units {
		if text, err := os.ReadFile(unit); err == nil && strings.Contains(string(text), "\n[Install]\n") {
			enabled = append(enabled, filepath.Base(unit))
		}
	}
	if len(enabled) == 0 {
		t.Fatal("found no unit that can be enabled")
	}
	for _, script := range []string{"deb/postinst", "deb/postrm", "rpm/preun"} {
		text, err := os.ReadFile(filepath.Join("../packaging", script))
		if err != nil {
			t.Fatal(err)
		}
		for _, unit := range enabled {
			name, isTemplate := strings.CutSuffix(unit, "@.service")
			switch {
			case isTemplate && script == "deb/postinst": // whose helper knows no template
				continue
			case isTemplate:
				unit = "/" + name + "@*.service"
			default:
				unit = " " + unit
			}
			if !strings.Contains(string(text), unit) {
				t.Errorf("packaging/%s does not name %s", script, unit)
			}
		}
	}
}

// shielded prepares a program whose changes to /usr and /etc nobody else sees and
// that are gone with it. The names in an .rpm of nfpm's begin with a slash, and
// rpmlint unpacks it by cpio(1), which takes that literally.
func shielded(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	const script = `mount -t tmpfs scratch "$1"
for dir in usr etc; do
	mkdir -p "$1/$dir/upper" "$1/$dir/work"
	mount -t overlay -o "lowerdir=/$dir,upperdir=$1/$dir/upper,workdir=$1/$dir/work" overlay "/$dir"
done
shift
exec "$@"`
	return exec.Command("unshare", append([]string{"--mount", "--propagation=private", "sh", "-ec", script, "sh", t.TempDir()}, args...)...)
}

// buildPackages makes the packages and returns the two files.
func buildPackages(t *testing.T) (deb, rpm string) {
	t.Helper()
	output(t, exec.Command("make", "-C", "..", "packages"))
	only := func(pattern string) string {
		files, err := filepath.Glob("../build/packages/" + pattern)
		if err != nil || len(files) != 1 {
			t.Fatalf("make packages: want one %s, got %q, %v", pattern, files, err)
		}
		return files[0]
	}
	return only("*.deb"), only("*.rpm")
}

// packaged returns the mode and name of each file in a listing, with the name in
// a given column and without what only one of the formats has.
func packaged(listing string, column int) []string {
	var files []string
	for line := range strings.Lines(listing) {
		words := strings.Fields(line)
		name := "/" + strings.Trim(words[column], "./")
		switch {
		case strings.HasPrefix(line, "d"), // one .deb has all folders, one .rpm its own
			strings.HasPrefix(name, "/usr/share/zsh/"), // has a folder of Debian's own
			name == "/usr/share/doc/smtpban/changelog.Debian.gz",
			name == "/usr/share/doc/smtpban/Apache-2.0": // Debian has it elsewhere
			continue
		}
		files = append(files, words[0]+" "+name)
	}
	slices.Sort(files)
	return files
}

func checksum(t *testing.T, file string) [32]byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(data)
}
