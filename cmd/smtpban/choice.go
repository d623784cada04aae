package main

import (
	"fmt"
	"slices"
	"strings"
)

// choice is a flag's value, which is one of a few words. The first is the default.
type choice struct {
	value *string
	words []string
}

func (c *choice) String() string {
	if *c.value == "" {
		return c.words[0]
	}
	return *c.value
}

func (c *choice) Set(word string) error {
	if !slices.Contains(c.words, word) {
		return fmt.Errorf("known: %s", strings.Join(c.words, ", "))
	}
	*c.value = word
	return nil
}

func (*choice) Type() string { return "string" }
