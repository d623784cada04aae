package store

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"
	"unicode/utf8"

	"smtpban/internal/ban"
)

// outward writes values as they are in JSON. The first one that has no such form
// is its err.
type outward struct{ err error }

// time writes it in RFC 3339, UTC, with microseconds.
func (o *outward) time(t time.Time) string {
	if !hasForm(t) && o.err == nil {
		o.err = fmt.Errorf("RFC 3339 can't express the year %d", t.UTC().Year())
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z")
}

// hasForm reports whether RFC 3339 can express the time.
func hasForm(t time.Time) bool { return t.UTC().Year() >= 0 && t.UTC().Year() <= 9999 }

// known is the time, null for the zero one.
func (o *outward) known(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := o.time(t)
	return &text
}

// end is the time at which something ends, null for ban.Forever.
func (o *outward) end(t time.Time) *string {
	if t.Equal(ban.Forever) {
		return nil
	}
	text := o.time(t)
	return &text
}

// rawText is text that is no UTF-8, as a string of JSON must be: a name was cut
// within a letter, or the log has another encoding.
type rawText struct {
	Base64 []byte `json:"base64"`
}

func showText(s string) any {
	if utf8.ValidString(s) {
		return s
	}
	return rawText{[]byte(s)}
}

// showClass is null for no class.
func showClass(c ban.Class) *string {
	if c == 0 {
		return nil
	}
	name := c.String()
	return &name
}

// showAddress is empty for none.
func showAddress(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// inward reads values as they are in JSON. Its err says which one is the first
// that is wrong, and why.
type inward struct{ err error }

func (in *inward) fail(field, format string, args ...any) {
	if in.err == nil {
		in.err = fmt.Errorf("%s: %w", field, fmt.Errorf(format, args...))
	}
}

// known reads a time that may be null.
func (in *inward) known(field string, text *string) time.Time {
	if text == nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, *text)
	if err != nil || !hasForm(t) {
		in.fail(field, "%q is no time in RFC 3339", *text)
	}
	if !t.Equal(t.Truncate(time.Microsecond)) {
		in.fail(field, "%q is finer than a microsecond", *text)
	}
	return t.UTC()
}

// time reads a time that must be there.
func (in *inward) time(field string, text *string) time.Time {
	t := in.known(field, text)
	if t.IsZero() {
		in.fail(field, "there must be a time")
	}
	return t
}

// end reads what outward.end wrote.
func (in *inward) end(field string, text *string) time.Time {
	if text == nil {
		return ban.Forever
	}
	return in.time(field, text)
}

// order makes sure that one time, if it is known, is not after another.
func (in *inward) order(earlier, later time.Time, what string) {
	if !earlier.IsZero() && !later.IsZero() && later.Before(earlier) && in.err == nil {
		in.err = fmt.Errorf("%s", what)
	}
}

func (in *inward) count(field string, n int) int {
	if n < 0 {
		in.fail(field, "%d is negative", n)
	}
	return n
}

func (in *inward) prefix(text string) netip.Prefix {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || p.Addr().Is4In6():
		in.fail("prefix", "%q is no prefix such as 203.0.113.9/32", text)
	case p != p.Masked():
		in.fail("prefix", "%s has host bits set; did you mean %s?", p, p.Masked())
	}
	return p
}

func (in *inward) address(field, text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		in.fail(field, "%q is no IP address", text)
	}
	return a
}

func (in *inward) class(field string, name *string) ban.Class {
	if name == nil {
		return 0
	}
	c, err := ban.ReadClass(*name)
	if err != nil {
		in.fail(field, "%w", err)
	}
	return c
}

// text reads what showText wrote.
func (in *inward) text(field string, value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case map[string]any:
		encoded, ok := v["base64"].(string)
		decoded, err := base64.StdEncoding.DecodeString(encoded)
		if ok && err == nil && len(v) == 1 {
			return string(decoded)
		}
	}
	in.fail(field, `want a string, or {"base64": "…"} for what is no UTF-8`)
	return ""
}

// boot reads 32 hexadecimal digits.
func (in *inward) boot(field, text string) (boot [16]byte) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(boot) {
		in.fail(field, "%q is no boot id: want 32 hexadecimal digits", text)
		return boot
	}
	return [16]byte(b)
}
