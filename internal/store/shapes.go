package store

import (
	"cmp"
	"fmt"
	"iter"
	"time"
)

// Shape is a kind of line that nothing is known about. One with an empty text
// stands for all those for which there was no room.
type Shape struct {
	Text        string
	Count       int
	First, Last time.Time
}

// maxShapes bounds how many are told apart: clients can make up new ones.
const maxShapes = 100

// AddShape adds to the count of a shape. If there is no room for a new one, the
// one that was seen least, and of such the one longest ago, joins the others.
func (t *Tx) AddShape(s Shape) error {
	old, known, err := t.shape(s.Text)
	if err != nil {
		return err
	}
	if !known && s.Text != "" {
		if err := t.makeRoom(); err != nil {
			return err
		}
	}
	return t.putShape(s.and(old))
}

// makeRoom leaves room for one more shape.
func (t *Tx) makeRoom() error {
	var least Shape
	n := 0
	for s, err := range t.Shapes() {
		if err != nil {
			return err
		}
		if s.Text == "" {
			continue
		}
		if n++; n == 1 || cmp.Or(cmp.Compare(s.Count, least.Count), s.Last.Compare(least.Last)) < 0 {
			least = s
		}
	}
	if n < maxShapes {
		return nil
	}
	others, _, err := t.shape("")
	if err != nil {
		return err
	}
	if err := t.delete(bucketShapes, shapeKey(least.Text)); err != nil {
		return err
	}
	least.Text = ""
	return t.putShape(least.and(others))
}

// and adds up the lines of two shapes under the text of the first.
func (s Shape) and(other Shape) Shape {
	if other.Count == 0 {
		return s
	}
	s.Count += other.Count
	if other.First.Before(s.First) {
		s.First = other.First
	}
	if other.Last.After(s.Last) {
		s.Last = other.Last
	}
	return s
}

func (t *Tx) putShape(s Shape) error {
	return t.put(bucketShapes, shapeKey(s.Text), encodeShape(s))
}

func encodeShape(s Shape) []byte {
	e := newEncoder()
	e.uint(uint64(s.Count))
	e.time(s.First)
	e.time(s.Last)
	return e.seal()
}

// shapeKey is never empty: bbolt has no such key.
func shapeKey(text string) []byte { return []byte("=" + text) }

func (t *Tx) shape(text string) (s Shape, known bool, err error) {
	key := shapeKey(text)
	v := t.get(bucketShapes, key)
	if v == nil {
		return Shape{}, false, nil
	}
	s, err = decodeShape(key, v)
	return s, err == nil, err
}

// Shapes yields the shapes in order of their texts.
func (t *Tx) Shapes() iter.Seq2[Shape, error] { return decoded(t, bucketShapes, decodeShape) }

func decodeShape(key, value []byte) (Shape, error) {
	if len(key) == 0 {
		return Shape{}, fmt.Errorf("key of a shape: %w", errDamaged)
	}
	d := newDecoder(value)
	s := Shape{Text: string(key[1:]), Count: int(d.uint()), First: d.time(), Last: d.time()}
	if err := d.finish(); err != nil {
		return Shape{}, fmt.Errorf("shape %q: %w", s.Text, err)
	}
	return s, nil
}

// PruneShapes forgets the shapes that were not seen since a time.
func (t *Tx) PruneShapes(before time.Time) error {
	return t.prune(bucketShapes, func(key, value []byte) (bool, error) {
		s, err := decodeShape(key, value)
		return s.Last.Before(before), err
	})
}
