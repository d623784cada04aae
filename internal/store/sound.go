package store

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// To make sure that a file is sound is to look at all of it, which at every run
// would cost more than all else, the more the more is banned. A run that leaves the
// file sound notes in the lock file what the file looks like from outside. A run
// that trusts that, and finds it like that, takes it for sound: every write changes
// its times, and nobody can set ctime back. What no write did, such as a disk that
// forgets, is found by those that do not trust it: restore at boot and expire every
// hour.

// appearance is what tells a file from itself after a change.
type appearance struct {
	device, inode uint64
	size          int64
	mtime, ctime  unix.Timespec
}

func appearanceOf(path string) (a appearance, err error) {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return appearance{}, err
	}
	return appearance{uint64(s.Dev), s.Ino, s.Size, s.Mtim, s.Ctim}, nil
}

// String returns the line that the lock file has.
func (a appearance) String() string {
	return fmt.Sprintf("sound %d %d %d %d.%09d %d.%09d\n", a.device, a.inode, a.size, a.mtime.Sec, a.mtime.Nsec, a.ctime.Sec, a.ctime.Nsec)
}

// Trust has the file taken for sound if it looks as the last run left it.
func (s *Store) Trust() { s.trusting = true }

// looksSound reports whether an earlier run left the file just like this.
func (s *Store) looksSound() bool {
	if !s.trusting || s.salvage || s.damaged {
		return false
	}
	noted, err := os.ReadFile(s.lockPath())
	if err != nil || s.seen == (appearance{}) {
		return false
	}
	return s.seen.String() == string(noted)
}

// notice keeps what the file looks like, just before it is looked at and after each
// change that was made to it.
func (s *Store) notice() { s.seen, _ = appearanceOf(s.path) }

// note writes that into the lock file, unless it stands there, somebody else has
// changed the file since, or it is of a newer version, which is left as it is. It
// does not matter if it is lost, or can't be written. Of a file that was found
// damaged and was not mended no note is left.
func (s *Store) note(lock *os.File) {
	now, err := appearanceOf(s.path)
	line := now.String()
	switch {
	case s.damaged:
		line = ""
	case err != nil || !s.sound || !s.known || now != s.seen:
		return
	}
	noted := make([]byte, len(line)+1)
	if n, err := lock.ReadAt(noted, 0); err == io.EOF && string(noted[:n]) == line {
		return
	}
	// Whoever owns the directory may have given another file this name.
	info, err := lock.Stat()
	if err != nil || info.Sys().(*syscall.Stat_t).Nlink != 1 {
		return
	}
	if lock.Truncate(int64(len(line))) == nil {
		_, _ = lock.WriteAt([]byte(line), 0)
	}
}
