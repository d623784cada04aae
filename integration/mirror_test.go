package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const defaultMirror = "http://deb.debian.org/debian"

// hostMirror returns the Debian mirror that this machine's apt uses, so that a
// machine behind a mirror of its own can build roots too.
func hostMirror() string {
	files, _ := filepath.Glob("/etc/apt/sources.list.d/*.sources")
	lists, _ := filepath.Glob("/etc/apt/sources.list.d/*.list")
	files = append(append(files, "/etc/apt/sources.list"), lists...)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // not every machine has every file
		}
		find := mirrorInList
		if strings.HasSuffix(file, ".sources") {
			find = mirrorInSources
		}
		if mirror := find(string(text)); mirror != "" {
			return mirror
		}
	}
	return defaultMirror
}

// mirrorInSources finds the Debian archive in a file of deb822-style stanzas;
// see sources.list(5).
func mirrorInSources(text string) string {
	for stanza := range strings.SplitSeq(text, "\n\n") {
		fields, key := map[string][]string{}, ""
		for line := range strings.Lines(stanza) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			value := line // a line that begins with a blank goes on with the last field
			if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
				key, value, _ = strings.Cut(line, ":")
				key = strings.ToLower(key)
			}
			fields[key] = append(fields[key], strings.Fields(value)...)
		}
		if slices.Equal(fields["enabled"], []string{"no"}) || !slices.Contains(fields["types"], "deb") {
			continue
		}
		for _, uri := range fields["uris"] {
			if isArchive(uri, fields["suites"], fields["components"]) {
				return uri
			}
		}
	}
	return ""
}

// mirrorInList finds the Debian archive among one-line entries:
// deb [ options ] uri suite components…
func mirrorInList(text string) string {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb ")
		if !ok {
			continue
		}
		if strings.HasPrefix(strings.TrimSpace(rest), "[") {
			_, rest, _ = strings.Cut(rest, "]")
		}
		f := strings.Fields(rest)
		if len(f) > 2 && isArchive(f[0], f[1:2], f[2:]) {
			return f[0]
		}
	}
	return ""
}

// isArchive tells Debian's own archive from the security archive and from other
// vendors' repositories, and from the ways of fetching that debootstrap lacks.
func isArchive(uri string, suites, components []string) bool {
	own := []string{"bullseye", "bookworm", "trixie", "forky", "oldstable", "stable", "testing", "unstable", "sid"}
	return strings.HasPrefix(uri, "http") &&
		slices.Contains(components, "main") &&
		slices.ContainsFunc(suites, func(s string) bool { return slices.Contains(own, s) })
}

func TestMirrorIsTheDebianArchiveOfTheHost(t *testing.T) {
	const vendor = "Types: deb\nURIs: https://vendor.example/apt\nSuites: nodistro\nComponents: main\n"
	for _, tt := range []struct {
		name, text string
		find       func(string) string
		want       string
	}{
		{"deb822", vendor + "\n# ours\nTypes: deb deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n", mirrorInSources, "http://mirror.example/debian"},
		{"deb822 on several lines", "Types: deb\nURIs:\n http://mirror.example/debian\nSuites:\n trixie\nComponents:\n main\n", mirrorInSources, "http://mirror.example/debian"},
		{"deb822 switched off", "Enabled: no\nTypes: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n", mirrorInSources, ""},
		{"deb822 of another vendor", vendor, mirrorInSources, ""},
		{"deb822 of the security archive", "Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: main\n", mirrorInSources, ""},
		{"one line", "deb-src http://src.example/debian bookworm main\ndeb http://mirror.example/debian bookworm main contrib\n", mirrorInList, "http://mirror.example/debian"},
		{"one line with options", "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main\n", mirrorInList, "http://mirror.example/debian"},
		{"one line of another vendor", "deb https://vendor.example/linux/debian bookworm stable\n", mirrorInList, ""},
		{"one line that debootstrap cannot fetch", "deb mirror+file:/etc/mirrors bookworm main\n", mirrorInList, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.find(tt.text); got != tt.want {
				t.Errorf("mirror is %q, want %q", got, tt.want)
			}
		})
	}
}
