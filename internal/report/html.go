package report

import (
	_ "embed"
	"html/template"
	"io"
)

//go:embed report.html.tmpl
var pageTemplate string

// WriteHTML writes the report as one page that needs nothing else: no script, no
// picture, no font.
func (t Text) WriteHTML(w io.Writer, r Report) error { return execute(w, pageTemplate, t.page(r)) }

// execute fills a template, which escapes what it is filled with.
func execute(w io.Writer, text string, p page) error {
	parsed, err := template.New("report").Parse(text)
	if err != nil {
		return err
	}
	return parsed.Execute(w, p)
}
