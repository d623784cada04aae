//go:build cgo

package sd_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
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

// An anchor that passed over what is in a damaged file would hide from the next
// run that anything was there.
func TestAnAnchorStaysBeforeWhatDamageHides(t *testing.T) {
	dir := t.TempDir()
	name := file(dir, "a")
	journaltest.Write(t, name, series(boot1, noon, 1, 3)...)
	s := newStore(t, dir)
	s.run()
	s.opts.Anchor = true
	read := s.positions
	journaltest.Write(t, name, series(boot1, noon, 4, 30)...)
	journaltest.Write(t, file(dir, "b"), other(at(boot1, noon, 40)))
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	hidden, passed := 0, 0
	first, last := used(data)
	for offset := first + 600; offset+100 < last; offset += 50 {
		damage(t, name, offset, data[offset:offset+100])
		s.positions = read
		if got := s.run(); len(got.Entries) == 0 {
			hidden++
			if s.positions[boot1].Monotonic > 3*time.Second {
				passed++
			}
		}
		overwrite(t, name, offset, data[offset:offset+100])
	}
	if hidden == 0 || passed > hidden/10 { // not all damage can be noticed
		t.Errorf("the anchor passed over %d of %d places that hid all", passed, hidden)
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

// Whatever the file says, its header and tables included, a run comes to an end,
// reads nothing twice, and does not fail.
func TestNoDamageMakesTheReadingEndless(t *testing.T) {
	const rounds, patience = 1000, time.Minute
	dir := t.TempDir()
	name := file(dir, "a")
	journaltest.Write(t, name, append(series(boot1, noon, 1, 40), series(boot2, noon.Add(time.Hour), 1, 20)...)...)
	journaltest.Write(t, file(dir, "b"), series(boot1, noon, 41, 50)...)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var words []int // that are not zero
	for at := 0; at+8 <= len(data); at += 8 {
		if binary.LittleEndian.Uint64(data[at:]) != 0 {
			words = append(words, at)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	pick := func() int { return words[random.IntN(len(words))] }
	for range rounds {
		var damaged []int
		for range 1 + random.IntN(3) {
			at, word := pick(), make([]byte, 8)
			switch random.IntN(4) {
			case 0: // often another place in the file
				copy(word, data[pick():])
			case 1:
				binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(data[at:])^1<<random.IntN(64))
			case 2:
				binary.LittleEndian.PutUint64(word, math.MaxUint64)
			}
			overwrite(t, name, at, word)
			damaged = append(damaged, at)
		}
		done := make(chan int)
		go func() { done <- len(newStore(t, dir).run().Entries) }()
		select {
		case n := <-done:
			if n > 70 {
				t.Errorf("damaged at %v: read %d entries of 70", damaged, n)
			}
		case <-time.After(patience):
			t.Fatalf("damaged at %v: still reading after %v", damaged, patience)
		}
		for _, at := range damaged {
			overwrite(t, name, at, data[at:at+8])
		}
	}
}
