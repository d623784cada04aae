package report

// Colour is how a terminal shows a text. Only those that systemctl uses are.
type Colour string

// The colours. The zero one is the terminal's own.
const (
	Plain      Colour = ""
	Red        Colour = "\x1b[0;1;31m" // something has failed
	Yellow     Colour = "\x1b[0;1;33m" // something is to be looked at
	Green      Colour = "\x1b[0;1;32m" // all is well
	Underlined Colour = "\x1b[0;4m"    // a heading

	reset = "\x1b[0m"
)

// Paint writes a text in a colour where the terminal shows colours.
func (t Text) Paint(c Colour, text string) string {
	if !t.Colour {
		return text
	}
	return c.paint(text)
}

func (c Colour) paint(text string) string {
	if c == Plain || text == "" {
		return text
	}
	return string(c) + text + reset
}

// colourOf returns the colour of a cell: only states have any.
func colourOf(heading, cell string) Colour {
	switch heading {
	case "STATE", "ROUTE", "RESULT":
	default:
		return Plain
	}
	switch cell {
	case "no", string(Fault):
		return Red
	case string(Held), string(Protected), string(Warning):
		return Yellow
	case string(Blocked), "yes", string(OK):
		return Green
	}
	return Plain
}
