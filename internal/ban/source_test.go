package ban

import (
	"strings"
	"testing"
)

func TestSetsOfImportedBansHaveNamesThatFitEverywhere(t *testing.T) {
	for name, fits := range map[string]bool{
		"blocklist": true, "mx2.example_A-1": true, "7": true, strings.Repeat("a", 32): true,
		"": false, strings.Repeat("a", 33): false, "-a": false, ".a": false, "_a": false, "a b": false, "a:b": false, "a/b": false, "ä": false, "a\n": false, "a\x00": false,
	} {
		if err := CheckSource(name); (err == nil) != fits {
			t.Errorf("%q: %v", name, err)
		}
	}
}
