package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"smtpban/internal/ban"
)

// jsonTime is a record that is nothing but a time.
type jsonTime struct {
	Record string  `json:"record"`
	Time   *string `json:"time"`
}

func showTime(name string) func(key, value []byte) (any, error) {
	return func(_, value []byte) (any, error) {
		at, err := decodeTime(value)
		if err != nil {
			return nil, fmt.Errorf("time of last %s: %w", name, err)
		}
		var o outward
		text := o.time(at)
		return jsonTime{name, &text}, o.err
	}
}

func readTime(key []byte) func([]byte) (Record, error) {
	return read(func(j jsonTime, in *inward) Record {
		return Record{pair: pair{key: key, value: encodeTime(in.time("time", j.Time))}}
	})
}

type jsonPosition struct {
	Record string `json:"record"`
	Boot   string `json:"boot"`
	Value  []byte `json:"value"`
}

func showPosition(key, value []byte) (any, error) {
	position, err := opened(value)
	if err != nil || len(key) != 16 {
		return nil, fmt.Errorf("position in boot %x: %w", key, errDamaged)
	}
	return jsonPosition{KindPosition, hex.EncodeToString(key), position}, nil
}

func (j jsonPosition) record(in *inward) Record {
	boot := in.boot("boot", j.Boot)
	return opaque(boot[:], j.Value)
}

// opaque is a record of which others know what its bytes mean.
func opaque(key, value []byte) Record {
	return Record{Key: key, Value: value, pair: pair{key: key, value: sealed(value)}}
}

type jsonSession struct {
	Record string `json:"record"`
	Key    []byte `json:"key"`
	Value  []byte `json:"value"`
}

func showSession(key, value []byte) (any, error) {
	plain, err := opened(value)
	if err != nil {
		return nil, fmt.Errorf("session %x: %w", key, err)
	}
	return jsonSession{KindSession, bytes.Clone(key), plain}, nil
}

func (j jsonSession) record(in *inward) Record {
	if len(j.Key) == 0 {
		in.fail("key", "it is empty")
	}
	return opaque(j.Key, j.Value)
}

type jsonSetting struct {
	Record string `json:"record"`
	Name   any    `json:"name"`
	Value  []byte `json:"value"`
}

func showSetting(key, value []byte) (any, error) {
	plain, err := opened(value)
	if err != nil {
		return nil, fmt.Errorf("setting %q: %w", key, err)
	}
	return jsonSetting{KindSetting, showText(string(key)), plain}, nil
}

func (j jsonSetting) record(in *inward) Record {
	name := in.text("name", j.Name)
	if name == "" {
		in.fail("name", "it is empty")
	}
	return opaque([]byte(name), j.Value)
}

type jsonHour struct {
	Record  string      `json:"record"`
	Start   *string     `json:"start"`
	Classes []jsonCount `json:"classes"`
}

type jsonCount struct {
	Class   *string `json:"class"`
	Events  int     `json:"events"`
	Counted int     `json:"counted"`
}

func showHour(key, value []byte) (any, error) {
	h, err := decodeHour(key, value)
	if err != nil {
		return nil, err
	}
	var o outward
	start := o.time(h.Start)
	return jsonHour{"hour", &start, showCounts(h.Classes)}, o.err
}

func showCounts(counts map[ban.Class]Count) []jsonCount {
	shown := []jsonCount{}
	for _, class := range slices.Sorted(maps.Keys(counts)) {
		shown = append(shown, jsonCount{showClass(class), counts[class].Events, counts[class].Counted})
	}
	return shown
}

func (j jsonHour) record(in *inward) Record {
	h := Hour{Start: in.hour("start", j.Start), Classes: in.counts(j.Classes)}
	return Record{pair: pair{key: hourKey(h.Start), value: encodeHour(h)}}
}

func (in *inward) counts(shown []jsonCount) map[ban.Class]Count {
	counts := map[ban.Class]Count{}
	for _, x := range shown {
		class := in.class("classes.class", x.Class)
		if _, twice := counts[class]; twice {
			in.fail("classes.class", "%q is there twice", class)
		}
		n := Count{Events: in.count("classes.events", x.Events), Counted: in.count("classes.counted", x.Counted)}
		if n.Counted > n.Events {
			in.fail("classes.counted", "%d is more than the %d events", n.Counted, n.Events)
		}
		counts[class] = n
	}
	return counts
}

type jsonTotals struct {
	Record  string          `json:"record"`
	Classes []jsonCount     `json:"classes"`
	Bans    []jsonBansTotal `json:"bans"`
	Gaps    int             `json:"gaps"`
	Lost    int             `json:"lost"`
}

type jsonBansTotal struct {
	Origin any `json:"origin"`
	Bans   int `json:"bans"`
}

func showTotals(_, value []byte) (any, error) {
	x, err := decodeTotals(value)
	if err != nil {
		return nil, err
	}
	shown := jsonTotals{"totals", showCounts(x.Classes), []jsonBansTotal{}, x.Gaps, x.Lost}
	for _, origin := range slices.Sorted(maps.Keys(x.Bans)) {
		shown.Bans = append(shown.Bans, jsonBansTotal{showText(origin), x.Bans[origin]})
	}
	return shown, nil
}

func (j jsonTotals) record(in *inward) Record {
	x := Totals{Classes: in.counts(j.Classes), Bans: map[string]int{}, Gaps: in.count("gaps", j.Gaps), Lost: in.count("lost", j.Lost)}
	for _, b := range j.Bans {
		origin := in.text("bans.origin", b.Origin)
		if _, twice := x.Bans[origin]; twice {
			in.fail("bans.origin", "%q is there twice", origin)
		}
		x.Bans[origin] = in.count("bans.bans", b.Bans)
	}
	return Record{pair: pair{key: keyTotals, value: encodeTotals(x)}}
}

type jsonUser struct {
	Record   string  `json:"record"`
	Hour     *string `json:"hour"`
	Name     any     `json:"name"`
	Attempts int     `json:"attempts"`
	Others   int     `json:"others"`
}

func showUser(key, value []byte) (any, error) {
	u, err := decodeUser(key, value)
	if err != nil {
		return nil, err
	}
	var o outward
	hour := o.time(u.Hour)
	return jsonUser{"user", &hour, showText(u.Name), u.Attempts, u.Others}, o.err
}

func (j jsonUser) record(in *inward) Record {
	u := User{
		Hour: in.hour("hour", j.Hour), Name: in.text("name", j.Name),
		Attempts: in.count("attempts", j.Attempts), Others: in.count("others", j.Others),
	}
	if u.Name == "" {
		in.fail("name", "it is empty")
	}
	if u.Others > u.Attempts {
		in.fail("others", "%d is more than the %d attempts", u.Others, u.Attempts)
	}
	return Record{pair: pair{key: userKey(u.Hour, u.Name), value: encodeUser(u)}}
}

type jsonShape struct {
	Record string  `json:"record"`
	Shape  any     `json:"shape"` // "" for all those for which there was no room
	Lines  int     `json:"lines"`
	First  *string `json:"first"`
	Last   *string `json:"last"`
}

func showShape(key, value []byte) (any, error) {
	s, err := decodeShape(key, value)
	if err != nil {
		return nil, err
	}
	var o outward
	return jsonShape{"shape", showText(s.Text), s.Count, o.known(s.First), o.known(s.Last)}, o.err
}

func (j jsonShape) record(in *inward) Record {
	s := Shape{
		Text: in.text("shape", j.Shape), Count: in.count("lines", j.Lines),
		First: in.known("first", j.First), Last: in.known("last", j.Last),
	}
	in.order(s.First, s.Last, "its last line is earlier than its first")
	return Record{pair: pair{key: shapeKey(s.Text), value: encodeShape(s)}}
}

type jsonGap struct {
	Record  string  `json:"record"`
	Number  uint64  `json:"number"` // in the order of noticing
	From    *string `json:"from"`   // null where it is not known
	To      *string `json:"to"`
	Lost    int     `json:"lost"`
	Reason  any     `json:"reason"`
	Noticed *string `json:"noticed"`
}

func showGap(key, value []byte) (any, error) {
	g, err := decodeGap(key, value)
	if err != nil {
		return nil, err
	}
	if len(key) != 8 {
		return nil, fmt.Errorf("key %x of a gap: %w", key, errDamaged)
	}
	var o outward
	return jsonGap{
		"gap", binary.BigEndian.Uint64(key), o.known(g.From), o.known(g.To), g.Lost, showText(g.Reason), o.known(g.Noticed),
	}, o.err
}

func (j jsonGap) record(in *inward) Record {
	g := Gap{
		From: in.known("from", j.From), To: in.known("to", j.To), Lost: in.count("lost", j.Lost),
		Reason: in.text("reason", j.Reason), Noticed: in.time("noticed", j.Noticed),
	}
	in.order(g.From, g.To, "it ends before it starts")
	if j.Number == 0 || j.Number > maxGapNumber {
		in.fail("number", "%d is not between 1 and %d", j.Number, uint64(maxGapNumber))
	}
	return Record{pair: pair{key: gapKey(j.Number), value: encodeGap(g)}}
}

// maxGapNumber leaves room for all gaps to come.
const maxGapNumber = 1 << 53
