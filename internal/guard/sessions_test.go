package guard

import (
	"fmt"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// session is a file as logind 252 and 257 write it, see integration/.
func session(remote int, state, class, host string) *fstest.MapFile {
	return &fstest.MapFile{Data: fmt.Appendf(nil, "# This is private data. Do not parse.\nUID=0\nUSER=root\nACTIVE=1\nIS_DISPLAY=1\n"+
		"STATE=%s\nREMOTE=%d\nTYPE=tty\nORIGINAL_TYPE=tty\nCLASS=%s\nSCOPE=session-1.scope\nFIFO=/run/systemd/sessions/1.ref\n"+
		"REMOTE_HOST=%s\nSERVICE=sshd\nLEADER=123\nAUDIT=1\nREALTIME=1772352000000000\nMONOTONIC=1\n", state, remote, class, host)}
}

func TestPeersAreThoseWhoAreLoggedIn(t *testing.T) {
	got, err := SSHPeers(fstest.MapFS{
		"1":       session(1, "active", "user", "203.0.113.1"),
		"2":       session(1, "online", "user", "2001:db8::2"),
		"3":       session(1, "active", "user-early", "::ffff:203.0.113.3"), // root, since 256
		"4":       session(1, "active", "user", `"fe80::4%eth0"`),
		"5":       session(1, "active", "user", "203.0.113.1"), // once more
		"c1":      session(0, "active", "user", "203.0.113.11"),
		"c0":      session(1, "closing", "user", "203.0.113.10"), // a program of his still runs
		"c2":      session(1, "opening", "user", "203.0.113.12"),
		"c3":      session(1, "active", "background", "203.0.113.13"),
		"c4":      session(1, "active", "user-incomplete", "203.0.113.14"),
		"c5":      session(1, "active", "user", "host.example.org"),
		"c6":      session(1, "active", "user", ""),
		"c7":      {Data: []byte("")},
		"c8.ref":  {Mode: fs.ModeNamedPipe, Data: session(1, "active", "user", "203.0.113.18").Data},
		".#c9abc": session(1, "active", "user", "203.0.113.19"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(addrs("203.0.113.1", "2001:db8::2", "203.0.113.3", "fe80::4"), got, compare); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// noDirectory is a system without logind.
type noDirectory struct{}

func (noDirectory) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func TestWithoutLogindNobodyIsLoggedIn(t *testing.T) {
	if got, err := SSHPeers(noDirectory{}); got != nil || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestSessionThatCannotBeReadIsAnError(t *testing.T) {
	_, err := SSHPeers(unreadable{fstest.MapFS{"1": session(1, "active", "user", "203.0.113.1")}})
	if want := "reading a login session: open 1: permission denied"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// unreadable has files that nobody may read.
type unreadable struct{ fstest.MapFS }

func (unreadable) ReadFile(name string) ([]byte, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}
