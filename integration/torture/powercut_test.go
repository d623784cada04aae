package torture_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"smtpban/integration/torture"
	"smtpban/internal/store"
)

// TestTorturePowercut records what commands write, from the first creation of the
// state on, and cuts the power anywhere: what no sync had made certain is there or
// not, and torn. Each image must open to what was last committed, or to what was
// just being committed, if need be after recovery, which says so.
func TestTorturePowercut(t *testing.T) {
	const images = 250 // of a recording
	needRemote(t)
	needStrace(t)
	private(t)
	binary := build(t)
	disk := memoryDisk(t)
	var last *recording
	torture.Run(t, torture.Row{
		Title: "power cut: a random part of what was not synced yet, torn, the first creation included",
		Goal:  "20,000 images, 0 bad",
		Short: 2 * images, Full: 20_000,
		Figure: func(y torture.Tally) string {
			return fmt.Sprintf("%d images, %d of them within the first command, %d within a compaction; %d held the commit that was going on, %d needed recovery",
				y.Rounds, y.Counts["first"], y.Counts["compacting"], y.Counts["next"], y.Counts["recovered"])
		},
	}, func(r *torture.Round) error {
		if n := r.N / images; last == nil || last.number != n {
			last = record(t, r, binary, n)
		}
		among := last.moments
		if r.N%4 == 0 && last.first > 0 {
			among = among[:last.first]
		}
		m := among[r.Rand.IntN(len(among))]
		return last.cut(r, m, disk)
	})
}

// recording is what some commands wrote.
type recording struct {
	number   int
	moments  []written // after each change
	first    int       // of them are of the first command
	versions map[int][]version
}

// written is a moment, and how many commands had ended by then.
type written struct {
	moment
	ended int
}

// version is the content of a file of bbolt's; "" of one that can't be read.
type version string

// record runs the nth series of commands. Mostly the first of them makes the state;
// in every fifth series it finds one that is mostly free, and expire compacts that.
func record(t *testing.T, r *torture.Round, binary string, n int) *recording {
	t.Helper()
	dir := t.TempDir()
	own := *r
	own.Rand = rand.New(rand.NewPCG(r.Seed, 1<<32+uint64(n)))
	m := newMachine(t, binary, dir)
	s := &story{t: t, Round: &own, machine: m, writer: newWriter(m.journal(), own.Rand, 12), model: newModel(), pace: map[string]time.Duration{}}
	defer s.close()
	rec := &recording{number: n, versions: map[int][]version{}}
	p := &player{platter: &platter{names: map[string]*file{}}, dir: filepath.Dir(m.state())}
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	orders, ended := 12, 0
	if n%5 == 1 {
		if err := rec.bloat(s, p); err != nil {
			t.Fatal(err)
		}
		orders, ended = 3, 1
	}
	for i := range orders {
		if err := s.log(1 + s.Rand.IntN(20)); err != nil {
			t.Fatal(err)
		}
		o := s.draw()
		switch i {
		case 0:
			o = s.block()
		case orders / 2:
			o = s.expire() // makes the snapshot
		}
		if err := rec.run(s, o, p, ended+i); err != nil {
			t.Fatal(err)
		}
		if ended+i == 0 {
			rec.first = len(rec.moments)
		}
	}
	return rec
}

// bloat makes a state that expire will find worth compacting, and puts it on the
// platter for certain.
func (rec *recording) bloat(s *story, p *player) error {
	if err := s.whole(s.block()); err != nil {
		return err
	}
	state := store.New(s.state())
	for _, value := range [][]byte{bytes.Repeat([]byte{1}, 300), nil} {
		err := state.Update(func(tx *store.Tx) error {
			for i := range 4000 {
				if err := tx.PutSession(store.Session{Key: fmt.Appendf(nil, "%08d", i), Value: value}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	found, err := os.ReadDir(p.dir)
	for _, e := range found {
		data := readFile(s.t, filepath.Join(p.dir, e.Name()))
		f := p.create(e.Name())
		f.durable, f.synced = data, 1
		rec.versions[f.number] = []version{versionOf(s.t, data)}
	}
	p.sync(&open{})
	return err
}

// run adds a command to the recording, after so many that have ended.
func (rec *recording) run(s *story, o order, p *player, ended int) error {
	trace := filepath.Join(s.machine.dir, "trace")
	cmd := s.command(o.now, o.args...)
	cmd.traced(trace, "-e", "trace="+changing)
	if err := cmd.succeed(); err != nil {
		return err
	}
	if _, err := s.check(o, false); err != nil {
		return cmd.fail("%w", err)
	}
	calls, err := readTrace(trace)
	if err != nil {
		return err
	}
	p.process()
	for _, c := range calls {
		changes := p.changes
		if err := p.play(c); err != nil {
			return err
		}
		m := p.moment()
		if p.changes > changes {
			rec.moments = append(rec.moments, written{m, ended})
		}
		for f := range m.files {
			if len(rec.versions[f.number]) < f.synced {
				rec.versions[f.number] = append(rec.versions[f.number], versionOf(s.t, f.durable))
			}
		}
	}
	// What was played must be what is there.
	for name, f := range p.seen() {
		if !slices.Equal(f.now(), readFile(s.t, filepath.Join(p.dir, name))) {
			return cmd.fail("the recording of %s is not what it wrote", name)
		}
	}
	return nil
}

// cut puts an image of the moment on the disk and looks what the store makes of
// it.
func (rec *recording) cut(r *torture.Round, m written, disk string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	image := m.image(r.Rand)
	if err := putImage(disk, image); err != nil {
		return err
	}
	if m.ended == 0 {
		r.Count("first", 1)
	}
	if _, compacting := image["smtpban.db.new"]; compacting && m.ended > 0 {
		r.Count("compacting", 1)
	}
	s := store.New(filepath.Join(disk, "smtpban.db"))
	f, ok := image["smtpban.db"]
	if !ok {
		if m.ended > 0 {
			return errors.New("the state is gone")
		}
		return usable(s)
	}
	err = s.View(func(*store.Tx) error { return nil })
	if errors.Is(err, store.ErrDamaged) {
		r.Count("recovered", 1)
		_, err = s.Recover(func(*store.Tx) error { return nil })
	}
	if err != nil {
		return err
	}
	got, err := readVersion(filepath.Join(disk, "smtpban.db"))
	if err != nil {
		return err
	}
	known := rec.versions[f.number]
	switch {
	case f.synced > 0 && got == known[f.synced-1]:
	case f.synced < len(known) && got == known[f.synced]:
		r.Count("next", 1)
	default:
		return fmt.Errorf("neither the last commit nor the next one, after %d syncs", f.synced)
	}
	return usable(s)
}

// usable makes sure that the next run can work with what is there, leftovers
// included, and that a snapshot is whole.
func usable(s *store.Store) error {
	err := s.Update(func(tx *store.Tx) error { return tx.PutLastReport(began) })
	if err != nil {
		return fmt.Errorf("the next run: %w", err)
	}
	return s.Snapshot(began.Add(time.Hour*1000), 0)
}

// memoryDisk mounts a file system in memory, on which a sync costs nothing.
func memoryDisk(t *testing.T) string {
	t.Helper()
	disk := t.TempDir()
	if err := unix.Mount("none", disk, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) })
	return disk
}

// putImage makes the folder hold just the image.
func putImage(disk string, image map[string]imaged) error {
	old, err := os.ReadDir(disk)
	if err != nil {
		return err
	}
	for _, e := range old {
		if err := os.Remove(filepath.Join(disk, e.Name())); err != nil {
			return err
		}
	}
	for name, f := range image {
		if err := os.WriteFile(filepath.Join(disk, name), f.data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// versionOf returns the version that the bytes of a file are.
func versionOf(t *testing.T, data []byte) version {
	t.Helper()
	path := filepath.Join(t.TempDir(), "version.db")
	writeFile(t, path, data)
	if store.New(path).View(func(*store.Tx) error { return nil }) != nil {
		return "" // not complete yet
	}
	v, err := readVersion(path)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// readVersion reads all pairs of a file, not by way of the store.
func readVersion(path string) (version, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return "", err
	}
	defer db.Close()
	sum := sha256.New()
	err = db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				_, err := fmt.Fprintf(sum, "%q %q %q\n", name, k, v)
				return err
			})
		})
	})
	return version(fmt.Sprintf("%x", sum.Sum(nil))), err
}
