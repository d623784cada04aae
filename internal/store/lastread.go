package store

import (
	"fmt"
	"time"
)

// LastRead is what the last run brought that read any entry of the log. A run that
// reads none writes nothing, so that nothing is known of it here.
type LastRead struct {
	At      time.Time // of that run; zero if there was none yet
	Entries int
	Events  int // that count
	Bans    int // new ones
}

// LastRead returns what the last reading of the log brought.
func (t *Tx) LastRead() (LastRead, error) {
	v := t.get(bucketMeta, keyRead)
	if v == nil {
		return LastRead{}, nil
	}
	r, err := decodeLastRead(v)
	if err != nil {
		return LastRead{}, fmt.Errorf("last reading: %w", err)
	}
	return r, nil
}

// PutLastRead records what a reading of the log brought.
func (t *Tx) PutLastRead(r LastRead) error { return t.put(bucketMeta, keyRead, encodeLastRead(r)) }

func encodeLastRead(r LastRead) []byte {
	e := newEncoder()
	e.time(r.At)
	e.uint(uint64(r.Entries))
	e.uint(uint64(r.Events))
	e.uint(uint64(r.Bans))
	return e.seal()
}

func decodeLastRead(value []byte) (LastRead, error) {
	d := newDecoder(value)
	r := LastRead{At: d.time(), Entries: int(d.uint()), Events: int(d.uint()), Bans: int(d.uint())}
	return r, d.finish()
}

type jsonLastRead struct {
	Record  string  `json:"record"`
	At      *string `json:"at"`
	Entries int     `json:"entries"`
	Events  int     `json:"events"`
	Bans    int     `json:"bans"`
}

func showLastRead(_, value []byte) (any, error) {
	r, err := decodeLastRead(value)
	if err != nil {
		return nil, fmt.Errorf("last reading: %w", err)
	}
	var o outward
	at := o.time(r.At)
	return jsonLastRead{"read", &at, r.Entries, r.Events, r.Bans}, o.err
}

func (j jsonLastRead) record(in *inward) Record {
	r := LastRead{
		At: in.time("at", j.At), Entries: in.count("entries", j.Entries),
		Events: in.count("events", j.Events), Bans: in.count("bans", j.Bans),
	}
	return Record{pair: pair{key: keyRead, value: encodeLastRead(r)}}
}
