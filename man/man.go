// Package man holds the manual pages and shows parts of them as plain text, for
// smtpban help.
package man

import (
	"embed"
	"maps"
	"slices"
	"strings"
)

//go:embed *.md
var pages embed.FS

// Topic is what smtpban help NAME shows.
type Topic struct {
	Name  string
	Parts []Part // of the manual that bear the name
}

// Part is a section of a page, or a whole one.
type Part struct {
	Page   string // as in smtpban(8)
	Title  string // the section's heading, or what the page is about
	source string // Markdown
}

// Topics returns the sections of smtpban(8), those of smtpban.toml(5) that are about
// a table, and every other page as a whole, in order of their names.
func Topics() []Topic {
	parts := map[string][]Part{}
	files, _ := pages.ReadDir(".") // what is embedded can always be read
	for _, file := range files {
		source, _ := pages.ReadFile(file.Name())
		divide(file.Name(), string(source), func(topic string, p Part) { parts[topic] = append(parts[topic], p) })
	}
	var topics []Topic
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		topics = append(topics, Topic{name, parts[name]})
	}
	return topics
}

// divide hands the parts of a page to add. Its file is named like smtpban.8.md.
func divide(file, source string, add func(topic string, p Part)) {
	name, chapter, _ := strings.Cut(strings.TrimSuffix(file, ".md"), ".")
	if i := strings.LastIndex(chapter, "."); i >= 0 {
		name, chapter = name+"."+chapter[:i], chapter[i+1:]
	}
	page := name + "(" + chapter + ")"
	_, body, _ := strings.Cut(source, "\n") // after the title
	if name != "smtpban" {
		_, about, _ := strings.Cut(body, " - ")
		about, _, _ = strings.Cut(about, "\n")
		add(pageTopic(name), Part{page, about, body})
	}
	for _, section := range strings.Split(body, "\n# ")[1:] {
		heading, text, _ := strings.Cut(section, "\n")
		if topic := sectionTopic(page, heading); topic != "" {
			add(topic, Part{page, heading, text})
		}
	}
}

// pageTopic names the topic that is a whole page.
func pageTopic(name string) string {
	switch name {
	case "smtpban.toml":
		return "configuration"
	case "smtpban-block.service":
		return "units"
	}
	return strings.TrimPrefix(name, "smtpban-")
}

// sectionTopic names the topic that is a section, "" if it is none: of smtpban(8)
// each but the formal ones, of smtpban.toml(5) those of tables.
func sectionTopic(page, heading string) string {
	switch page {
	case "smtpban(8)":
		if slices.Contains([]string{"NAME", "SYNOPSIS", "UNITS", "SEE ALSO"}, heading) {
			return ""
		}
		return strings.ReplaceAll(strings.ToLower(heading), " ", "-")
	case "smtpban.toml(5)":
		table, isTable := strings.CutSuffix(heading, " SECTION")
		if !isTable {
			return ""
		}
		table, _, _ = strings.Cut(strings.Trim(table, "[]"), ".")
		return table
	}
	return ""
}
