package store

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const nobody = 65534

func requireRoot(t *testing.T, why string) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("not root, and CI must not skip this: %s", why)
	}
	t.Skipf("SKIPPED: %s", why)
}

// rootsStore returns a store in a directory of nobody's, as the package's user
// owns /var/lib/smtpban.
func rootsStore(t *testing.T) *Store {
	t.Helper()
	requireRoot(t, "needs root to give files away")
	dir := t.TempDir()
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	return New(filepath.Join(dir, "smtpban.db"))
}

// owners returns uid, gid and permissions of each file beside the store.
func owners(t *testing.T, s *Store) map[string][3]uint32 {
	t.Helper()
	all := map[string][3]uint32{}
	for _, name := range files(t, s) {
		info, err := os.Lstat(filepath.Join(filepath.Dir(s.path), name))
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		all[name] = [3]uint32{st.Uid, st.Gid, uint32(info.Mode().Perm())}
	}
	return all
}

func TestWhatRootCreatesBelongsToTheOwnerOfTheDirectory(t *testing.T) {
	s := rootsStore(t)
	t.Setenv("TMPDIR", t.TempDir())
	want := map[string][3]uint32{}
	assert := func(step string) {
		t.Helper()
		if diff := cmp.Diff(want, owners(t, s)); diff != "" {
			t.Error(step, diff)
		}
	}
	unlock, err := s.Lock(0)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	want["smtpban.db.lock"] = [3]uint32{nobody, nobody, 0o600}
	assert("after Lock")

	missing, removeMissing, err := s.Scratch()
	if err != nil {
		t.Fatal(err)
	}
	useScratch(t, missing)
	removeMissing()
	assert("after Scratch of the missing store")

	update(t, s, sample().put)
	want["smtpban.db"] = [3]uint32{nobody, nobody, 0o600}
	assert("after Update")

	update(t, s, sample().put)
	scratch, removeScratch, err := s.Scratch()
	if err != nil {
		t.Fatal(err)
	}
	useScratch(t, scratch)
	removeScratch()
	assert("after a second Update and Scratch")
}

func TestRootDoesNotGiveAwayAFileThatWasLinkedThere(t *testing.T) {
	for _, suffix := range []string{".lock", ".new"} {
		t.Run(suffix, func(t *testing.T) {
			s := rootsStore(t)
			roots := filepath.Join(filepath.Dir(s.path), "root's")
			if err := os.WriteFile(roots, []byte("secret"), 0o640); err != nil {
				t.Fatal(err)
			}
			if err := os.Link(roots, s.path+suffix); err != nil {
				t.Fatal(err)
			}
			unlock, err := s.Lock(0)
			if err != nil {
				t.Fatal(err)
			}
			defer unlock()
			update(t, s, sample().put)
			if diff := cmp.Diff([3]uint32{0, 0, 0o640}, owners(t, s)["root's"]); diff != "" {
				t.Error(diff)
			}
			if got := readFile(t, roots); string(got) != "secret" {
				t.Errorf("it now holds %q", got)
			}
		})
	}
}
