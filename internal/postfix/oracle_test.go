package postfix

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

// The oracle knows where a client may stand, and nothing else about a line. It
// shares no code with the parser.
var (
	fixedWords = regexp.MustCompile(`^(?:(?:NOQUEUE|[0-9A-Za-z]{5,32}): )?[A-Za-z_<>:= ()0-9.-]*?` +
		`(?:[A-Za-z0-9._-]+)?\[([0-9A-Fa-f.:]+)\]`)
	bareAddress = regexp.MustCompile(`^warning: (?:([0-9A-Fa-f.:]+): (?:hostname [A-Za-z0-9._-]+ verification failed: |address not listed for hostname )` +
		`|hostname [A-Za-z0-9._-]+ does not resolve to address ([0-9A-Fa-f.:]+?)(?:: |$| ))`)
)

// checkAddress fails the test unless the address stands between the first
// brackets of the message, and before them only a host name and words of
// Postfix's; or, in the lines about host names, bare after such words.
func checkAddress(t testing.TB, identifier, message string, got netip.Addr) {
	t.Helper()
	if !strings.HasSuffix(identifier, "/smtpd") && !strings.HasSuffix(identifier, "/postscreen") && !strings.HasSuffix(identifier, "/cleanup") {
		t.Errorf("read a line of %q", identifier)
	}
	var literal string
	if m := bareAddress.FindStringSubmatch(message); m != nil {
		literal = m[1] + m[2]
	} else if m := fixedWords.FindStringSubmatch(message); m != nil && strings.Count(m[0], "[") == 1 {
		literal = m[1]
	}
	want, err := netip.ParseAddr(literal)
	if err != nil || want.Unmap() != got || want.Zone() != "" {
		t.Errorf("%q: read address %v, the only one that may be is %q", message, got, literal)
	}
}
