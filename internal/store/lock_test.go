package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestASecondLockFailsAfterItsPatienceAndSucceedsOnceReleased(t *testing.T) {
	s := newStore(t)
	unlock, err := s.Lock(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, patience := range []time.Duration{0, 150 * time.Millisecond} {
		begin := time.Now()
		_, err := s.Lock(patience)
		if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), s.path) {
			t.Errorf("got error %v, want ErrLocked and the path", err)
		}
		if waited := time.Since(begin); waited < patience || waited > patience+2*time.Second {
			t.Errorf("waited %v, want %v", waited, patience)
		}
	}
	time.AfterFunc(50*time.Millisecond, unlock)
	unlock, err = s.Lock(10 * time.Second)
	if err != nil {
		t.Fatal("not released: ", err)
	}
	unlock()
	if diff := cmp.Diff([]string{"smtpban.db.lock"}, files(t, s)); diff != "" {
		t.Error("locking leaves only the lock file:", diff)
	}
}

func TestTheLockSaysWhyItCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(dir, "victim")
	if err := errors.Join(os.WriteFile(victim, nil, 0o600), os.Symlink(victim, filepath.Join(dir, "link.lock"))); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "missing", "smtpban.db"), filepath.Join(dir, "link")} {
		_, err := New(path).Lock(0)
		if err == nil || errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path+".lock") {
			t.Errorf("%s: got error %v", path, err)
		}
	}
}

func TestAReaderNeedsNoLock(t *testing.T) {
	s := newStore(t)
	unlock, err := s.Lock(0)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if diff := cmp.Diff(empty, load(t, s), exact); diff != "" {
		t.Error("before the first commit", diff)
	}
	update(t, s, sample().put)
	if diff := cmp.Diff(sample(), load(t, s, sampleSettings...), exact); diff != "" {
		t.Error("after it", diff)
	}
}

func TestAReaderWaitsForACommitAndSeesIt(t *testing.T) {
	s := newStore(t)
	update(t, s, func(*Tx) error { return nil })
	writing, finish := make(chan struct{}), make(chan struct{})
	written := make(chan error)
	go func() {
		written <- s.Update(func(tx *Tx) error {
			close(writing)
			<-finish
			return sample().put(tx)
		})
	}()
	<-writing
	var commit time.Time
	read := make(chan error)
	go func() {
		read <- New(s.path).View(func(tx *Tx) (err error) { // as another process does
			commit, err = tx.LastCommit()
			return err
		})
	}()
	select {
	case err := <-read:
		t.Errorf("View ended while the writer had the file open: %v", err)
	case <-time.After(150 * time.Millisecond):
	}
	close(finish)
	if err := errors.Join(<-written, <-read); err != nil {
		t.Fatal(err)
	}
	if want := sample().Commit; !commit.Equal(want) {
		t.Errorf("last commit %v, want %v", commit, want)
	}
}

func TestReadersDoNotExcludeEachOther(t *testing.T) {
	s := newStore(t)
	update(t, s, sample().put)
	view(t, s, func(*Tx) error {
		if diff := cmp.Diff(sample(), load(t, s, sampleSettings...), exact); diff != "" {
			t.Error(diff)
		}
		return nil
	})
}

func TestReadingChangesNoByte(t *testing.T) {
	s := newStore(t)
	update(t, s, sample().put)
	before := readFile(t, s.path)
	load(t, s, sampleSettings...)
	if !bytes.Equal(before, readFile(t, s.path)) {
		t.Error("the file changed")
	}
}
