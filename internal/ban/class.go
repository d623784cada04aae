package ban

import (
	"fmt"
	"strconv"
	"strings"
)

// Class is a kind of abuse. Its number is stored and never changes its meaning;
// a number that this version does not know is kept as it is.
type Class uint8

// The classes known to this version.
const (
	SASLAuth    Class = 1 // a password was refused
	RelayDenied Class = 2 // may be given a weight, but its lines are not read yet
)

// classNames lists every class in the order in which people should see them.
var classNames = []struct {
	class Class
	name  string
}{
	{SASLAuth, "sasl-auth"},
	{RelayDenied, "relay-denied"},
}

// Classes returns every known class.
func Classes() []Class {
	all := make([]Class, 0, len(classNames))
	for _, c := range classNames {
		all = append(all, c.class)
	}
	return all
}

// ParseClass finds a class by its name. The error lists the known ones.
func ParseClass(name string) (Class, error) {
	known := make([]string, 0, len(classNames))
	for _, c := range classNames {
		if c.name == name {
			return c.class, nil
		}
		known = append(known, c.name)
	}
	return 0, fmt.Errorf("unknown class %q; known: %s", name, strings.Join(known, ", "))
}

// String returns the class's name, "" for none.
func (c Class) String() string {
	if c == 0 {
		return ""
	}
	for _, k := range classNames {
		if k.class == c {
			return k.name
		}
	}
	return "class-" + strconv.Itoa(int(c))
}
