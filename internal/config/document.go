package config

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// position is a place in a file: line and column from 1, the column in bytes.
type position struct{ line, column int }

// value is what a file says about one key. A table header is a value too, and
// so is an inline table, which the keys in it follow.
type value struct {
	file     string
	path     []string
	key      string   // path with dots, its parts quoted where TOML needs it
	keyAt    position // where the key stands
	at       position // where its value stands; for arrays and headers keyAt
	text     string   // the value as written, to be shown
	listed   bool     // a header [[KEY]]
	data     any      // string, int64, float64, bool, a date, []any or map[string]any
	elements []value  // of an array, in order
}

// errorf returns an error about the value.
func (v value) errorf(format string, args ...any) error {
	return v.errorAt(v.at, format, args...)
}

// keyErrorf returns an error about the key.
func (v value) keyErrorf(format string, args ...any) error {
	return v.errorAt(v.keyAt, format, args...)
}

func (v value) errorAt(at position, format string, args ...any) error {
	return &Error{File: v.file, Line: at.line, Column: at.column, Key: v.key, Msg: fmt.Sprintf(format, args...)}
}

// listOfTables is the one key whose tables are many: [[publish]].
const listOfTables = "publish"

// document is a TOML file on its way to a list of values.
//
// Decoding into a struct would be shorter, but go-toml matches field names in
// any case even when unknown ones are disallowed (MAXRETRY passes for maxretry,
// and both may be given), stops at the first value of a wrong type, and forgets
// where each value stood. Here it decodes into a tree, which checks the rules of
// TOML, and its parser tells the places. Its time grows with the square of the
// keys in one table, which is why read limits the size of a file.
type document struct {
	file   string
	text   []byte
	lines  []int // offset of the start of each line
	tree   map[string]any
	listed int // tables of the list so far
	values []value
}

// parse lists the values of a TOML document in the order in which they stand.
func parse(file string, text []byte) ([]value, error) {
	d := document{file: file, text: text, lines: lineStarts(text)}
	if err := d.decode(); err != nil {
		return nil, err
	}
	var parser unstable.Parser
	parser.Reset(text)
	var table []string
	for parser.NextExpression() {
		node := parser.Expression()
		if node.Kind == unstable.KeyValue {
			d.keyValue(table, node)
			continue
		}
		header := d.value(nil, node.Key())
		header.text = "a table"
		if node.Kind == unstable.ArrayTable {
			// Nothing else here is a list of tables, and its keys could not be
			// told from those of the next one.
			if header.key != listOfTables {
				return nil, header.keyErrorf("must be a single table, not [[%s]]", header.key)
			}
			d.listed++
			header.listed = true
		}
		d.values = append(d.values, header)
		table = header.path
	}
	if err := parser.Error(); err != nil {
		return nil, d.errorAt(position{1, 1}, err.Error())
	}
	return d.values, nil
}

// decode reads the tree and turns what go-toml has against it into an Error.
func (d *document) decode() error {
	for offset := 0; offset < len(d.text); {
		r, size := utf8.DecodeRune(d.text[offset:])
		if r == utf8.RuneError && size == 1 {
			return d.errorAt(d.position(offset), "not UTF-8 text")
		}
		offset += size
	}
	err := toml.Unmarshal(d.text, &d.tree)
	if decodeErr, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, column := decodeErr.Position()
		return d.errorAt(position{line, column}, "not TOML: "+strings.TrimPrefix(decodeErr.Error(), "toml: "))
	}
	if err != nil {
		return d.errorAt(position{1, 1}, err.Error())
	}
	return nil
}

// errorAt returns an error about no particular key.
func (d *document) errorAt(at position, msg string) error {
	return &Error{File: d.file, Line: at.line, Column: at.column, Msg: msg}
}

// keyValue appends a line "key = value" of a table, and the keys within an
// inline table after it.
func (d *document) keyValue(table []string, node *unstable.Node) {
	// No table is deeper than service.NAME.classes. One that is will be
	// refused, and its keys, each with the whole path, could fill the memory.
	if len(table) > 3 {
		return
	}
	v := d.value(table, node.Key())
	content := node.Value()
	v.at, v.text = d.describe(content, v.at)
	if list, ok := v.data.([]any); ok {
		v.elements = d.elements(v, list, content.Children())
	}
	d.values = append(d.values, v)
	if content.Kind != unstable.InlineTable {
		return
	}
	for inner := content.Children(); inner.Next(); {
		d.keyValue(v.path, inner.Node())
	}
}

// value starts the value of a key in a table with what the key tells.
func (d *document) value(table []string, parts unstable.Iterator) value {
	v := value{file: d.file, path: table[:len(table):len(table)]}
	for parts.Next() {
		part := parts.Node()
		if v.at.line == 0 {
			v.at = d.position(int(part.Raw.Offset))
		}
		v.path = append(v.path, string(part.Data))
	}
	v.keyAt, v.key = v.at, joinKey(v.path)
	v.data = d.tree
	for _, part := range v.path {
		if list, ok := v.data.([]any); ok && d.listed > 0 {
			v.data = list[d.listed-1]
		}
		branch, _ := v.data.(map[string]any)
		v.data = branch[part]
	}
	return v
}

// elements describes the elements of an array.
func (d *document) elements(array value, list []any, nodes unstable.Iterator) []value {
	var all []value
	for nodes.Next() {
		v := value{file: array.file, path: array.path, key: array.key, data: list[len(all)]}
		v.at, v.text = d.describe(nodes.Node(), array.at)
		v.keyAt = v.at
		all = append(all, v)
	}
	return all
}

// describe returns where a value stands and how it is written. The parser does
// not tell where an array stands: that is otherwise then.
func (d *document) describe(node *unstable.Node, otherwise position) (at position, text string) {
	const most = 60 // bytes shown of a value
	start := int(node.Raw.Offset)
	switch node.Kind {
	case unstable.Array:
		return otherwise, "an array"
	case unstable.InlineTable:
		return d.position(start), "a table"
	}
	text = string(d.text[start : start+int(node.Raw.Length)])
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return d.position(start), strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(text)
}

// position returns the line and column of an offset.
func (d *document) position(offset int) position {
	line := sort.SearchInts(d.lines, offset+1)
	return position{line, offset - d.lines[line-1] + 1}
}

func lineStarts(text []byte) []int {
	starts := []int{0}
	for i, c := range text {
		if c == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

// joinKey writes a path as a dotted key.
func joinKey(path []string) string {
	parts := make([]string, len(path))
	for i, part := range path {
		parts[i] = part
		if part == "" || strings.Trim(part, bareKey) != "" {
			parts[i] = strconv.Quote(part)
		}
	}
	return strings.Join(parts, ".")
}

// bareKey has the characters of a TOML key that needs no quotes.
const bareKey = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
