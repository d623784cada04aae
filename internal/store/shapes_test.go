package store

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShapesAddUp(t *testing.T) {
	s := newStore(t)
	for _, shape := range []Shape{
		{"b", 2, at(3), at(4)}, {"a", 1, at(1), at(1)}, {"b", 1, at(1), at(2)}, {"b", 4, at(5), at(6)}, {"", 9, at(2), at(3)},
	} {
		update(t, s, func(tx *Tx) error { return tx.AddShape(shape) })
	}
	want := []Shape{{"", 9, at(2), at(3)}, {"a", 1, at(1), at(1)}, {"b", 7, at(1), at(6)}}
	if diff := cmp.Diff(want, all(t, s, (*Tx).Shapes)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	update(t, s, func(tx *Tx) error { return tx.PruneShapes(at(3)) })
	if diff := cmp.Diff([]Shape{want[0], want[2]}, all(t, s, (*Tx).Shapes)); diff != "" {
		t.Errorf("after pruning (-want +got):\n%s", diff)
	}
}

// Clients can make up shapes, so that what comes again and again must not make
// way for what comes once.
func TestWhereThereIsNoRoomTheLeastSeenShapeJoinsTheOthers(t *testing.T) {
	s := newStore(t)
	update(t, s, func(tx *Tx) error {
		for i := range maxShapes {
			if err := tx.AddShape(Shape{fmt.Sprintf("shape %03d", i), 2, at(float64(i)), at(float64(i))}); err != nil {
				return err
			}
		}
		return nil
	})
	update(t, s, func(tx *Tx) error { return tx.AddShape(Shape{"once", 1, at(200), at(200)}) })
	update(t, s, func(tx *Tx) error { return tx.AddShape(Shape{"twice", 1, at(300), at(300)}) })
	update(t, s, func(tx *Tx) error { return tx.AddShape(Shape{"twice", 1, at(301), at(301)}) })
	got := map[string]Shape{}
	for _, shape := range all(t, s, (*Tx).Shapes) {
		got[shape.Text] = shape
	}
	if len(got) != maxShapes+1 { // and the others
		t.Errorf("%d shapes are kept", len(got))
	}
	for text, want := range map[string]Shape{
		"":          {"", 3, at(0), at(200)}, // the oldest of the first ones, and "once"
		"shape 000": {},
		"shape 001": {"shape 001", 2, at(1), at(1)},
		"once":      {},
		"twice":     {"twice", 2, at(300), at(301)},
	} {
		if diff := cmp.Diff(want, got[text]); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}
