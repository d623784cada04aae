package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/ban"
	"smtpban/internal/config"
)

// manPages returns the sources of all manual pages, by their path.
func manPages(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("../../man/*.md")
	if err != nil || !slices.Contains(paths, manPage) {
		t.Fatalf("found the pages %v, %v", paths, err)
	}
	pages := map[string]string{}
	for _, path := range paths {
		pages[path] = readText(t, path)
	}
	return pages
}

// unitNames returns the names of the units that are shipped.
func unitNames(t *testing.T) (names []string) {
	t.Helper()
	for _, kind := range []string{"service", "timer"} {
		paths, err := filepath.Glob("../../units/*." + kind)
		if err != nil || len(paths) == 0 {
			t.Fatalf("found the units %v, %v", paths, err)
		}
		for _, path := range paths {
			names = append(names, filepath.Base(path))
		}
	}
	return names
}

func TestCommandsInTheDocumentsAreValid(t *testing.T) {
	command := regexp.MustCompile("\\*\\*(smtpban [^*]+)\\*\\*|`(smtpban [^`]+)`|(?m:^(?:sudo )?(smtpban [a-z-][^|#>)\n]*))")
	documents := manPages(t)
	documents[readme] = readText(t, readme)
	for path, text := range documents {
		found := 0
		for _, match := range command.FindAllStringSubmatch(codeBlocksAndMarkup(text), -1) {
			found++
			line, _, _ := strings.Cut(match[1]+match[2]+match[3], " >") // the shell's
			words := strings.Fields(line)
			if err := validate(words[1:]); err != nil {
				t.Errorf("%s: %q: %v", path, strings.Join(words, " "), err)
			}
		}
		if found == 0 && path != "../../man/smtpban.toml.5.md" {
			t.Errorf("%s: found no command at all", path)
		}
	}
}

// codeBlocksAndMarkup returns the text without those lines outside of code blocks
// that merely begin with the word smtpban.
func codeBlocksAndMarkup(text string) string {
	prose := codeBlock.ReplaceAllString(text, "")
	return strings.ReplaceAll(prose, "\nsmtpban ", "\n ") + strings.Join(codeBlock.FindAllString(text, -1), "\n")
}

// validate reports what is wrong with a command line, short of running it.
func validate(args []string) error {
	cmd, rest, err := completeRoot().Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// What stands alone in bold is a command, an option, a key, a class or a unit of time
// of ours, or somebody's manual page; of other programs it names the program, too.
func TestManualPagesPutOnlyOurOwnWordsInBold(t *testing.T) {
	known := map[string]bool{"smtpban": true}
	for option := range flagHeadings(completeRoot()) {
		for word := range strings.FieldsSeq(strings.ReplaceAll(option, ",", "")) {
			known[word] = true
		}
	}
	for _, cmd := range completeRoot().Commands() {
		known[cmd.Name()] = true
	}
	for _, class := range ban.Classes() {
		known[class.String()] = true
	}
	for _, match := range regexp.MustCompile(`(?m)^# *(\w+) = |^#? *\[+([\w.]+)`).FindAllStringSubmatch(config.Example, -1) {
		known[match[1]+match[2]] = true
	}
	for _, word := range append(strings.Fields("us ms s min m h d w M y - #"), exitStatuses(t)...) {
		known[word] = true
	}
	bold := regexp.MustCompile(`\*\*([^*]+)\*\*(\()?`)
	for path, text := range manPages(t) {
		found := bold.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1)
		if len(found) == 0 {
			t.Errorf("%s: nothing is in bold", path)
		}
		for _, match := range found {
			word := strings.Trim(match[1], "[]")
			if match[2] == "" && !strings.ContainsAny(word, " \n") && !known[word] {
				t.Errorf("%s: there is no command, option, key or class %s", path, match[1])
			}
		}
	}
}

func TestManualPagesNameNoOtherExitStatus(t *testing.T) {
	known := exitStatuses(t)
	found := 0
	for path, text := range manPages(t) {
		for _, match := range regexp.MustCompile(`(?i)\bstatus(?:\sis)?(?:\sthen)?\s(\d+)\b`).FindAllStringSubmatch(text, -1) {
			if found++; !slices.Contains(known, match[1]) {
				t.Errorf("%s: there is no exit status %s", path, match[1])
			}
		}
	}
	if found == 0 {
		t.Error("found no exit status at all")
	}
}

func TestManualPagesExplainEveryUnitAndNoOther(t *testing.T) {
	units := unitNames(t)
	explained := map[string]bool{}
	for path, text := range manPages(t) {
		for _, term := range definitions(text) {
			for name := range strings.SplitSeq(term, ", ") {
				explained[name] = true
			}
		}
		for _, name := range regexp.MustCompile(`\bsmtpban-[a-z-]+(?:@[\w.]*)?\.(?:service|timer)\b`).FindAllString(text, -1) {
			template := regexp.MustCompile(`@.*\.`).ReplaceAllString(name, "@.")
			if !slices.Contains(units, template) {
				t.Errorf("%s: there is no unit %s", path, name)
			}
		}
	}
	for _, unit := range units {
		if !explained[unit] {
			t.Errorf("no page explains %s", unit)
		}
	}
}

func TestManualPagesThatAreReferredToExist(t *testing.T) {
	// Every unit has a page of its name, see the Makefile.
	known := map[string]bool{}
	for path := range manPages(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".md")
		known[name[:strings.LastIndex(name, ".")]+"("+name[len(name)-1:]+")"] = true
	}
	for _, unit := range unitNames(t) {
		known[unit+"(8)"] = true
	}
	texts := manPages(t)
	texts[readme] = readText(t, readme)
	for _, unit := range unitNames(t) {
		path := "../../units/" + unit
		texts[path] = readText(t, path)
		if !strings.Contains(texts[path], "\nDocumentation=man:smtpban-block.service(8) man:smtpban(8)\n") {
			t.Errorf("%s does not name its page", path)
		}
	}
	for path, text := range texts {
		for _, name := range regexp.MustCompile(`\bsmtpban[\w.@-]*\([0-9]\)`).FindAllString(strings.ReplaceAll(text, "*", ""), -1) {
			if !known[name] {
				t.Errorf("%s: there is no page %s", path, name)
			}
		}
	}
}

func TestManualPageHasAnExampleOfEveryCommand(t *testing.T) {
	examples := strings.Join(codeBlock.FindAllString(section(t, "# EXAMPLES"), -1), "\n")
	for _, cmd := range completeRoot().Commands() {
		if !regexp.MustCompile(`\bsmtpban ` + cmd.Name() + `\b`).MatchString(examples) {
			t.Errorf("there is none of smtpban %s", cmd.Name())
		}
	}
}

// The pages are made as the Makefile does, and man(1) itself reads them.
func TestManualPagesRenderWithoutWarnings(t *testing.T) {
	if _, err := exec.LookPath("man"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("man is needed to judge the pages:", err)
		}
		t.Skip("SKIPPED: the pages were not judged, there is no man:", err)
	}
	place := t.TempDir()
	for path := range manPages(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".md")
		page := filepath.Join(place, name)
		if out, err := exec.Command("go", "tool", "github.com/cpuguy83/go-md2man/v2", "-in", path, "-out", page).CombinedOutput(); err != nil {
			t.Fatalf("go-md2man: %v\n%s", err, out)
		}
		var text, warnings bytes.Buffer
		cmd := exec.Command("man", "--warnings", "-E", "UTF-8", "-Tutf8", "-l", page)
		cmd.Env = append(os.Environ(), "MANWIDTH=80", "LC_ALL=C.UTF-8", "MAN_KEEP_FORMATTING=")
		cmd.Stdout, cmd.Stderr = &text, &warnings
		if err := cmd.Run(); err != nil || warnings.Len() > 0 {
			t.Errorf("man %s: %v\n%s", name, err, warnings.String())
		}
		source := codeBlock.ReplaceAllString(readText(t, path), "")
		seen := regexp.MustCompile(`.\x08`).ReplaceAllString(text.String(), "")
		if diff := cmp.Diff(headings(`(?m)^# (.*)$`, source), headings(`(?m)^(\S.*)$`, seen)); diff != "" {
			t.Errorf("the headings of %s (-source +man):\n%s", name, diff)
		}
	}
}

// headings returns what matches, but for the lines at the head and foot of a page.
func headings(pattern, text string) (all []string) {
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(match[1], "(") && !strings.Contains(match[1], `"`) {
			all = append(all, match[1])
		}
	}
	return all
}
