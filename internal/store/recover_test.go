package store

import (
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"smtpban/internal/ban"
)

func TestASnapshotOfRootsBelongsToTheOwnerOfTheDirectory(t *testing.T) {
	s := rootsStore(t)
	update(t, s, sample().put)
	if err := s.Snapshot(at(0), time.Hour); err != nil {
		t.Fatal(err)
	}
	writeFile(t, s.path, nil)
	if _, err := s.Recover(nothing); err != nil {
		t.Fatal(err)
	}
	nobodys := [3]uint32{nobody, nobody, 0o600}
	want := map[string][3]uint32{"smtpban.db": nobodys, "smtpban.db.snapshot": nobodys, "smtpban.db.damaged-1": nobodys}
	if diff := cmp.Diff(want, owners(t, s)); diff != "" {
		t.Error(diff)
	}
}

// oneMeta breaks the meta page with the number.
func oneMeta(n int) func([]byte) []byte {
	return func(data []byte) []byte {
		clear(data[n*os.Getpagesize()+headerSize : n*os.Getpagesize()+headerSize+metaSize])
		return data
	}
}

func TestRecoverUsesTheBestThereIs(t *testing.T) {
	before, after := oneMeta(0), oneMeta(1)
	if m, _ := readMeta(readFile(t, snapshotted(t).path)); m.txid%2 != 0 {
		t.Fatal("meta page 0 has an odd transaction")
	}
	for _, tc := range []struct {
		name     string
		damage   func([]byte) []byte
		snapshot func([]byte) []byte // nil: as it was made
		want     Recovery
		content  content
	}{
		{"one meta page", before, nil, Recovery{Source: FromCommit}, content{}},
		{"the other meta page", after, nil, Recovery{Source: FromCommit}, content{}},
		{"emptied", func([]byte) []byte { return nil }, nil, Recovery{Source: FromSnapshot, Snapshot: at(10)}, sample()},
		{"cut off", func(b []byte) []byte { return b[:9000] }, nil, Recovery{Source: FromSnapshot, Snapshot: at(10)}, sample()},
		{"both damaged", func(b []byte) []byte { return b[:9000] }, func(b []byte) []byte { return b[:5000] }, Recovery{Source: FromNothing}, empty},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := snapshotted(t)
			damaged := tc.damage(readFile(t, s.path))
			writeFile(t, s.path, damaged)
			if tc.snapshot != nil {
				writeFile(t, s.snapshot(), tc.snapshot(readFile(t, s.snapshot())))
			}
			if err := New(s.path).View(nothing); !errors.Is(err, ErrDamaged) {
				t.Fatalf("not damaged: %v", err)
			}
			adopted := ban.Ban{Prefix: netip.MustParsePrefix("203.0.113.77/32"), Start: at(1), Until: at(2), Origin: ban.OriginManual}
			got, err := s.Recover(func(tx *Tx) error { return tx.PutBan(adopted) })
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Aside = s.path + ".damaged-1"
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			found := load(t, s, sampleSettings...)
			if tc.want.Source == FromCommit {
				tc.content = sample()
				tc.content.Commit = found.Commit // of either of the last two
			}
			i := 2 // in order of the prefix
			if len(tc.content.Bans) == 0 {
				i = 0
			}
			tc.content.Bans = append(append(append([]ban.Ban{}, tc.content.Bans[:i]...), adopted), tc.content.Bans[i:]...)
			if diff := cmp.Diff(tc.content, found, exact); diff != "" {
				t.Error(diff)
			}
			if !bytes.Equal(damaged, readFile(t, tc.want.Aside)) {
				t.Error("what was moved aside is not the damaged file")
			}
		})
	}
}

func TestALostFileIsReplacedByItsSnapshot(t *testing.T) {
	s := snapshotted(t)
	remove(t, s.path)
	got, err := s.Recover(nothing)
	if diff := cmp.Diff(Recovery{Source: FromSnapshot, Snapshot: at(10)}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if diff := cmp.Diff(sample(), load(t, s, sampleSettings...), exact); diff != "" {
		t.Error(diff)
	}
}

func TestOfTheDamagedFilesTheNewestThreeAreKept(t *testing.T) {
	s := snapshotted(t)
	for i := range 12 {
		writeFile(t, s.path, []byte{byte(i)})
		if _, err := s.Recover(nothing); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"smtpban.db", "smtpban.db.damaged-10", "smtpban.db.damaged-11", "smtpban.db.damaged-12", "smtpban.db.snapshot"}
	if diff := cmp.Diff(want, files(t, s)); diff != "" {
		t.Error(diff)
	}
	if got := readFile(t, s.path+".damaged-12"); !bytes.Equal(got, []byte{11}) {
		t.Errorf("the last one holds %v", got)
	}
}

func TestARecoveryThatFailsChangesNothing(t *testing.T) {
	s := snapshotted(t)
	damaged := readFile(t, s.path)[:9000]
	writeFile(t, s.path, damaged)
	failure := errors.New("no room")
	if _, err := s.Recover(func(*Tx) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"smtpban.db", "smtpban.db.snapshot"}, files(t, s)); diff != "" {
		t.Error(diff)
	}
	if !bytes.Equal(damaged, readFile(t, s.path)) {
		t.Error("the damaged file changed")
	}
}

func TestARecoveryThatWasCutShortIsMadeAnew(t *testing.T) {
	s := snapshotted(t)
	writeFile(t, s.path, nil)
	// It was killed before the new file got its name.
	if err := os.Link(s.path, s.path+".damaged-1"); err != nil {
		t.Fatal(err)
	}
	writeFile(t, s.path+".recovered", readFile(t, s.snapshot())[:9000])
	got, err := s.Recover(nothing)
	want := Recovery{Source: FromSnapshot, Snapshot: at(10), Aside: s.path + ".damaged-2"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if diff := cmp.Diff(sample(), load(t, s, sampleSettings...), exact); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"smtpban.db", "smtpban.db.damaged-1", "smtpban.db.damaged-2", "smtpban.db.snapshot"}, files(t, s)); diff != "" {
		t.Error(diff)
	}
}

// unlinkable makes a store believe that its file system has no second names.
func unlinkable(s *Store, err error) *Store {
	s.link = func(from, to string) error { return &os.LinkError{Op: "link", Old: from, New: to, Err: err} }
	return s
}

func TestAFileSystemWithoutSecondNamesKeepsTheDamagedFileToo(t *testing.T) {
	for _, cause := range []error{unix.EPERM, unix.ENOTSUP, unix.EMLINK} {
		s := unlinkable(snapshotted(t), cause)
		damaged := readFile(t, s.path)[:9000]
		writeFile(t, s.path, damaged)
		got, err := s.Recover(nothing)
		want := Recovery{Source: FromSnapshot, Snapshot: at(10), Aside: s.path + ".damaged-1"}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Error(err, diff)
		}
		if !bytes.Equal(damaged, readFile(t, want.Aside)) {
			t.Error("what was moved aside is not the damaged file")
		}
		if diff := cmp.Diff(sample(), load(t, s, sampleSettings...), exact); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"smtpban.db", "smtpban.db.damaged-1", "smtpban.db.snapshot"}, files(t, s)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWhereTheDamagedFileCanNotBeKeptNothingChanges(t *testing.T) {
	s := unlinkable(snapshotted(t), unix.EIO)
	damaged := readFile(t, s.path)[:9000]
	writeFile(t, s.path, damaged)
	if _, err := s.Recover(nothing); !errors.Is(err, unix.EIO) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"smtpban.db", "smtpban.db.snapshot"}, files(t, s)); diff != "" {
		t.Error(diff)
	}
	// Nor where the new one can't get its name.
	if _, err := unlinkable(s, unix.EPERM).giveWay(New(s.path+".missing"), ".damaged-"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"smtpban.db", "smtpban.db.snapshot"}, files(t, s)); diff != "" {
		t.Error(diff)
	}
	if !bytes.Equal(damaged, readFile(t, s.path)) {
		t.Error("the damaged file changed")
	}
}

func TestASwapThatWasCutShortIsUndone(t *testing.T) {
	s := newStore(t)
	update(t, s, sample().put)
	// It was killed between the two renames, or after both.
	for _, fresh := range []bool{false, true} {
		if err := os.Rename(s.path, s.path+".aside"); err != nil {
			t.Fatal(err)
		}
		want := sample()
		if fresh {
			want = empty
			update(t, s, nothing)
		}
		if got := s.Interrupted(); got == fresh {
			t.Errorf("interrupted: %v", got)
		}
		if err := s.PutBack(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, load(t, New(s.path), sampleSettings...), exact); diff != "" {
			t.Error(diff)
		}
	}
	// What it left does not disturb the next one.
	writeFile(t, s.path, nil)
	if _, err := unlinkable(s, unix.EPERM).Recover(nothing); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"smtpban.db", "smtpban.db.damaged-1"}, files(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestAValueThatCanNotBeReadIsDamageThoughItIsWhatWasCommitted(t *testing.T) {
	for _, kind := range kinds() {
		key := kind.key
		if key == nil {
			key = []byte("x")
		}
		s := snapshotted(t)
		update(t, s, func(tx *Tx) error { return tx.put(kind.bucket, key, []byte("x")) })
		if err := New(s.path).View(nothing); err != nil {
			t.Errorf("%s: it is not what was committed: %v", kind.name, err)
		}
		if err := s.Snapshot(at(11), 0); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: a snapshot: %v", kind.name, err)
		}
		got, err := s.Recover(nothing)
		want := Recovery{Source: FromSnapshot, Snapshot: at(10), Aside: s.path + ".damaged-1"}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Error(kind.name, err, diff)
		}
		if diff := cmp.Diff(sample(), load(t, s, sampleSettings...), exact); diff != "" {
			t.Error(kind.name, diff)
		}
	}
}
