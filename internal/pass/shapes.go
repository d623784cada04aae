package pass

import (
	"smtpban/internal/journal"
	"smtpban/internal/postfix"
	"smtpban/internal/store"
)

// Shapes counts lines that no rule knows, by their shape.
type Shapes map[string]store.Shape

// maxShapes bounds how many shapes are told apart; the store keeps even fewer.
const maxShapes = 1000

// Add counts a line.
func (s Shapes) Add(e journal.Entry) {
	text := postfix.Shape(e.Identifier, e.Message)
	if _, known := s[text]; !known && len(s) >= maxShapes {
		text = ""
	}
	shape, known := s[text]
	if !known {
		shape = store.Shape{Text: text, First: e.Time, Last: e.Time}
	}
	shape.Count++
	if e.Time.After(shape.Last) {
		shape.Last = e.Time
	}
	s[text] = shape
}
