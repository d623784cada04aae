//go:build cgo

package sd_test

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/journal"
	"smtpban/internal/journal/journaltest"
)

func TestDamageInOneFileCostsNothingOfAnother(t *testing.T) {
	dir := t.TempDir()
	name := file(dir, "a")
	journaltest.Write(t, name, series(boot1, noon, 1, 20)...)
	known := newStore(t, dir)
	known.run()
	later := append(series(boot1, noon, 21, 25), series(boot2, noon.Add(time.Hour), 1, 5)...)
	journaltest.Write(t, file(dir, "b"), later...)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want := entries(later)
	first, last := used(data)
	for _, width := range []int{1, 40, 1000} {
		for offset := first - 300; offset+width < last; offset += 1 + min(40, max(0, offset-first-50)) {
			damage(t, name, offset, data[offset:offset+width])
			for what, positions := range map[string]journal.Positions{"first": {}, "further": known.positions} {
				s := newStore(t, dir)
				s.positions = positions
				s.opts.Directory, s.opts.Files = "", []string{name, file(dir, "b")} // asked in this order
				if got := s.run().Entries; !isSubsequence(times(want), times(got)) {
					t.Errorf("%d bytes damaged at %d: the %s run lacks some of the other file: %v", width, offset, what, times(got))
				}
			}
			overwrite(t, name, offset, data[offset:offset+width])
		}
	}
}

func TestDamageInOneBootCostsNothingOfAnother(t *testing.T) {
	dir := t.TempDir()
	name := file(dir, "a")
	journaltest.Write(t, name, series(boot1, noon, 1, 30)...)
	rest := series(boot2, noon.Add(time.Hour), 1, 5)
	journaltest.Write(t, name, rest...)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	second := bytes.Index(data, []byte("_BOOT_ID="+boot2.String()))
	first, _ := used(data)
	harmed, spared := 0, 0
	for offset := first + 600; offset < second-200; offset += 50 {
		damage(t, name, offset, data[offset:offset+40])
		got := newStore(t, dir).run().Entries
		if len(got) < 35 {
			harmed++
		}
		if len(got) >= 5 && cmp.Equal(entries(rest), got[len(got)-5:]) && len(got) < 35 {
			spared++
		}
		overwrite(t, name, offset, data[offset:offset+40])
	}
	if spared < harmed*8/10 || harmed == 0 { // some places are shared by both
		t.Errorf("of %d damages to one boot %d left the other one whole", harmed, spared)
	}
}

func TestAMalformedBootIDIsDamage(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 5)...)
	journaltest.Write(t, file(dir, "b"), series(boot2, noon, 1, 5)...)
	data, err := os.ReadFile(file(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, file(dir, "a"), bytes.Index(data, []byte("_BOOT_ID="))+12, []byte("?"))
	s := newStore(t, dir)
	s.expect("first run", entries(series(boot2, noon, 1, 5)), damagedGap("a"))
	s.expectQuiet(damagedGap("a"))
}

// A file that journald has given up stays until it is vacuumed.
func TestOneOfSeveralFilesThatCannotBeOpenedIsAGap(t *testing.T) {
	dir := t.TempDir()
	journaltest.Write(t, file(dir, "a"), series(boot1, noon, 1, 5)...)
	journaltest.Write(t, file(dir, "b"), series(boot1, noon, 6, 9)...)
	if err := os.Truncate(file(dir, "a"), 5000); err != nil {
		t.Fatal(err)
	}
	s := newStore(t, dir)
	s.opts.Directory, s.opts.Files = "", []string{file(dir, "a"), file(dir, "b")}
	s.expect("files", entries(series(boot1, noon, 6, 9)), damagedGap("a"))
	s.expectQuiet(damagedGap("a"))
}
