package ban

import "testing"

func TestClassNamesGoThereAndBack(t *testing.T) {
	for _, c := range Classes() {
		if got, err := ParseClass(c.String()); err != nil || got != c {
			t.Errorf("ParseClass(%q) = %v, %v; want %d", c.String(), got, err, c)
		}
	}
}

func TestUnknownClass(t *testing.T) {
	_, err := ParseClass("sasl")
	if err == nil || err.Error() != `unknown class "sasl"; known: sasl-auth, relay-denied` {
		t.Errorf("got %v", err)
	}
	if got := Class(200).String(); got != "class-200" {
		t.Errorf("a class of a later version is printed as %q", got)
	}
}
