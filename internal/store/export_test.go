package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"smtpban/internal/ban"
)

// full puts something of every kind, odd values among them.
func full(tx *Tx) error {
	odd := hit(at(3))
	odd.User, odd.Name, odd.Class = "caf\xc3", "<\u202e>\x1b[31m", 250 // a letter cut, what steers a terminal, a class of a later version
	login := hit(at(2))
	login.Class = ban.Login
	return errors.Join(
		sample().put(tx),
		tx.PutDoubt(at(-9)), tx.PutLastRead(LastRead{at(4), 1 << 20, 12, 3}),
		tx.PutClient(ban.Client{Prefix: netip.MustParsePrefix("203.0.113.9/32"), Hits: []ban.Hit{odd, login}, First: at(2), Last: at(3)}, at(40)),
		tx.PutSession(Session{[]byte{0, 0xff}, []byte("open\x00")}), tx.PutSession(Session{[]byte{1}, []byte{}}),
		tx.AddHour(Hour{at(1), map[ban.Class]Count{ban.SASLAuth: {7, 5}, 250: {1, 0}, ban.Login: {3, 0}}}),
		tx.AddUsers(at(1), []string{"info", "caf\xc3", "<\u202e>\x1b[31m", "info"}),
		tx.AddShape(Shape{"smtpd: \xff N", 3, at(1), at(2)}), tx.AddShape(Shape{"", 9, at(-1), at(2)}),
		tx.AddTotals(Totals{Classes: map[ban.Class]Count{ban.SASLAuth: {7, 5}, 250: {1, 0}}, Bans: map[string]int{ban.OriginJournal: 3, "\xff": 1}, Gaps: 2, Lost: 25004}),
		tx.AddGap(Gap{From: at(1), To: at(2), Lost: 25004, Reason: "suppressed", Noticed: at(3)}), tx.AddGap(Gap{Reason: "damaged", Noticed: at(4)}),
	)
}

// exported returns the export of a store.
func exported(t testing.TB, s *Store) []byte {
	t.Helper()
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	view(t, s, func(tx *Tx) error {
		for line, err := range tx.Export("1.0", at(100)) {
			if err != nil {
				return err
			}
			if err := e.Encode(line); err != nil {
				return err
			}
		}
		return nil
	})
	return out.Bytes()
}

// imported returns a store that was filled from an export.
func imported(t testing.TB, export []byte) *Store {
	t.Helper()
	s := newStore(t)
	if err := importInto(s, export, false); err != nil {
		t.Fatal(err)
	}
	return s
}

func importInto(s *Store, export []byte, replace bool) error {
	_, err := s.Fill(replace, func(add func(Record) error) error {
		_, err := ReadExport(bytes.NewReader(export), "export", add)
		return err
	})
	return err
}

func TestAnExportBringsEveryPairOfTheStateThrough(t *testing.T) {
	from := newStore(t)
	update(t, from, full)
	want, err := everything(from)
	if err != nil {
		t.Fatal(err)
	}
	export := exported(t, from)
	to := imported(t, export)
	got, err := everything(to)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff(string(export), string(exported(t, to))); diff != "" {
		t.Errorf("a second export (-want +got):\n%s", diff)
	}
	// That was all only if there was something of each kind, in each bucket.
	found := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^\{"record":"([a-z]+)"`).FindAllSubmatch(export, -1) {
		found[string(match[1])] = true
	}
	missing := map[string]bool{}
	for _, kind := range kinds() {
		missing[kind.name] = true
	}
	if diff := cmp.Diff(missing, found); diff != "" {
		t.Errorf("not tried (-kinds +tried):\n%s", diff)
	}
}

func TestAnExportOfAMissingOrEmptyStateHasNoRecord(t *testing.T) {
	fresh := newStore(t)
	update(t, fresh, nothing)
	for _, s := range []*Store{newStore(t), fresh} {
		got := string(exported(t, s))
		const want = `{"smtpban":"export","schema":2,"version":"1.0","exported":"2026-03-05T04:00:00.000000Z"}
{"smtpban":"end","records":0}
`
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		imported(t, []byte(got))
	}
}

func TestNothingOfAStateIsLeftOutOfItsExport(t *testing.T) {
	for name, put := range map[string]func(*bolt.Tx) error{
		"exporting key 78 of new: this version does not know what it is": func(tx *bolt.Tx) error {
			b, err := tx.CreateBucket([]byte("new"))
			return errors.Join(err, b.Put([]byte("x"), nil))
		},
		"exporting key 78 of meta: this version does not know what it is": func(tx *bolt.Tx) error {
			return tx.Bucket(bucketMeta).Put([]byte("x"), nil)
		},
		"exporting enforced: RFC 3339 can't express the year -1": func(tx *bolt.Tx) error {
			early := Enforced{Since: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)}
			return tx.Bucket(bucketEnforced).Put(prefixKey(netip.MustParsePrefix("192.0.2.9/32")), encodeEnforced(early))
		},
		"exporting bans: ban of 192.0.2.9/32: damaged value": func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(bucketBans)
			return errors.Join(err, b.Put(prefixKey(netip.MustParsePrefix("192.0.2.9/32")), []byte("x")))
		},
	} {
		s := newStore(t)
		update(t, s, full)
		err := inFile(t, s, func(tx *bolt.Tx) error { return errors.Join(put(tx), putDigest(tx, digest(tx))) })
		if err != nil {
			t.Fatal(err)
		}
		err = s.View(func(tx *Tx) (failed error) {
			for _, failed = range tx.Export("1.0", at(100)) {
			}
			return failed
		})
		if want := fmt.Sprintf("reading state %s: %s", s.path, name); fmt.Sprint(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestAnyClientAndBanComesThroughAnExport(t *testing.T) {
	// What no run ever writes is refused: host bits, times that are missing or
	// the wrong way round.
	rapid.Check(t, func(r *rapid.T) {
		c, b := anyClient.Draw(r, "client"), anyBan.Draw(r, "ban")
		c.Prefix, b.Prefix = c.Prefix.Masked(), b.Prefix.Masked()
		if c.Prefix.Addr().Is4In6() || b.Prefix.Addr().Is4In6() {
			r.Skip("written as IPv4")
		}
		ended := func(t time.Time) bool { return t.IsZero() }
		c.Ends = orNil(slices.DeleteFunc(c.Ends, ended))
		c.Hits = orNil(slices.DeleteFunc(c.Hits, func(h ban.Hit) bool { return h.Time.IsZero() || h.Address.Is4In6() }))
		if c.Last.Before(c.First) {
			c.First, c.Last = c.Last, c.First
		}
		if b.Until.Before(b.Start) {
			b.Start, b.Until = b.Until, b.Start
		}
		if b.Start.IsZero() {
			b.Start, b.Until = at(1), ban.Forever
		}
		for _, want := range []pair{
			{bucketClients, clientKey(c.Prefix), encodeClient(c)}, {bucketBans, prefixKey(b.Prefix), encodeBan(b)},
		} {
			if diff := cmp.Diff(want, through(r, want), cmp.AllowUnexported(pair{})); diff != "" {
				r.Error(diff)
			}
		}
	})
}

// through writes a pair as JSON and reads it back.
func through(t interface{ Fatal(...any) }, p pair) pair {
	shown, err := show(kinds(), p.bucket, p.key, p.value)
	if err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(shown)
	if err != nil {
		t.Fatal(err)
	}
	var is struct{ Record string }
	if err := json.Unmarshal(line, &is); err != nil {
		t.Fatal(err)
	}
	record, err := readRecord(kinds(), is.Record, line)
	if err != nil {
		t.Fatal(string(line), err)
	}
	return record.pair
}

const (
	header = `{"smtpban":"export","schema":2,"version":"1.0","exported":"2026-03-05T04:00:00.000000Z"}` + "\n"
	pardon = `{"record":"pardon","prefix":"192.0.2.0/24","until":"2026-03-01T00:00:00Z"}` + "\n"
	last   = `{"smtpban":"end","records":1}` + "\n"
)

func TestAnImportSaysWhatIsWrongWhereAndChangesNothing(t *testing.T) {
	const sentence = `"prefix":"192.0.2.9/32","class":null,"failures":1,"start":"2026-03-01T00:00:00Z","until":null,"count":1,"origin":"manual","reason":""`
	record := func(kind, rest string) string { return header + `{"record":"` + kind + `",` + rest + "}\n" + last }
	sentenced := func(old, new string) string { return record("ban", strings.Replace(sentence, old, new, 1)) }
	client := func(rest string) string { return record("client", `"prefix":"192.0.2.9/32",`+rest) }
	const hitTime = `{"time":"2026-03-01T00:00:00Z","boot":"00000000000000000000000000000000"`
	for _, tc := range []struct{ text, want string }{
		{"", "export: it is empty"},
		{"\n", `export:1: it is no export of smtpban, which begins with {"smtpban":"export",`},
		{pardon, `export:1: it is no export of smtpban, which begins with {"smtpban":"export",`},
		{strings.Replace(header, "2,", "3,", 1) + pardon + last, "export:1: schema 3, this version knows up to 2: written by a newer version of smtpban"},
		{strings.Replace(header, "2,", "0,", 1) + pardon + last, "export:1: schema 0, and the first one is 1"},
		{strings.Replace(header, "{", `{"x":1,`, 1) + pardon + last, `export:1: unknown field "x"`},
		{header, "export:1: it is cut off: after 0 records the last line is missing, which says how many there were"},
		{header + pardon, "export:2: it is cut off: after 1 records the last line is missing, which says how many there were"},
		{header + pardon[:20], "export:2: it is cut off: after 0 records the last line is missing, which says how many there were"},
		{header + pardon + last[:20], "export:3: it is cut off: after 1 records the last line is missing, which says how many there were"},
		{header + last, "export:2: 1 records were exported, and 0 are here"},
		{header + pardon + last + "\n", "export:4: the export ends before this line"},
		{header + pardon[:20] + "\n" + last, "export:2: it is no record: invalid character '\\n' in string literal"},
		{header + pardon + pardon, "export:3: pardon: this record was there before"},
		{header + "\n" + pardon + last, "export:2: it is no record: unexpected end of JSON input"},
		{header + "[]\n", "export:2: it is no record: json: cannot unmarshal array into Go value of type struct { Smtpban string; Record string }"},
		{header + header, `export:2: "" is no kind of record that this version knows`},
		{record("herring", `"x":1`), `export:2: "herring" is no kind of record that this version knows`},
		{record("pardon", `"prefix":"192.0.2.0/24","until":null,"why":""`), `export:2: pardon: unknown field "why"`},
		{record("pardon", `"prefix":"192.0.2.0/24","until":null`), "export:2: pardon: until: there must be a time"},
		{record("pardon", `"prefix":"192.0.2.0/24","until":5`), "export:2: pardon: until: there must be no number"},
		{record("commit", `"time":"9999-12-31T23:59:59-01:00"`), `export:2: commit: time: "9999-12-31T23:59:59-01:00" is no time in RFC 3339`},
		{record("enforced", `"prefix":"192.0.2.9/24"`), "export:2: enforced: prefix: 192.0.2.9/24 has host bits set; did you mean 192.0.2.0/24?"},
		{record("enforced", `"prefix":"192.0.2.9"`), `export:2: enforced: prefix: "192.0.2.9" is no prefix such as 203.0.113.9/32`},
		{record("enforced", `"prefix":"::ffff:192.0.2.9/128"`), `export:2: enforced: prefix: "::ffff:192.0.2.9/128" is no prefix such as 203.0.113.9/32`},
		{record("enforced", `"prefix":"fe80::1%lo/128"`), `export:2: enforced: prefix: "fe80::1%lo/128" is no prefix such as 203.0.113.9/32`},
		{record("enforced", `"prefix":"192.0.2.9/32","since":"2026-03-02T00:00:00Z","late":"2026-03-01T00:00:00Z"`), "export:2: enforced: the late failure is earlier than the route"},
		{record("commit", `"time":"yesterday"`), `export:2: commit: time: "yesterday" is no time in RFC 3339`},
		{record("commit", `"time":"2026-03-01T00:00:00.1234567Z"`), `export:2: commit: time: "2026-03-01T00:00:00.1234567Z" is finer than a microsecond`},
		{record("ban", sentence) + pardon, "export:4: the export ends before this line"},
		{sentenced(`"failures":1`, `"failures":-1`), "export:2: ban: failures: -1 is negative"},
		{sentenced(`"failures":1`, `"failures":1.5`), "export:2: ban: failures: there must be no number 1.5"},
		{sentenced(`"count":1`, `"count":-1`), "export:2: ban: count: -1 is negative"},
		{sentenced(`"class":null`, `"class":"herring"`), `export:2: ban: class: unknown class "herring"`},
		{sentenced(`"class":null`, `"class":"class-256"`), `export:2: ban: class: unknown class "class-256"`},
		{sentenced(`"until":null`, `"until":"2026-02-28T00:00:00Z"`), "export:2: ban: it ends before it starts"},
		{sentenced(`"start":"2026-03-01T00:00:00Z"`, `"start":null`), "export:2: ban: start: there must be a time"},
		{sentenced(`"reason":""`, `"reason":{"base64":"!"}`), `export:2: ban: reason: want a string, or {"base64": "…"} for what is no UTF-8`},
		{sentenced(`"reason":""`, `"reason":"a"} {"b":1`), "export:2: it is no record: invalid character '{' after top-level value"},
		{record("ended", sentence+`,"at":"1969-12-31T23:59:59Z","how":"expired"`), "export:2: ended: at: no ban ended before 1970"},
		{client(`"first":"2026-03-02T00:00:00Z","last":"2026-03-01T00:00:00Z"`), "export:2: client: its last failure is earlier than its first"},
		{client(`"failures":-3`), "export:2: client: failures: -3 is negative"},
		{client(`"rule":256`), "export:2: client: rule: there must be no number 256"},
		{client(`"ends":[null]`), "export:2: client: ends: there must be a time"},
		{client(`"hits":[` + hitTime + `,"pid":-1}]`), "export:2: client: hits.pid: -1 is negative"},
		{client(`"hits":[` + hitTime + `,"weight":-1}]`), "export:2: client: hits.weight: -1 is negative"},
		{client(`"hits":[` + hitTime + `,"address":"192.0.2.300"}]`), `export:2: client: hits.address: "192.0.2.300" is no IP address`},
		{client(`"hits":[{"time":"2026-03-01T00:00:00Z","boot":"07"}]`), `export:2: client: hits.boot: "07" is no boot id: want 32 hexadecimal digits`},
		{record("due", `"prefix":"192.0.2.9/32","hour":"2026-03-01T00:30:00Z"`), "export:2: due: hour: 2026-03-01T00:30:00Z is not the beginning of an hour since 1970"},
		{record("hour", `"start":"2026-03-01T00:00:00Z","classes":[{"class":"login","events":1,"counted":2}]`), "export:2: hour: classes.counted: 2 is more than the 1 events"},
		{record("hour", `"start":"2026-03-01T00:00:00Z","classes":[{"class":"login"},{"class":"login"}]`), `export:2: hour: classes.class: "login" is there twice`},
		{record("totals", `"classes":[{"class":"login"},{"class":"login"}]`), `export:2: totals: classes.class: "login" is there twice`},
		{record("totals", `"bans":[{"origin":"manual","bans":-1}]`), "export:2: totals: bans.bans: -1 is negative"},
		{record("totals", `"bans":[{"origin":"manual"},{"origin":"manual"}]`), `export:2: totals: bans.origin: "manual" is there twice`},
		{record("totals", `"gaps":-1`), "export:2: totals: gaps: -1 is negative"},
		{record("user", `"hour":"2026-03-01T00:00:00Z","name":""`), "export:2: user: name: it is empty"},
		{record("user", `"hour":"2026-03-01T00:00:00Z","name":"x","attempts":1,"others":2`), "export:2: user: others: 2 is more than the 1 attempts"},
		{record("shape", `"shape":"","first":"2026-03-02T00:00:00Z","last":"2026-03-01T00:00:00Z"`), "export:2: shape: its last line is earlier than its first"},
		{record("gap", `"number":0,"noticed":"2026-03-01T00:00:00Z"`), "export:2: gap: number: 0 is not between 1 and 9007199254740992"},
		{record("gap", `"number":1,"noticed":"2026-03-01T00:00:00Z","lost":-1`), "export:2: gap: lost: -1 is negative"},
		{record("gap", `"number":1,"noticed":"2026-03-01T00:00:00Z","from":"2026-03-02T00:00:00Z","to":"2026-03-01T00:00:00Z"`), "export:2: gap: it ends before it starts"},
		{record("ignore", `"prefix":"192.0.2.9/32","until":null`), "export:2: ignore: added: there must be a time"},
		{record("ignore", `"prefix":"192.0.2.9/32","added":"2026-03-02T00:00:00Z","until":"2026-03-01T00:00:00Z"`), "export:2: ignore: it ends before it was added"},
		{record("session", `"key":""`), "export:2: session: key: it is empty"},
		{record("session", `"key":"!"`), "export:2: session: illegal base64 data at input byte 0"},
		{record("setting", `"name":"","value":""`), "export:2: setting: name: it is empty"},
		{record("position", `"boot":"01","value":""`), `export:2: position: boot: "01" is no boot id: want 32 hexadecimal digits`},
	} {
		s := newStore(t)
		if err := importInto(s, []byte(tc.text), false); fmt.Sprint(err) != tc.want {
			t.Errorf("%s\n got %v\nwant %s", tc.text, err, tc.want)
		}
		if got := files(t, s); got != nil {
			t.Errorf("%s: there is now %v", tc.want, got)
		}
	}
}

func TestAnExportOfSchema1IsTaken(t *testing.T) {
	s := imported(t, []byte(strings.Replace(header, `"schema":2`, `"schema":1`, 1)+pardon+last))
	want := empty
	want.Pardons = []Pardon{{netip.MustParsePrefix("192.0.2.0/24"), at(0)}}
	if diff := cmp.Diff(want, load(t, s), exact); diff != "" {
		t.Error(diff)
	}
}

func TestALineOfAnImportThatHasNoEndIsRefused(t *testing.T) {
	text := strings.NewReader(header + strings.Repeat(" ", maxLine+1<<17))
	_, err := ReadExport(text, "export", nil)
	if want := "export:2: the line is too long"; fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAnImportReplacesNothingUnlessToldTo(t *testing.T) {
	s := snapshotted(t)
	before := readFile(t, s.path)
	export := []byte(header + pardon + last)
	if err := importInto(s, export, false); !errors.Is(err, ErrHolds) || !strings.Contains(err.Error(), s.path) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"smtpban.db", "smtpban.db.snapshot"}, files(t, s)); diff != "" {
		t.Error(diff)
	}
	if !bytes.Equal(before, readFile(t, s.path)) {
		t.Error("the state changed")
	}
	if err := importInto(s, export, true); err != nil {
		t.Fatal(err)
	}
	// The snapshot was one of another state.
	if diff := cmp.Diff([]string{"smtpban.db", "smtpban.db.replaced-1"}, files(t, s)); diff != "" {
		t.Error(diff)
	}
	want := empty
	want.Pardons = []Pardon{{netip.MustParsePrefix("192.0.2.0/24"), at(0)}}
	if diff := cmp.Diff(want, load(t, s), exact); diff != "" {
		t.Error(diff)
	}
	if !bytes.Equal(before, readFile(t, s.path+".replaced-1")) {
		t.Error("what was kept is not the earlier state")
	}
}

func TestAStateWithNothingButTheMachineIsNoObstacleToAnImport(t *testing.T) {
	s := newStore(t)
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.PutSetting("machine", []byte("{}")), tx.PutLastCommit(at(1)))
	})
	if err := importInto(s, []byte(header+pardon+last), false); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"smtpban.db"}, files(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestAnImportThatWasCutShortIsMadeAnew(t *testing.T) {
	from := newStore(t)
	update(t, from, full)
	s := newStore(t)
	writeFile(t, s.path+".imported", readFile(t, from.path))
	if err := importInto(s, []byte(header+pardon+last), false); err != nil {
		t.Fatal(err)
	}
	if got := string(exported(t, s)); got != strings.ReplaceAll(header+pardon+last, "00:00:00Z", "00:00:00.000000Z") {
		t.Errorf("got %s", got)
	}
}

func TestAnImportOfRootsBelongsToTheOwnerOfTheDirectory(t *testing.T) {
	s := rootsStore(t)
	if err := importInto(s, []byte(header+pardon+last), false); err != nil {
		t.Fatal(err)
	}
	want := map[string][3]uint32{"smtpban.db": {nobody, nobody, 0o600}}
	if diff := cmp.Diff(want, owners(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestAGapAfterAnImportComesAfterTheImportedOnes(t *testing.T) {
	from := newStore(t)
	update(t, from, full)
	s := imported(t, exported(t, from))
	want := append(all(t, s, (*Tx).Gaps), Gap{Reason: "new", Noticed: at(9)})
	update(t, s, func(tx *Tx) error { return tx.AddGap(want[2]) })
	if diff := cmp.Diff(want, all(t, s, (*Tx).Gaps)); diff != "" {
		t.Error(diff)
	}
}

func TestAStateOfMoreThanOneTransactionComesThroughAnExport(t *testing.T) {
	from := newStore(t)
	update(t, from, func(tx *Tx) error {
		for i := range 40_000 { // their records are larger than maxFill
			if err := tx.PutClient(nthClient(i), at(float64(i%100))); err != nil {
				return err
			}
		}
		return nil
	})
	want, err := everything(from)
	if err != nil {
		t.Fatal(err)
	}
	got, err := everything(imported(t, exported(t, from)))
	if err != nil || !slices.Equal(want, got) {
		t.Errorf("%v; %d pairs became %d", err, len(want), len(got))
	}
}

// FuzzImport reads anything as an export. What is accepted is written again as
// it was read, into the same pairs.
func FuzzImport(f *testing.F) {
	from := New(filepath.Join(f.TempDir(), "smtpban.db"))
	update(f, from, full)
	f.Add(exported(f, from))
	seen := map[string]bool{}
	for line := range bytes.Lines(exported(f, from)) {
		kind, _, _ := strings.Cut(string(line), ",")
		if !seen[kind] && strings.HasPrefix(kind, `{"record"`) {
			f.Add([]byte(header + string(line) + last))
		}
		seen[kind] = true
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		n := 0
		found, err := ReadExport(bytes.NewReader(text), "export", func(r Record) error {
			n++
			if diff := cmp.Diff(r.pair, through(t, r.pair), cmp.AllowUnexported(pair{})); diff != "" {
				t.Error(diff)
			}
			return nil
		})
		sum := 0
		for _, of := range found.Records {
			sum += of
		}
		if err == nil && sum != n {
			t.Errorf("%d records, and %v", n, maps.Collect(maps.All(found.Records)))
		}
	})
}

func BenchmarkExportAndImportOf100kOfEach(b *testing.B) {
	from := newStore(b)
	update(b, from, putManyBans)
	update(b, from, putManyClients)
	export := exported(b, from)
	b.Run("export", func(b *testing.B) {
		for b.Loop() {
			exported(b, from)
		}
	})
	b.Run("import", func(b *testing.B) {
		dir := b.TempDir()
		for b.Loop() {
			s := New(filepath.Join(dir, "smtpban.db"))
			if err := importInto(s, export, false); err != nil {
				b.Fatal(err)
			}
			if err := os.Remove(s.path); err != nil {
				b.Fatal(err)
			}
		}
	})
}
