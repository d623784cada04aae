package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"
)

// escapeSequence is what gives colours.
var escapeSequence = regexp.MustCompile("\x1b\\[[0-9;]*m")

// terminal runs a program on a terminal, which is so many columns wide. It fails if
// one of the lines is wider.
func terminal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: terminal COLUMNS PROGRAM ARG...")
	}
	columns, err := strconv.Atoi(args[0])
	ts.Check(err)
	command := fmt.Sprintf("stty cols %d; exec", columns)
	for _, arg := range args[1:] {
		command += " '" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	if err := ts.Exec("script", "-qec", command, "/dev/null"); err != nil {
		ts.Logf("it ended with %v", err) // as those do that have something to tell
	}
	text := escapeSequence.ReplaceAllString(ts.ReadFile("stdout"), "")
	lines := strings.Split(strings.ReplaceAll(text, "\r", ""), "\n")
	if len(lines) < 2 {
		ts.Fatalf("it printed nothing")
	}
	for _, line := range lines {
		if utf8.RuneCountInString(line) > columns {
			ts.Fatalf("wider than %d columns:\n%s", columns, line)
		}
	}
}
