package store

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"smtpban/internal/ban"
)

// anyTime draws any time that can be kept, the zero one often.
var anyTime = rapid.OneOf(
	rapid.Just(time.Time{}),
	rapid.Just(ban.Forever),
	rapid.Map(rapid.Int64Range(time.Time{}.UnixMicro(), ban.Forever.UnixMicro()), func(µs int64) time.Time {
		return time.UnixMicro(µs).UTC()
	}),
)

var anyAddr = rapid.OneOf(
	rapid.Map(rapid.SliceOfN(rapid.Byte(), 4, 4), func(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b)) }),
	rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b)) }),
)

var anyPrefix = rapid.Custom(func(t *rapid.T) netip.Prefix {
	a := anyAddr.Draw(t, "address")
	return netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits"))
})

var anyHit = rapid.Custom(func(t *rapid.T) ban.Hit {
	return ban.Hit{Weight: rapid.IntRange(1, 1000).Draw(t, "weight"), Event: ban.Event{
		Time:       anyTime.Draw(t, "time"),
		Boot:       [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "boot")),
		Identifier: rapid.String().Draw(t, "identifier"),
		PID:        rapid.IntMin(0).Draw(t, "pid"),
		Service:    rapid.String().Draw(t, "service"),
		Class:      ban.Class(rapid.Uint8().Draw(t, "class")),
		Address:    rapid.OneOf(rapid.Just(netip.Addr{}), anyAddr).Draw(t, "address"),
		Name:       rapid.String().Draw(t, "name"),
		User:       rapid.String().Draw(t, "user"),
	}}
})

var anyHits = rapid.Map(rapid.SliceOfN(anyHit, 0, 9), orNil[ban.Hit])

// orNil makes an empty slice nil, as the decoder does.
func orNil[T any](s []T) []T { return append([]T(nil), s...) }

var anyClient = rapid.Custom(func(t *rapid.T) ban.Client {
	return ban.Client{
		Prefix: anyPrefix.Draw(t, "prefix"), Hits: anyHits.Draw(t, "hits"), Failures: rapid.IntMin(0).Draw(t, "failures"),
		First: anyTime.Draw(t, "first"), Last: anyTime.Draw(t, "last"), LastHit: anyTime.Draw(t, "last hit"), Until: anyTime.Draw(t, "until"),
		Ends: orNil(rapid.SliceOfN(anyTime, 0, 64).Draw(t, "ends")), Pardon: anyTime.Draw(t, "pardon"),
	}
})

var anyBan = rapid.Custom(func(t *rapid.T) ban.Ban {
	return ban.Ban{
		Prefix: anyPrefix.Draw(t, "prefix"), Class: ban.Class(rapid.Uint8().Draw(t, "class")),
		Failures: rapid.IntMin(0).Draw(t, "failures"), Start: anyTime.Draw(t, "start"), Until: anyTime.Draw(t, "until"),
		Count: rapid.IntMin(0).Draw(t, "count"), Origin: rapid.String().Draw(t, "origin"), Reason: rapid.String().Draw(t, "reason"),
		Held: rapid.Bool().Draw(t, "held"),
	}
})

var anyCount = rapid.IntRange(0, 1<<40)

var anyOutage = rapid.Custom(func(t *rapid.T) ban.Outage {
	o := ban.Outage{
		Since: anyTime.Draw(t, "since"), Fault: anyTime.Draw(t, "fault"), Recognised: rapid.Bool().Draw(t, "recognised"),
		Confirmed: rapid.Bool().Draw(t, "confirmed"), Held: rapid.Bool().Draw(t, "held"),
	}
	victims := rapid.MapOfN(anyPrefix, rapid.Custom(func(t *rapid.T) ban.Victim {
		return ban.Victim{Last: anyTime.Draw(t, "last"), Start: anyTime.Draw(t, "start"), Until: anyTime.Draw(t, "until")}
	}), 0, 9).Draw(t, "victims")
	if len(victims) > 0 { // an empty map is kept as none
		o.Victims = victims
	}
	return o
})

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyClient.Draw(t, "client")
		gotClient, err := decodeClient(clientKey(c.Prefix), encodeClient(c))
		if diff := cmp.Diff(c, gotClient, exact); err != nil || diff != "" {
			t.Error(err, diff)
		}
		b := anyBan.Draw(t, "ban")
		gotBan, err := decodeBan(prefixKey(b.Prefix), encodeBan(b))
		if diff := cmp.Diff(b, gotBan, exact); err != nil || diff != "" {
			t.Error(err, diff)
		}
		outage := anyOutage.Draw(t, "outage")
		gotOutage, err := decodeOutage(encodeOutage(outage))
		if diff := cmp.Diff(outage, gotOutage, exact); err != nil || diff != "" {
			t.Error(err, diff)
		}
		read := LastRead{anyTime.Draw(t, "read"), anyCount.Draw(t, "entries"), anyCount.Draw(t, "events"), anyCount.Draw(t, "new bans")}
		gotRead, err := decodeLastRead(encodeLastRead(read))
		if diff := cmp.Diff(read, gotRead, exact); err != nil || diff != "" {
			t.Error(err, diff)
		}
		hits := anyHits.Draw(t, "hits")
		e := newEncoder()
		e.hits(hits)
		d := newDecoder(e.seal())
		gotHits := d.hits()
		if diff := cmp.Diff(hits, gotHits, exact); d.finish() != nil || diff != "" {
			t.Error(d.err, diff)
		}
	})
}

func TestKeysAreOrderedAsThePrefixesAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyPrefix.Draw(t, "a"), anyPrefix.Draw(t, "b")
		if got, want := bytes.Compare(prefixKey(a), prefixKey(b)), ban.ComparePrefix(a, b); got != want {
			t.Errorf("keys of %v and %v compare %d, want %d", a, b, got, want)
		}
		if got, err := parsePrefixKey(prefixKey(a)); err != nil || got != a {
			t.Errorf("%v read back as %v, %v", a, got, err)
		}
	})
}

func TestKeysOfBansAreOrderedByPrefixOurOwnFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		origin := rapid.SampledFrom([]string{ban.OriginJournal, ban.OriginManual, ban.OriginImport + "a", ban.OriginImport + "b"})
		a := ban.Ban{Prefix: anyPrefix.Draw(t, "a"), Origin: origin.Draw(t, "origin of a")}
		b := ban.Ban{Prefix: anyPrefix.Draw(t, "b"), Origin: origin.Draw(t, "origin of b")}
		want := ban.ComparePrefix(a.Prefix, b.Prefix)
		if want == 0 {
			want = strings.Compare(a.Source(), b.Source())
		}
		if got := bytes.Compare(banKey(a), banKey(b)); got != want {
			t.Errorf("keys of %v and %v compare %d, want %d", a, b, got, want)
		}
		if prefix, source, err := parseBanKey(banKey(a)); err != nil || prefix != a.Prefix || source != a.Source() {
			t.Errorf("%v read back as %v %q, %v", a, prefix, source, err)
		}
	})
}

func TestABanUnderTheKeyOfAnotherSourceIsDamaged(t *testing.T) {
	own, imported := sample().Bans[2], sample().Bans[3]
	for _, tc := range [][2]ban.Ban{{own, imported}, {imported, own}} {
		if _, err := decodeBan(banKey(tc[0]), encodeBan(tc[1])); !errors.Is(err, errDamaged) {
			t.Errorf("%v under the key of %v: %v", tc[1], tc[0], err)
		}
	}
}

func TestWhatKeepsAPrefixOutIsOurOwnBanOrElseTheLongest(t *testing.T) {
	s := newStore(t)
	nine := netip.MustParsePrefix("192.0.2.9/32")
	update(t, s, func(tx *Tx) error {
		return errors.Join(
			tx.PutBan(ban.Ban{Prefix: nine, Until: at(3), Origin: ban.OriginManual}),
			tx.PutBan(ban.Ban{Prefix: nine, Until: at(9), Origin: ban.OriginImport + "a"}),
			tx.PutBan(ban.Ban{Prefix: nine, Until: at(5), Origin: ban.OriginImport + "b"}),
			tx.PutBan(ban.Ban{Prefix: netip.MustParsePrefix("192.0.2.10/32"), Until: at(99), Origin: ban.OriginManual}),
		)
	})
	for hour, want := range map[float64]string{2: ban.OriginManual, 3: ban.OriginImport + "a", 9: ""} {
		view(t, s, func(tx *Tx) error {
			b, ok, err := tx.InForce(nine, at(hour))
			if ok != (want != "") || b.Origin != want {
				t.Errorf("at %v: %v %v, want that of %q", hour, ok, b, want)
			}
			return err
		})
	}
}

// values are sealed samples of each kind of value.
func values() [][]byte {
	s := sample()
	at := newEncoder()
	at.time(s.Commit)
	return [][]byte{encodeLastRead(LastRead{At: s.Commit, Entries: 300, Events: 5, Bans: 1}), encodeClient(s.Clients[0]), encodeClient(s.Clients[1]), encodeBan(s.Bans[0]), encodeEnded(s.History[1]), encodeEvidence(s.Evidence[s.Bans[2].Prefix]), at.seal(),
		encodeHour(Hour{Classes: map[ban.Class]Count{ban.SASLAuth: {3, 2}, ban.DNSBL: {300, 0}}}),
		encodeTotals(Totals{Classes: map[ban.Class]Count{ban.SASLAuth: {3, 2}}, Bans: map[string]int{ban.OriginManual: 300}, Gaps: 1, Lost: 25004}),
		encodeShape(Shape{Count: 7, First: s.Commit, Last: s.Commit}),
		encodeOutage(ban.Outage{Since: s.Commit, Held: true, Victims: map[netip.Prefix]ban.Victim{s.Bans[1].Prefix: {Last: s.Commit}}})}
}

// decodeAll tries the value as each kind, and returns the errors of all.
func decodeAll(value []byte) []error {
	key := prefixKey(netip.MustParsePrefix("192.0.2.9/32"))
	_, client := decodeClient(append([]byte{ruleDefault}, key...), value)
	_, sentence := decodeBan(key, value)
	_, ended := decodeEnded(append(make([]byte, 8), key...), value)
	_, evidence := decodeEvidence(value)
	_, hour := decodeHour(make([]byte, 8), value)
	_, shape := decodeShape([]byte("="), value)
	_, outage := decodeOutage(value)
	_, totals := decodeTotals(value)
	_, reading := decodeLastRead(value)
	at := newDecoder(value)
	at.time()
	return []error{client, sentence, ended, evidence, hour, shape, outage, totals, reading, at.finish()}
}

func TestEveryFlippedBitAndEveryCutIsDamage(t *testing.T) {
	damaged := func(value []byte, what string, n int) {
		t.Helper()
		for _, err := range decodeAll(value) {
			if !errors.Is(err, errDamaged) {
				t.Fatalf("%s %d of %x: got %v", what, n, value, err)
			}
		}
	}
	for _, value := range values() {
		for bit := range len(value) * 8 {
			flipped := bytes.Clone(value)
			flipped[bit/8] ^= 1 << (bit % 8)
			damaged(flipped, "bit", bit)
		}
		for n := range value {
			damaged(value[:n], "first", n)
		}
		damaged(append(bytes.Clone(value), 0), "longer by", 1)
	}
}

func TestFieldsLeftOverAreDamage(t *testing.T) {
	prefix := netip.MustParsePrefix("192.0.2.9/32")
	longer := func(value []byte) []byte { return append(encoder(value[:len(value)-4]), 0).seal() }
	if _, err := decodeClient(clientKey(prefix), longer(encodeClient(sample().Clients[0]))); !errors.Is(err, errDamaged) {
		t.Errorf("client: got %v", err)
	}
	if _, err := decodeBan(prefixKey(prefix), longer(encodeBan(sample().Bans[0]))); !errors.Is(err, errDamaged) {
		t.Errorf("ban: got %v", err)
	}
}

func TestAValueOfALaterVersionIsNotTakenForDamage(t *testing.T) {
	value := encoder{valueVersion + 1, 7}.seal()
	for _, err := range decodeAll(value) {
		if err == nil || errors.Is(err, errDamaged) {
			t.Errorf("got %v", err)
		}
	}
}

// FuzzDecode reads any fields: a value whose checksum is right, but which no
// encoder wrote. Whatever they are, what was decoded survives a rewrite.
func FuzzDecode(f *testing.F) {
	prefix := netip.MustParsePrefix("2001:db8::/64")
	f.Fuzz(func(t *testing.T, fields []byte) {
		decodeAll(fields)
		value := append(newEncoder(), fields...).seal()
		decodeAll(value)
		if c, err := decodeClient(clientKey(prefix), value); err == nil {
			again, err := decodeClient(clientKey(prefix), encodeClient(c))
			if diff := cmp.Diff(c, again, exact); err != nil || diff != "" {
				t.Error(err, diff)
			}
		}
		if b, err := decodeBan(prefixKey(prefix), value); err == nil {
			again, err := decodeBan(prefixKey(prefix), encodeBan(b))
			if err != nil || b != again {
				t.Errorf("%v became %v, %v", b, again, err)
			}
		}
		if o, err := decodeOutage(value); err == nil {
			again, err := decodeOutage(encodeOutage(o))
			if diff := cmp.Diff(o, again, exact); err != nil || diff != "" {
				t.Error(err, diff)
			}
		}
	})
}

// FuzzKey reads any bytes as a prefix.
func FuzzKey(f *testing.F) {
	f.Fuzz(func(t *testing.T, key []byte) {
		if p, err := parsePrefixKey(key); err == nil && !bytes.Equal(prefixKey(p), key) {
			t.Errorf("%x read as %v, written as %x", key, p, prefixKey(p))
		}
	})
}

// The names are not in a file of schema 1 as it was first written.
func TestEvidenceKeepsTheNamesOfOtherOffenders(t *testing.T) {
	a, b := netip.MustParseAddr("2001:db8::a"), netip.MustParseAddr("2001:db8::b")
	for _, want := range [][]ban.Offender{
		{{Address: a}, {Address: b, Name: "mail.example.org"}},
		{{Address: a, Name: "mail.example.org"}, {Address: b}},
	} {
		value := encodeEvidence(ban.Evidence{Others: want})
		got, err := decodeEvidence(value)
		if diff := cmp.Diff(ban.Evidence{Others: want}, got, exact); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		e := encoder(value[:len(value)-5]) // without the checksum and the last byte
		if _, err := decodeEvidence(e.seal()); !errors.Is(err, errDamaged) {
			t.Errorf("a name cut short: %v, want it damaged", err)
		}
	}
}
