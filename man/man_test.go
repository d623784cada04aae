package man

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func shown(t *testing.T, topic Topic, columns int, bold bool) string {
	t.Helper()
	var out bytes.Buffer
	if err := topic.Write(&out, columns, bold); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

const page = `# TOOL.CONF 5 "" "tool" "Configuration"

# NAME

tool.conf - what tool does

# USE

Write **bold words that
go on** and *slanted* ones, *\*.toml*, over several lines of text.

### Values

**key** = "a"
:   What it says: one line that is too long for the terminal.

    A second paragraph.

**other**, *key*
:   Short.

- an item that is so long that it does not fit
- another

1. the first
2. the second

| a | **b** |
| --- | --- |

` + "```" + `
code  **as it is**
  # and so on
` + "```" + `
`

func TestMarkdownBecomesText(t *testing.T) {
	var topics []Topic
	divide("tool.conf.5.md", page, func(name string, p Part) { topics = append(topics, Topic{name, []Part{p}}) })
	if len(topics) != 1 || topics[0].Name != "tool.conf" {
		t.Fatalf("got the topics %v", topics)
	}
	const want = `tool.conf(5): what tool does

NAME

    tool.conf - what tool does

USE

    Write bold words that go on and
    slanted ones, *.toml, over several
    lines of text.

Values

    key = "a"
        What it says: one line that is
        too long for the terminal.

        A second paragraph.

    other, key
        Short.

    - an item that is so long that it
      does not fit
    - another

    1. the first
    2. the second

    | a | b |
    | --- | --- |

        code  **as it is**
          # and so on
`
	got := shown(t, topics[0], 40, false)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	bold := shown(t, topics[0], 40, true)
	if !strings.Contains(bold, "Write \x1b[1mbold words that go on\x1b[0m and") {
		t.Errorf("nothing is bold in %q", bold)
	}
	if plain := strings.NewReplacer("\x1b[1m", "", "\x1b[0m", "").Replace(bold); plain != got {
		t.Errorf("bold words change the lines (-plain +bold):\n%s", cmp.Diff(got, plain))
	}
}

func TestEveryTopicIsTextWithoutMarkdown(t *testing.T) {
	const columns = 60
	for _, topic := range Topics() {
		text := shown(t, topic, columns, false)
		if len(strings.Split(text, "\n")) < 4 {
			t.Errorf("%s says nothing: %q", topic.Name, text)
		}
		for _, line := range strings.Split(text, "\n") {
			if strings.HasPrefix(line, indent+indent) && !strings.HasPrefix(line, indent+indent+indent) || strings.TrimSpace(line) == "" {
				continue // perhaps code
			}
			if strings.HasPrefix(line, "#") || strings.Contains(line, "**") || strings.Contains(line, "```") || strings.ContainsAny(line, "\x1b\x02") {
				t.Errorf("%s: Markdown is left in %q", topic.Name, line)
			}
			if utf8.RuneCountInString(line) > columns && len(strings.Fields(line)) > 1 && strings.HasPrefix(line, indent) && !strings.HasPrefix(line, indent+" ") {
				t.Errorf("%s: longer than %d columns: %q", topic.Name, columns, line)
			}
		}
		if on, off := strings.Count(shown(t, topic, columns, true), "\x1b[1m"), strings.Count(shown(t, topic, columns, true), "\x1b[0m"); on != off || on == 0 {
			t.Errorf("%s: bold begins %d times and ends %d times", topic.Name, on, off)
		}
	}
}

func TestTheManualHasTheseTopics(t *testing.T) {
	names := map[string]bool{}
	for _, topic := range Topics() {
		names[topic.Name] = true
	}
	for _, name := range []string{"outages", "gaps", "clock", "exit-status", "examples", "configuration", "policy", "service", "metrics"} {
		if !names[name] {
			t.Errorf("%s is missing", name)
		}
	}
	for _, name := range []string{"name", "synopsis", "see-also", "mistakes"} {
		if names[name] {
			t.Errorf("%s is no topic", name)
		}
	}
}
