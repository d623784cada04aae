package foreign_test

import (
	"errors"
	"io"
	"iter"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"smtpban/internal/ban"
	"smtpban/internal/foreign"
)

var now = time.Date(2026, time.March, 1, 10, 0, 0, 0, time.UTC)

func options() foreign.Options {
	return foreign.Options{Now: now, Length: 24 * time.Hour, Local: time.UTC}
}

// reader is one of the readers, seen alike.
type reader func(io.Reader, foreign.Options) iter.Seq2[ban.Imported, error]

func readers() map[string]reader {
	return map[string]reader{
		"list": func(in io.Reader, o foreign.Options) iter.Seq2[ban.Imported, error] {
			return foreign.List(in, "file", o)
		},
		"dump": func(in io.Reader, o foreign.Options) iter.Seq2[ban.Imported, error] {
			return foreign.Dump(in, "file", o)
		},
		"fail2ban": func(in io.Reader, o foreign.Options) iter.Seq2[ban.Imported, error] {
			return func(yield func(ban.Imported, error) bool) {
				for b, err := range foreign.Fail2ban(in, "file", o) {
					if !yield(b.Imported, err) {
						return
					}
				}
			}
		},
	}
}

// read returns the bans of a text, and what is said of what is wrong in it.
func read(name, text string, o foreign.Options) (bans []ban.Imported, wrong []string) {
	for b, err := range readers()[name](strings.NewReader(text), o) {
		if err != nil {
			wrong = append(wrong, err.Error())
			continue
		}
		bans = append(bans, b)
	}
	return bans, wrong
}

// imported is a ban from hour to hour after now.
func imported(prefix string, start, until time.Duration) ban.Imported {
	return ban.Imported{Prefix: netip.MustParsePrefix(prefix), Start: now.Add(start * time.Hour), Until: now.Add(until * time.Hour)}
}

var exact = cmp.Options{cmpopts.EquateComparable(netip.Prefix{})}

func check(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, exact); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAListNamesAPrefixALineAndPerhapsItsEnd(t *testing.T) {
	forever := imported("198.51.100.0/24", 0, 0)
	forever.Until = ban.Forever
	bans, wrong := read("list", "\n# comment\n203.0.113.9\r\n\t198.51.100.0/24 \tinfinity ; network\n"+
		"::ffff:192.0.2.1 1h 30min\n2001:db8::5 2026-03-01 12:00 # till noon\n2001:db8::6 2026-03-01T09:00:00Z", options())
	half := imported("192.0.2.1/32", 0, 0)
	half.Until = now.Add(90 * time.Minute)
	check(t, []string(nil), wrong)
	check(t, []ban.Imported{
		imported("203.0.113.9/32", 0, 24), forever, half, imported("2001:db8::5/128", 0, 2), imported("2001:db8::6/128", 0, -1),
	}, bans)
}

func TestEachWrongLineOfAListIsToldAndTheOthersAreRead(t *testing.T) {
	long := strings.Repeat("x", 1000)
	bans, wrong := read("list", "no\n203.0.113.9 # "+long+"\n203.0.113.8/24\n10.0.0.0/15\n192.0.2.1 soon\nfe80::1%eth0\n"+long, options())
	check(t, []string{
		`file:1: "no" is no address and no prefix, such as "192.0.2.1" or "2001:db8::/32"`,
		`file:3: "203.0.113.8/24" has bits set beyond its prefix length; did you mean "203.0.113.0/24"?`,
		`file:4: 10.0.0.0/15 is too wide: the shortest prefix that may be banned is /16`,
		`file:5: "soon" is neither a time span such as "2w" nor a time such as "2026-03-01 08:00"`,
		`file:6: "fe80::1%eth0": an address without zone is wanted, such as "fe80::1"`,
		`file:7: it is too long for a prefix and a time`,
	}, wrong)
	check(t, []ban.Imported{imported("203.0.113.9/32", 0, 24)}, bans)
}

const header = "# GDBM dump file created by GDBM version 1.23. 04/02/2022 on Wed Mar  4 09:00:00 2026\n#:version=1.1\n# End of header\n"

// pair is 203.0.113.1 at 2026 Mar 02 08:00:00, its key in two lines.
const pair = "#:len=11\nMjAzLjAu\nMTEzLjE=\n#:len=20\nMjAyNiBNYXIgMDIgMDg6MDA6MDA=\n"

func TestADumpHasPairsOfBase64(t *testing.T) {
	bans, wrong := read("dump", header+pair+"#:count=1\n# End of data\n", options())
	check(t, []string(nil), wrong)
	check(t, []ban.Imported{imported("203.0.113.1/32", 22, 46)}, bans)
	bans, wrong = read("dump", header+"#:count=0\n# End of data\n", options())
	check(t, []string(nil), wrong)
	check(t, []ban.Imported(nil), bans)
}

func TestABrokenDumpIsToldWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                            `file: it is not what gdbm_dump prints, which begins with "# GDBM dump file"`,
		"\xce\x9a\x57\x13\x00":        "file: it is the database itself; print it as text first, by the program of Debian's package gdbmtool: gdbm_dump file - | smtpban import --from smtpban-py -",
		"\x13\x57\x9a\xcf\x00":        "file: it is the database itself; print it as text first, by the program of Debian's package gdbmtool: gdbm_dump file - | smtpban import --from smtpban-py -",
		header:                        "file: it is cut off: after 0 pairs the line #:count= is missing, which says how many there were",
		header + pair:                 "file: it is cut off: after 1 pairs the line #:count= is missing, which says how many there were",
		header + pair + "#:count=2\n": `file:9: "2" pairs were dumped, and 1 are here`,
		header + "#:len=11\nMjAz\n":   "file: it is cut off: after 0 pairs the line #:count= is missing, which says how many there were",
		header + "#:len=11\nMjAzLjAuMTEzLjE=\n#:count=0\n": "file:4: a key without a value",
		header + "#:len=11\n!!!!LjAuMTEzLjE=\n":            "file:5: it is not the base64 of 11 bytes",
		header + "#:len=10\nMjAzLjAuMTEzLjE=\n":            "file:5: it is not the base64 of 10 bytes",
		header + "#:len=-1\n":                              "file:4: \"-1\" is no length of up to 4096",
		header + "#:len=99999999999\n":                     "file:4: \"99999999999\" is no length of up to 4096",
		header + "MjAz\n":                                  "file:4: there must be #:len= before this",
		header + strings.Repeat("#", 1<<17):                "file:4: the line is too long",
	} {
		_, wrong := read("dump", text, options())
		if diff := cmp.Diff([]string{want}, wrong); diff != "" {
			t.Errorf("%.80q (-want +got):\n%s", text, diff)
		}
	}
}

func TestFail2bansBansComeWithTheirJails(t *testing.T) {
	var got []foreign.Jailed
	in := strings.NewReader(`[{"jail":"postfix","ip":"203.0.113.9","timeofban":1772359200,"bantime":7200},
{"jail":"sshd","ip":null,"timeofban":null,"bantime":null},
{"jail":"sasl","ip":"2001:db8::/64","timeofban":1772359200,"bantime":-1},
{"jail":"sasl","ip":"192.0.2.1","timeofban":1772359200,"bantime":-2},
{"jail":"sasl","ip":"192.0.2.2","timeofban":1772359200,"bantime":7200.734},
{"jail":"sasl","ip":"192.0.2.3","timeofban":1772359200,"bantime":6.8e19}]
`)
	for b, err := range foreign.Fail2ban(in, "file", options()) {
		if err != nil {
			t.Error(err)
		}
		got = append(got, b)
	}
	forever := imported("2001:db8::/64", 0, 0)
	forever.Until = ban.Forever
	random := imported("192.0.2.2/32", 0, 2) // with bantime.rndtime
	grown := imported("192.0.2.3/32", 0, 0)  // with bantime.increment and no maxtime
	grown.Until = ban.Forever
	check(t, []foreign.Jailed{
		{Jail: "postfix", Imported: imported("203.0.113.9/32", 0, 2)}, {Jail: "sshd"},
		{Jail: "sasl", Imported: forever}, {Jail: "sasl", Imported: imported("192.0.2.1/32", 0, 24)},
		{Jail: "sasl", Imported: random}, {Jail: "sasl", Imported: grown},
	}, got)
}

func TestWhatIsNoAnswerOfFail2bansDatabaseIsRefused(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                nil,
		"[]":                              nil,
		"{}":                              {"file: it is neither fail2ban's database nor what sqlite3 -json prints of it, a JSON array"},
		"SQLite format 3\x00":             {"file: it is a database, which can be read from a file only, not from a pipe"},
		`[{"name":"postfix"}]`:            {"file: row 1: there is no jail in it (is it the answer to another query?)"},
		`[{"jail":"a","ip":"1.2"}]`:       {`file: row 1: jail "a": "1.2" is no address and no prefix, such as "192.0.2.1" or "2001:db8::/32"`},
		`[{"jail":"a","ip":"192.0.2.1"}]`: {`file: row 1: jail "a": 192.0.2.1/32: timeofban is no time in seconds since 1970`},
		`[][{"jail":"a"}]`:                {"file: there is more after the end of the array"},
		`[] x`:                            {"file: there is more after the end of the array"},
		`[{"jail":"a","ip":"192.0.2.1","timeofban":1e19}]`: {`file: row 1: jail "a": 192.0.2.1/32: timeofban is no time in seconds since 1970`},
		`[{"jail":1}]`: {"file: row 1: json: cannot unmarshal number into Go struct field row.jail of type string"},
		`[`:            {"file: it is cut off: EOF"},
	} {
		_, wrong := read("fail2ban", text, options())
		if diff := cmp.Diff(want, wrong); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestAFileThatCanNotBeReadIsAnError(t *testing.T) {
	broken := errors.New("bad sector")
	for name, read := range readers() {
		var got error
		for _, err := range read(iotest.ErrReader(broken), options()) {
			got = err
		}
		if !errors.Is(got, broken) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzBansAreOnesThatMayBeMade(f *testing.F) {
	f.Add("203.0.113.9 2w\n198.51.100.0/24 2026-03-02\n")
	f.Add(header + pair + "#:count=1\n")
	f.Add(`[{"jail":"postfix","ip":"203.0.113.9","timeofban":1772359200,"bantime":-1},{"jail":"b","ip":null}]`)
	f.Fuzz(func(t *testing.T, text string) {
		for name := range readers() {
			bans, _ := read(name, text, options())
			for _, b := range bans {
				if b.Prefix.IsValid() && (ban.CheckPrefix(b.Prefix) != nil || b.Until.After(ban.Forever)) {
					t.Errorf("%s: %v", name, b)
				}
			}
		}
	})
}
