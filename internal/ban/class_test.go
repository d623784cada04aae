package ban

import (
	"strings"
	"testing"
)

func TestClassNamesGoThereAndBack(t *testing.T) {
	for _, c := range Offences() {
		if got, err := ParseClass(c.String()); err != nil || got != c {
			t.Errorf("ParseClass(%q) = %v, %v; want %d", c.String(), got, err, c)
		}
	}
}

func TestUnknownClass(t *testing.T) {
	_, err := ParseClass("sasl")
	if err == nil || !strings.HasPrefix(err.Error(), `unknown class "sasl"; known: sasl-auth, auth-unlogged, `) ||
		!strings.HasSuffix(err.Error(), ", postscreen-limit, hangup") {
		t.Errorf("got %v", err)
	}
	if got := Class(200).String(); got != "class-200" {
		t.Errorf("a class of a later version is printed as %q", got)
	}
}

func TestALoginIsNoOffence(t *testing.T) {
	if _, err := ParseClass("login"); err == nil || err.Error() != "a login is a success and never counts" {
		t.Errorf("got %v", err)
	}
}

func TestEveryClassHasItsOwnNumberAndName(t *testing.T) {
	numbers, names := map[Class]bool{}, map[string]bool{}
	for _, c := range Classes() {
		if c == 0 || c > 63 || numbers[c] || names[c.String()] { // 63: sessions keep sets of them in 64 bits
			t.Errorf("class %d, %v", c, c)
		}
		numbers[c], names[c.String()] = true, true
	}
}
