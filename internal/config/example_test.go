package config

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/ban"
)

// allKeys lists every key there is, sorted: those with a fixed name, every class
// that may have points, and those of services that differ by default.
func allKeys() []string {
	var c Config
	keys := slices.Collect(maps.Keys(setters(&c)))
	for _, class := range ban.Offences() {
		keys = append(keys, "classes."+class.String())
	}
	for service, weights := range Defaults().Policy.Services {
		for class := range weights {
			keys = append(keys, "service."+service+".classes."+class.String())
		}
	}
	slices.Sort(keys)
	return keys
}

// uncommented returns the shipped file with every default in force: settings are
// commented out as "#key", prose as "# text".
func uncommented() string {
	return regexp.MustCompile(`(?m)^#(\w)`).ReplaceAllString(Example, "$1")
}

func TestShippedFileSetsNothing(t *testing.T) {
	compare(t, load(t, map[string]string{"smtpban.toml": Example}), Defaults())
}

func TestShippedFileShowsTheDefaultOfEveryKey(t *testing.T) {
	compare(t, load(t, map[string]string{"smtpban.toml": uncommented()}), Defaults())

	values, err := parse("smtpban.toml", []byte(uncommented()))
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, v := range values {
		if _, table := v.data.(map[string]any); !table {
			shown = append(shown, v.key)
		}
	}
	slices.Sort(shown)
	if diff := cmp.Diff(allKeys(), shown); diff != "" {
		t.Errorf("keys of the shipped file (-known +shown):\n%s", diff)
	}
}

// A wrong value beside a default that happens to be the same would pass the test
// above: each line by itself must set what is there, whatever was there before.
func TestEachLineOfTheShippedFileSetsItsDefault(t *testing.T) {
	values, err := parse("smtpban.toml", []byte(uncommented()))
	if err != nil {
		t.Fatal(err)
	}
	l := newLoader()
	l.config = Config{}
	l.config.Policy.Weights = map[ban.Class]int{}
	l.config.Policy.Services = map[string]map[ban.Class]int{}
	for _, v := range values {
		if err := l.set(v); err != nil {
			t.Error(err)
		}
	}
	compare(t, l.config, Defaults())
}

const page = "../../man/smtpban.toml.5.md"

func TestManPageNamesEveryKeyAndNoOther(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var section string
	var described []string
	for line := range strings.Lines(string(text)) {
		if m := regexp.MustCompile(`^#+ .*\[([\w.]+)\]`).FindStringSubmatch(line); m != nil {
			section = m[1]
		} else if strings.HasPrefix(line, "# ") {
			section = ""
		}
		if m := regexp.MustCompile(`^\*\*([\w-]+)\*\* = `).FindStringSubmatch(line); m != nil {
			described = append(described, section+"."+m[1])
		}
	}
	slices.Sort(described)
	if diff := cmp.Diff(allKeys(), described); diff != "" {
		t.Errorf("keys of the page (-known +described):\n%s", diff)
	}
}

func TestManPageShowsTheDefaultOfEveryKey(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^#([\w-]+) = (.*)$`).FindAllStringSubmatch(Example, -1)
	if len(lines) != len(allKeys()) {
		t.Fatalf("%d defaults in the shipped file, want %d", len(lines), len(allKeys()))
	}
	for _, m := range lines {
		if want := "\n**" + m[1] + "** = " + m[2] + "\n"; !strings.Contains(string(text), want) {
			t.Errorf("the page lacks the line %q", strings.TrimSpace(want))
		}
	}
}

func TestExamplesOfTheManPagesLoad(t *testing.T) {
	for _, path := range []string{page, "../../man/smtpban-from-fail2ban.7.md"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		examples := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
		if len(examples) == 0 {
			t.Fatalf("no examples in %s", path)
		}
		for _, m := range examples {
			if _, err := Load(write(t, map[string]string{"smtpban.toml": m[1]})); err != nil {
				t.Errorf("%s: %v in\n%s", path, err, m[1])
			}
		}
	}
}
