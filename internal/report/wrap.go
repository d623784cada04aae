package report

import (
	"strings"
	"unicode/utf8"
)

// Wrap writes words behind a label. Where they are wider than the terminal they go on
// below their beginning. A word is never broken.
func (t Text) Wrap(label, words string) string {
	indent := utf8.RuneCountInString(label)
	if t.Width == 0 || indent+utf8.RuneCountInString(words) <= t.Width {
		return label + words
	}
	var text strings.Builder
	text.WriteString(label)
	column := indent
	for word := range strings.FieldsSeq(words) {
		width := utf8.RuneCountInString(word)
		switch {
		case column == indent:
		case column+1+width > t.Width:
			text.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			text.WriteByte(' ')
			column++
		}
		text.WriteString(word)
		column += width
	}
	return text.String()
}
