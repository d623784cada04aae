package torture_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A failpoint is a comment in the form that gofail, and so bbolt, uses:
//
//	// gofail: var NAME string
//	// what to do where it is to be an error, which NAME is the text of
//
// The release is built from the sources as they are, in which it is a comment.
// For the test it is built from a copy in which it is a call of failpoint. gofail
// itself can do that, too, but it can't kill, and it wants a runtime of its own
// among the modules.
var failpointComment = regexp.MustCompile(`(?m)^\t*// gofail: var (\w+) (string|struct\{\})\n((?:\t*// .*\n)*)`)

// failpointVariable names the point, what happens there, and at which time that
// it is reached.
const failpointVariable = "SMTPBAN_TEST_FAILPOINT"

const failpointRuntime = `

import (
	"fmt"
	"os"
	"syscall"
)

var failpointReached int

func failpoint(name string) (string, bool) {
	var point, action string
	var nth int
	fmt.Sscan(os.Getenv("SMTPBAN_TEST_FAILPOINT"), &point, &action, &nth)
	if point != name {
		return "", false
	}
	if failpointReached++; failpointReached != nth {
		return "", false
	}
	text := "failpoint " + name
	switch action {
	case "kill":
		fmt.Fprintln(os.Stderr, text)
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "panic":
		panic(text)
	}
	return text, true
}
`

// enable turns the failpoints of a source file into calls and returns their
// names.
func enable(source []byte) (enabled []byte, names []string) {
	enabled = failpointComment.ReplaceAllFunc(source, func(comment []byte) []byte {
		part := failpointComment.FindSubmatch(comment)
		name := string(part[1])
		names = append(names, name)
		if string(part[2]) != "string" {
			return fmt.Appendf(nil, "failpoint(%q)\n", name)
		}
		var body []string
		for line := range strings.Lines(string(part[3])) {
			body = append(body, strings.TrimPrefix(strings.TrimSpace(line), "// "))
		}
		return fmt.Appendf(nil, "if %s, on := failpoint(%[1]q); on { %s }\n", name, strings.Join(body, "; "))
	})
	return enabled, names
}

// buildWithFailpoints makes the program with those of our own and of bbolt's.
func buildWithFailpoints(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for _, room := range []string{"internal/store", "internal/route", "cmd/smtpban"} {
		source := list(t, "-f", "{{.Dir}}", "smtpban/"+room)
		for path, text := range withFailpoints(t, source) {
			copied := filepath.Join(dir, fmt.Sprintf("%d.go", len(overlay.Replace)))
			overlay.Replace[path] = copied
			writeFile(t, copied, text)
		}
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "overlay.json"), text)
	// What stands in the module cache can't be overlaid, but replaced.
	bbolt := filepath.Join(dir, "bbolt")
	source := list(t, "-m", "-f", "{{.Dir}}", "go.etcd.io/bbolt")
	copyTree(t, source, bbolt)
	for path, text := range withFailpoints(t, bbolt) {
		writeFile(t, path, text)
	}
	top := filepath.Dir(list(t, "-m", "-f", "{{.GoMod}}"))
	mod := append(readFile(t, filepath.Join(top, "go.mod")), fmt.Sprintf("\nreplace go.etcd.io/bbolt => %s\n", bbolt)...)
	writeFile(t, filepath.Join(dir, "go.mod"), mod)
	writeFile(t, filepath.Join(dir, "go.sum"), readFile(t, filepath.Join(top, "go.sum")))
	return build(t, "-overlay", filepath.Join(dir, "overlay.json"), "-modfile", filepath.Join(dir, "go.mod"))
}

// withFailpoints returns the files of a folder that have failpoints, with these
// enabled, and what they call.
func withFailpoints(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	changed := map[string][]byte{}
	for _, path := range files {
		source := readFile(t, path)
		enabled, names := enable(source)
		if len(names) == 0 || strings.HasSuffix(path, "_test.go") {
			continue
		}
		changed[path] = enabled
		clause, _, _ := bytes.Cut(source[bytes.Index(source, []byte("\npackage "))+1:], []byte("\n"))
		changed[filepath.Join(folder, "failpoint.go")] = append(clause, failpointRuntime...)
	}
	if len(changed) == 0 {
		t.Fatalf("no failpoint in %s", folder)
	}
	return changed
}

// list is go list.
func list(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// copyTree copies a module so that it can be changed: the module cache is
// read-only.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := errors.Join(os.CopyFS(to, os.DirFS(from)), filepath.WalkDir(to, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chmod(path, 0o755))
	}))
	if err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}
