//go:build cgo

package sd_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"smtpban/internal/journal"
	"smtpban/internal/journal/journaltest"
)

// twins are two readers of one journal: one that opens every file, and one that
// passes over those that an earlier run has finished.
type twins struct {
	*machineJournal
	all, few *store
	passed   int // files that were not opened, over all runs
}

// machineJournal is the journal of a machine, as journald keeps it.
type machineJournal struct {
	t     *testing.T
	dir   string
	boot  journal.Boot
	start time.Time
	n     int // of the last entry of the boot
	made  int // archived files
}

func newTwins(t *testing.T) *twins {
	dir := t.TempDir()
	w := &twins{
		machineJournal: &machineJournal{t: t, dir: dir, boot: journaltest.Boot(1), start: noon},
		all:            newStore(t, dir), few: newStore(t, dir),
	}
	w.few.finishes = true
	return w
}

func (m *machineJournal) active() string { return filepath.Join(m.dir, "system.journal") }

// log appends entries, the first of which as given, to the active file.
func (m *machineJournal) log(kinds ...func(journaltest.Entry) journaltest.Entry) {
	m.t.Helper()
	var list []journaltest.Entry
	for _, kind := range kinds {
		m.n++
		list = append(list, kind(at(m.boot, m.start, m.n)))
	}
	journaltest.Write(m.t, m.active(), list...)
}

func smtpd(e journaltest.Entry) journaltest.Entry { return e }

func forged(e journaltest.Entry) journaltest.Entry {
	e.UID = 1001
	return e
}

func suppressed(e journaltest.Entry) journaltest.Entry {
	return journaltest.Suppressed(e, 7, "postfix@-.service", postfix)
}

// rotate finishes the active file, under a name as journald gives it.
func (m *machineJournal) rotate() {
	m.t.Helper()
	m.made++
	text, err := os.ReadFile(m.active())
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		m.t.Fatal(err)
	}
	const state, sequence, archived = 16, 72, 2
	text[state] = archived
	name := fmt.Sprintf("system@%x-%016x-%016x.journal", text[sequence:sequence+16], m.made, m.made)
	if err := os.WriteFile(filepath.Join(m.dir, name), text, 0o644); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Remove(m.active()); err != nil {
		m.t.Fatal(err)
	}
}

// archives returns the finished files, the oldest first.
func (m *machineJournal) archives() []string {
	m.t.Helper()
	names, err := filepath.Glob(filepath.Join(m.dir, "system@*.journal"))
	if err != nil {
		m.t.Fatal(err)
	}
	slices.SortFunc(names, func(a, b string) int { return slices.Compare([]byte(a[len(a)-24:]), []byte(b[len(b)-24:])) })
	return names
}

func (m *machineJournal) reboot(back time.Duration) {
	at := m.start.Add(time.Duration(m.n)*time.Second + time.Minute - back)
	m.boot, m.start, m.n = journaltest.Boot(m.boot[15]+1), at, 0
}

// run lets both read what is new, and compares what comes of it. Damage of a file
// that was read before is nothing to whoever passes it over.
func (w *twins) run(what string) result {
	w.t.Helper()
	want, got := w.all.run(), w.few.run()
	for _, r := range []*result{&want, &got} {
		r.Gaps = slices.DeleteFunc(r.Gaps, func(g journal.Gap) bool { return g.Undated() })
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{}), cmpopts.EquateEmpty()); diff != "" {
		w.t.Fatalf("%s: (-all files +passing over some):\n%s", what, diff)
	}
	w.passed += w.passedOver()
	return want
}

func (w *twins) passedOver() int { return w.all.opened - w.few.opened }

// passes runs and says how many files are not opened.
func (w *twins) passes(what string, want int) {
	w.t.Helper()
	w.run(what)
	if got := w.passedOver(); got != want {
		w.t.Errorf("%s: %d files were passed over, want %d of %d", what, got, want, len(w.archives()))
	}
}

func TestFinishedFilesArePassedOver(t *testing.T) {
	w := newTwins(t)
	for range 5 {
		w.log(smtpd, other, smtpd)
		w.rotate()
	}
	w.log(smtpd)
	w.passes("the first run", 0)
	w.passes("with nothing new", 5)
	w.log(other, smtpd)
	w.passes("with something new", 5)
	w.rotate()
	w.log(other)
	w.passes("the position is in an archived file", 5)
	w.passes("once more", 5)
	w.log(smtpd)
	w.passes("it moves on", 5)
	w.passes("then that file is passed over as well", 6)

	w.few.opts.UID++
	w.all.opts.UID++
	w.passes("under another uid", 0)
	w.few.opts.UID--
	w.all.opts.UID--
	w.passes("under the uid as before", 0)
	w.passes("and once more", 6)
}

func TestAnythingUnusualOpensEveryFile(t *testing.T) {
	for _, c := range []struct {
		name   string
		happen func(*twins)
	}{
		{"entry gone, vacuumed", func(w *twins) { unlink(w.t, w.archives()[5]) }},
		{"another file vacuumed", func(w *twins) { unlink(w.t, w.archives()[0]) }},
		{"file with the position cut off", func(w *twins) { cutOff(w.t, w.archives()[5]) }},
		{"all boots gone", func(w *twins) {
			for _, name := range w.archives() {
				unlink(w.t, name)
			}
			unlink(w.t, w.active())
			w.reboot(0)
			w.log(smtpd)
		}},
		{"cursor from the future", func(w *twins) {
			w.move(func(p journal.Position) journal.Position {
				p.Cursor = "s=00000000000000000000000000000001;i=1;b=" + w.boot.String() + ";m=ffffffffffff;t=fffffffffffff;x=1"
				p.Monotonic += 1000 * time.Hour
				p.Realtime = p.Realtime.Add(1000 * time.Hour)
				return p
			})
		}},
		{"foreign cursor", func(w *twins) {
			w.move(func(p journal.Position) journal.Position {
				p.Cursor = "s=00000000000000000000000000000001;i=1;b=" + w.boot.String() + ";m=1;t=1;x=1"
				return p
			})
		}},
		{"malformed cursor", func(w *twins) {
			w.move(func(p journal.Position) journal.Position {
				p.Cursor = "nonsense"
				return p
			})
		}},
		{"earlier position, of a saved state", func(w *twins) {
			w.move(func(p journal.Position) journal.Position {
				p.Monotonic -= 4 * time.Second
				p.Realtime = p.Realtime.Add(-4 * time.Second)
				p.Cursor = ""
				return p
			})
		}},
		{"position in an earlier boot forgotten", func(w *twins) {
			delete(w.all.positions, boot1)
			delete(w.few.positions, boot1)
		}},
		{"position forgotten", func(w *twins) {
			delete(w.all.positions, w.boot)
			delete(w.few.positions, w.boot)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTwins(t)
			w.machineJournal.t, w.all.t, w.few.t = t, t, t
			for n := range 6 {
				w.log(smtpd, other)
				w.rotate()
				if n == 1 {
					w.reboot(0)
				}
			}
			w.log(other)
			w.run("first run")
			w.passes("second run", 4)
			c.happen(w)
			w.log(other, smtpd)
			w.passes("what happened", 0)
			w.log(smtpd)
			w.run("and after that")
			w.run("and once more")
		})
	}
}

// move changes the position in the boot of both.
func (w *twins) move(change func(journal.Position) journal.Position) {
	for _, s := range []*store{w.all, w.few} {
		s.positions[w.boot] = change(s.positions[w.boot])
	}
}

// TestPassingOverFilesReadsWhatOpeningAllReads lets things happen to a journal in
// random order.
func TestPassingOverFilesReadsWhatOpeningAllReads(t *testing.T) {
	var passed atomic.Int64
	t.Cleanup(func() {
		if n := passed.Load(); n < 200 {
			t.Errorf("only %d files were passed over", n)
		}
	})
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newTwins(t)
			w.machineJournal.t, w.all.t, w.few.t = t, t, t
			random := rand.New(rand.NewPCG(seed, 1))
			w.log(smtpd)
			for step := range 60 {
				what := w.happen(random)
				w.run(fmt.Sprintf("step %d, %s", step, what))
			}
			passed.Add(int64(w.passed))
		})
	}
}

// happen does something to the journal and says what.
func (w *twins) happen(random *rand.Rand) string {
	w.t.Helper()
	archives := w.archives()
	switch n := random.IntN(24); {
	case n < 6:
		w.log(smtpd, other, smtpd)
		return "entries"
	case n < 8:
		w.log(other, forged)
		return "entries of others"
	case n < 9:
		w.log(suppressed)
		return "a suppression"
	case n < 14:
		w.log(other)
		w.rotate()
		w.log(other)
		return "a rotation"
	case n < 15:
		w.rotate()
		return "a rotation without anything after it"
	case n < 16:
		w.rotate()
		w.reboot(0)
		w.log(smtpd, other)
		return "a reboot"
	case n < 17:
		w.reboot(time.Hour)
		w.log(other, smtpd)
		return "a reboot with the clock set back"
	case n < 18 && len(archives) > 3:
		unlink(w.t, archives[0])
		return "a vacuum"
	case n < 19 && len(archives) > 3 && random.IntN(8) == 0:
		cutOff(w.t, archives[len(archives)-1])
		return "a file cut off"
	case n < 20:
		w.start = w.start.Add(-time.Minute)
		w.log(smtpd)
		return "the clock set back"
	}
	return "nothing"
}

func unlink(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func cutOff(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
}

// A run with something new commits once, without a second time for this.
func TestWhatIsRememberedStaysAsLongAsTheFilesDo(t *testing.T) {
	w := newTwins(t)
	w.log(smtpd)
	w.passes("no file is finished", 0)
	if w.few.finished != nil {
		t.Errorf("%d bytes are remembered of no file", len(w.few.finished))
	}
	w.rotate()
	w.log(smtpd)
	w.passes("a file is finished", 0)
	before := w.few.finished
	for range 3 {
		w.log(smtpd)
		w.passes("something new in another", 1)
		if !bytes.Equal(w.few.finished, before) {
			t.Error("it is written anew, though the files are the same")
		}
	}
	w.rotate()
	w.log(smtpd)
	w.passes("the next file is finished", 1)
	if bytes.Equal(w.few.finished, before) {
		t.Error("the new file is not remembered")
	}
	w.passes("and both are passed over", 2)
}
