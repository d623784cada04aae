package pass

import (
	"smtpban/internal/journal"
	"smtpban/internal/postfix"
	"smtpban/internal/store"
)

// Puzzles counts lines that nothing is known about, by their shape.
type Puzzles map[string]store.Shape

// maxPuzzles bounds how many shapes are told apart; the store keeps even fewer.
const maxPuzzles = 1000

// Add counts a line.
func (p Puzzles) Add(e journal.Entry) {
	text := postfix.Shape(e.Identifier, e.Message)
	if _, known := p[text]; !known && len(p) >= maxPuzzles {
		text = ""
	}
	s, known := p[text]
	if !known {
		s = store.Shape{Text: text, First: e.Time, Last: e.Time}
	}
	s.Count++
	if e.Time.After(s.Last) {
		s.Last = e.Time
	}
	p[text] = s
}
