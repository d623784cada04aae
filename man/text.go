package man

import (
	"bufio"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Write writes the topic as text for a terminal of so many columns, with what
// stands out in bold if that is asked for, and otherwise without any escape.
func (t Topic) Write(w io.Writer, columns int, bold bool) error {
	p := printer{out: bufio.NewWriter(w), columns: columns, bold: bold}
	for i, part := range t.Parts {
		p.gap = i > 0
		p.line("", []string{toggle + part.Page + ": " + part.Title + toggle})
		p.gap = true
		p.blocks(strings.Split(part.source, "\n"))
	}
	return p.out.Flush()
}

// printer knows just as much Markdown as the pages use: headings, paragraphs,
// definitions, lists, tables, code, and words that stand out.
type printer struct {
	out     *bufio.Writer
	columns int
	bold    bool

	gap bool // an empty line is due
	on  bool // within what is bold
}

// indent is how far text stands to the right of its heading, and a definition to
// the right of its term, which is so in the pages as well.
const indent = "    "

func (p *printer) blocks(lines []string) {
	for len(lines) > 0 {
		text := strings.TrimLeft(lines[0], " ")
		margin := indent + lines[0][:len(lines[0])-len(text)]
		n := 1
		switch {
		case text == "":
			p.gap = true
		case strings.HasPrefix(text, "```"):
			n = p.code(lines)
		case strings.HasPrefix(text, "#"):
			p.gap = true
			p.line("", words("**"+strings.TrimLeft(text, "# ")+"**"))
		case strings.HasPrefix(text, "|"):
			p.line(margin, words(text))
		default:
			n = paragraph(lines)
			p.paragraph(margin, words(strings.Join(lines[:n], " ")))
		}
		lines = lines[n:]
	}
}

// code writes lines as they are, up to the fence, and returns how many there are.
func (p *printer) code(lines []string) int {
	for n, line := range lines[1:] {
		if strings.TrimSpace(line) == "```" {
			return n + 2
		}
		p.line(indent+indent, []string{line})
	}
	return len(lines)
}

// paragraph returns how many of the lines are one: up to an empty one, a term's
// definition, or the next item of a list.
func paragraph(lines []string) int {
	next := regexp.MustCompile("^ *($|```|: |- |[0-9]+\\. )")
	n := 1
	for n < len(lines) && !next.MatchString(lines[n]) {
		n++
	}
	return n
}

// paragraph breaks words into lines. Definitions and items hang from their mark.
func (p *printer) paragraph(margin string, words []string) {
	first := margin
	switch mark := words[0]; {
	case mark == ":":
		first, margin, words = margin+indent, margin+indent, words[1:]
	case mark == "-", len(mark) == 2 && mark[1] == '.':
		first, margin, words = margin+mark+" ", margin+strings.Repeat(" ", len(mark)+1), words[1:]
	}
	for len(words) > 0 {
		n, width := 1, len(margin)+length(words[0])
		for n < len(words) && width+1+length(words[n]) <= p.columns {
			width += 1 + length(words[n])
			n++
		}
		p.line(first, words[:n])
		first, words = margin, words[n:]
	}
}

// toggle begins and ends what is bold.
const toggle = "\x02"

// words divides a text that has no more Markdown in it then.
func words(text string) []string {
	return strings.Fields(regexp.MustCompile(`\\.|\*\*|\*`).ReplaceAllStringFunc(text, func(s string) string {
		switch s {
		case "**":
			return toggle
		case "*":
			return ""
		}
		return s[1:]
	}))
}

func length(word string) int { return utf8.RuneCountInString(strings.ReplaceAll(word, toggle, "")) }

func (p *printer) line(margin string, words []string) {
	if p.gap {
		p.out.WriteByte('\n')
	}
	p.gap = false
	p.out.WriteString(margin)
	for i, part := range strings.Split(strings.Join(words, " "), toggle) {
		if i > 0 {
			p.on = !p.on
			p.escape()
		}
		p.out.WriteString(part)
	}
	p.out.WriteByte('\n')
}

func (p *printer) escape() {
	switch {
	case !p.bold:
	case p.on:
		p.out.WriteString("\x1b[1m")
	default:
		p.out.WriteString("\x1b[0m")
	}
}
