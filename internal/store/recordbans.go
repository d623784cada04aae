package store

import (
	"encoding/hex"
	"net/netip"
	"strings"

	"smtpban/internal/ban"
)

// jsonSentence is what a ban in force and one of the past have in common.
type jsonSentence struct {
	Prefix   string  `json:"prefix"`
	Class    *string `json:"class"` // null for a ban not decided from the log
	Failures int     `json:"failures"`
	Start    *string `json:"start"`
	Until    *string `json:"until"` // null for a permanent ban
	Count    int     `json:"count"`
	Origin   any     `json:"origin"`
	Reason   any     `json:"reason"`
	Held     bool    `json:"held,omitempty"`
}

func (o *outward) sentence(b ban.Ban) jsonSentence {
	return jsonSentence{
		Prefix: b.Prefix.String(), Class: showClass(b.Class), Failures: b.Failures, Start: o.known(b.Start), Until: o.end(b.Until),
		Count: b.Count, Origin: showText(b.Origin), Reason: showText(b.Reason),
		Held: b.Held,
	}
}

func (in *inward) sentence(s jsonSentence) ban.Ban {
	b := ban.Ban{
		Prefix: in.prefix(s.Prefix), Class: in.class("class", s.Class), Failures: in.count("failures", s.Failures),
		Start: in.time("start", s.Start), Until: in.end("until", s.Until), Count: in.count("count", s.Count),
		Origin: in.text("origin", s.Origin), Reason: in.text("reason", s.Reason),
		Held: s.Held,
	}
	in.order(b.Start, b.Until, "it ends before it starts")
	return b
}

type jsonBan struct {
	Record string `json:"record"`
	jsonSentence
}

func showBan(key, value []byte) (any, error) {
	b, err := decodeBan(key, value)
	if err != nil {
		return nil, err
	}
	var o outward
	return jsonBan{"ban", o.sentence(b)}, o.err
}

func (j jsonBan) record(in *inward) Record {
	b := in.sentence(j.jsonSentence)
	if strings.HasPrefix(b.Origin, ban.OriginImport) {
		if err := ban.CheckSource(b.Source()); err != nil {
			in.fail("origin", "%w", err)
		}
	}
	return Record{pair: pair{key: banKey(b), value: encodeBan(b)}}
}

type jsonEnded struct {
	Record string  `json:"record"`
	At     *string `json:"at"`
	How    any     `json:"how"`
	jsonSentence
}

func showEnded(key, value []byte) (any, error) {
	x, err := decodeEnded(key, value)
	if err != nil {
		return nil, err
	}
	var o outward
	at := o.time(x.At)
	return jsonEnded{"ended", &at, showText(x.How), o.sentence(x.Ban)}, o.err
}

func (j jsonEnded) record(in *inward) Record {
	x := Ended{Ban: in.sentence(j.jsonSentence), At: in.time("at", j.At), How: in.text("how", j.How)}
	if x.At.Unix() < 0 {
		in.fail("at", "no ban ended before 1970")
	}
	return Record{pair: pair{key: endedKey(x), value: encodeEnded(x)}}
}

type jsonHit struct {
	Time       *string `json:"time"`
	Boot       string  `json:"boot"`
	Identifier any     `json:"identifier"`
	PID        int     `json:"pid"`
	Service    any     `json:"service"`
	Class      *string `json:"class"`
	Address    string  `json:"address"`
	Name       any     `json:"name"`
	User       any     `json:"user"`
	Weight     int     `json:"weight"`
}

func (o *outward) hits(hits []ban.Hit) []jsonHit {
	shown := make([]jsonHit, 0, len(hits))
	for _, h := range hits {
		shown = append(shown, jsonHit{
			Time: o.known(h.Time), Boot: hex.EncodeToString(h.Boot[:]), Identifier: showText(h.Identifier), PID: h.PID,
			Service: showText(h.Service), Class: showClass(h.Class), Address: showAddress(h.Address),
			Name: showText(h.Name), User: showText(h.User), Weight: h.Weight,
		})
	}
	return shown
}

func (in *inward) hits(shown []jsonHit) (hits []ban.Hit) {
	for _, j := range shown {
		hits = append(hits, ban.Hit{Weight: in.count("hits.weight", j.Weight), Event: ban.Event{
			Time: in.time("hits.time", j.Time), Boot: in.boot("hits.boot", j.Boot), Identifier: in.text("hits.identifier", j.Identifier),
			PID: in.count("hits.pid", j.PID), Service: in.text("hits.service", j.Service), Class: in.class("hits.class", j.Class),
			Address: in.address("hits.address", j.Address), Name: in.text("hits.name", j.Name), User: in.text("hits.user", j.User),
		}})
	}
	return hits
}

type jsonEvidence struct {
	Record string         `json:"record"`
	Prefix string         `json:"prefix"`
	Hits   []jsonHit      `json:"hits"`
	Others []jsonOffender `json:"others"`
}

type jsonOffender struct {
	Address string `json:"address"`
	Name    any    `json:"name"`
}

func showEvidence(key, value []byte) (any, error) {
	prefix, evidence, err := decodeKeyed(key, value, decodeEvidence)
	if err != nil {
		return nil, err
	}
	var o outward
	shown := jsonEvidence{"evidence", prefix.String(), o.hits(evidence.Hits), []jsonOffender{}}
	for _, x := range evidence.Others {
		shown.Others = append(shown.Others, jsonOffender{showAddress(x.Address), showText(x.Name)})
	}
	return shown, o.err
}

func (j jsonEvidence) record(in *inward) Record {
	evidence := ban.Evidence{Hits: in.hits(j.Hits)}
	for _, x := range j.Others {
		evidence.Others = append(evidence.Others, ban.Offender{
			Address: in.address("others.address", x.Address), Name: in.text("others.name", x.Name),
		})
	}
	return Record{pair: pair{key: prefixKey(in.prefix(j.Prefix)), value: encodeEvidence(evidence)}}
}

type jsonEnforced struct {
	Record string  `json:"record"`
	Prefix string  `json:"prefix"`
	Since  *string `json:"since"` // null where it is not known
	Late   *string `json:"late"`  // null where there is none
}

func showEnforced(key, value []byte) (any, error) {
	prefix, x, err := decodeKeyed(key, value, decodeEnforced)
	if err != nil {
		return nil, err
	}
	var o outward
	return jsonEnforced{"enforced", prefix.String(), o.known(x.Since), o.known(x.Late)}, o.err
}

func (j jsonEnforced) record(in *inward) Record {
	x := Enforced{Since: in.known("since", j.Since), Late: in.known("late", j.Late)}
	in.order(x.Since, x.Late, "the late failure is earlier than the route")
	return Record{pair: pair{key: prefixKey(in.prefix(j.Prefix)), value: encodeEnforced(x)}}
}

// decodeKeyed decodes a value that does not know its prefix.
func decodeKeyed[T any](key, value []byte, decode func([]byte) (T, error)) (prefix netip.Prefix, x T, err error) {
	if prefix, err = parsePrefixKey(key); err == nil {
		x, err = decode(value)
	}
	return prefix, x, err
}
