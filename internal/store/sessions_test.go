package store

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSessionsComeAndGo(t *testing.T) {
	s := newStore(t)
	a, b := Session{[]byte("a"), []byte("one")}, Session{[]byte("b"), []byte("two")}
	update(t, s, func(tx *Tx) error { return errors.Join(tx.PutSession(a), tx.PutSession(b)) })
	update(t, s, func(tx *Tx) error { return tx.PutSession(Session{Key: a.Key}) })
	if diff := cmp.Diff([]Session{b}, all(t, s, (*Tx).Sessions)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
