package store

import (
	"encoding/binary"
	"fmt"
	"time"

	"smtpban/internal/ban"
)

type jsonClient struct {
	Record      string    `json:"record"`
	Rule        uint8     `json:"rule"`
	Prefix      string    `json:"prefix"`
	Failures    int       `json:"failures"`
	First       *string   `json:"first"`
	Last        *string   `json:"last"`
	LastHit     *string   `json:"last_hit"`
	BannedUntil *string   `json:"banned_until"`
	Pardon      *string   `json:"pardon"`
	Ends        []*string `json:"ends"`
	Hits        []jsonHit `json:"hits"`
}

func showClient(key, value []byte) (any, error) {
	c, err := decodeClient(key, value)
	if err != nil {
		return nil, err
	}
	var o outward
	shown := jsonClient{
		Record: "client", Rule: key[0], Prefix: c.Prefix.String(), Failures: c.Failures,
		First: o.known(c.First), Last: o.known(c.Last), LastHit: o.known(c.LastHit), BannedUntil: o.known(c.Until),
		Pardon: o.known(c.Pardon), Ends: []*string{}, Hits: o.hits(c.Hits),
	}
	for _, end := range c.Ends {
		shown.Ends = append(shown.Ends, o.known(end))
	}
	return shown, o.err
}

func (j jsonClient) record(in *inward) Record {
	c := ban.Client{
		Prefix: in.prefix(j.Prefix), Failures: in.count("failures", j.Failures),
		First: in.known("first", j.First), Last: in.known("last", j.Last), LastHit: in.known("last_hit", j.LastHit),
		Until: in.known("banned_until", j.BannedUntil), Pardon: in.known("pardon", j.Pardon), Hits: in.hits(j.Hits),
	}
	in.order(c.First, c.Last, "its last failure is earlier than its first")
	for _, end := range j.Ends {
		c.Ends = append(c.Ends, in.time("ends", end))
	}
	return Record{pair: pair{key: append([]byte{j.Rule}, prefixKey(c.Prefix)...), value: encodeClient(c)}}
}

// jsonDue says in which hour to look whether a client can be forgotten.
type jsonDue struct {
	Record string  `json:"record"`
	Rule   uint8   `json:"rule"`
	Prefix string  `json:"prefix"`
	Hour   *string `json:"hour"`
}

func showDue(key, value []byte) (any, error) {
	if len(key) <= 8 || len(value) > 0 {
		return nil, fmt.Errorf("key %x of a client due: %w", key, errDamaged)
	}
	prefix, err := parsePrefixKey(key[9:])
	if err != nil {
		return nil, fmt.Errorf("key %x of a client due: %w", key, err)
	}
	var o outward
	hour := o.time(time.Unix(int64(binary.BigEndian.Uint64(key))*3600, 0))
	return jsonDue{"due", key[8], prefix.String(), &hour}, o.err
}

func (j jsonDue) record(in *inward) Record {
	key := append(hourKey(in.hour("hour", j.Hour)), j.Rule)
	return Record{pair: pair{key: append(key, prefixKey(in.prefix(j.Prefix))...)}}
}

// hour reads when an hour begins.
func (in *inward) hour(field string, text *string) time.Time {
	t := in.time(field, text)
	if t.Unix() < 0 || !t.Equal(t.Truncate(time.Hour)) {
		in.fail(field, "%s is not the beginning of an hour since 1970", t.Format(time.RFC3339Nano))
	}
	return t
}

type jsonPardon struct {
	Record string  `json:"record"`
	Prefix string  `json:"prefix"`
	Until  *string `json:"until"`
}

func showPardon(key, value []byte) (any, error) {
	p, err := decodePardon(key, value)
	if err != nil {
		return nil, err
	}
	var o outward
	until := o.time(p.Until)
	return jsonPardon{"pardon", p.Prefix.String(), &until}, o.err
}

func (j jsonPardon) record(in *inward) Record {
	return Record{pair: pair{key: prefixKey(in.prefix(j.Prefix)), value: encodeTime(in.time("until", j.Until))}}
}
