package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"
)

// An export is the state as lines of JSON: a header, a record for each pair of
// the file, and a last line that says how many records there were. What is not
// a record, because it is made anew, is the schema's number and the digest.

// Header is the first line of an export.
type Header struct {
	Smtpban  string `json:"smtpban"`
	Schema   uint32 `json:"schema"`
	Version  string `json:"version"`
	Exported string `json:"exported"`
}

// end is the last line of an export.
type end struct {
	Smtpban string `json:"smtpban"`
	Records int    `json:"records"`
}

// What Smtpban says in them.
const (
	headerLine = "export"
	endLine    = "end"
)

// Record is a pair of the file that was read from a line of an export.
type Record struct {
	Kind string

	// Of a position, a session or a setting: what its bytes mean is known to
	// others only.
	Key, Value []byte

	pair
}

// The kinds of records that mean something to others only.
const (
	KindPosition = "position" // Key is the boot
	KindSession  = "session"
	KindSetting  = "setting" // Key is the name
)

// pair is where something is in the file.
type pair struct{ bucket, key, value []byte }

// kind is a sort of record.
type kind struct {
	name   string
	bucket []byte
	key    []byte // the only one of the kind; nil where all of the bucket are
	show   func(key, value []byte) (any, error)
	read   func(line []byte) (Record, error)
}

// kinds says for every bucket what its pairs look like in an export.
func kinds() []kind {
	return []kind{
		{"commit", bucketMeta, keyCommit, showTime("commit"), readTime(keyCommit)},
		{"report", bucketMeta, keyReport, showTime("report"), readTime(keyReport)},
		{"doubt", bucketMeta, keyDoubt, showTime("doubt"), readTime(keyDoubt)},
		{"outage", bucketMeta, keyOutage, showOutage, read(jsonOutage.record)},
		{"totals", bucketMeta, keyTotals, showTotals, read(jsonTotals.record)},
		{"read", bucketMeta, keyRead, showLastRead, read(jsonLastRead.record)},
		{KindPosition, bucketPositions, nil, showPosition, read(jsonPosition.record)},
		{"client", bucketClients, nil, showClient, read(jsonClient.record)},
		{"due", bucketDue, nil, showDue, read(jsonDue.record)},
		{"ban", bucketBans, nil, showBan, read(jsonBan.record)},
		{"evidence", bucketEvidence, nil, showEvidence, read(jsonEvidence.record)},
		{"enforced", bucketEnforced, nil, showEnforced, read(jsonEnforced.record)},
		{"ended", bucketHistory, nil, showEnded, read(jsonEnded.record)},
		{"pardon", bucketPardons, nil, showPardon, read(jsonPardon.record)},
		{"ignore", bucketIgnores, nil, showIgnore, read(jsonIgnore.record)},
		{"login", bucketLogins, nil, showLogin, read(jsonLogin.record)},
		{KindSetting, bucketSettings, nil, showSetting, read(jsonSetting.record)},
		{KindSession, bucketSessions, nil, showSession, read(jsonSession.record)},
		{"hour", bucketHours, nil, showHour, read(jsonHour.record)},
		{"user", bucketUsers, nil, showUser, read(jsonUser.record)},
		{"shape", bucketShapes, nil, showShape, read(jsonShape.record)},
		{"gap", bucketGaps, nil, showGap, read(jsonGap.record)},
	}
}

// Export yields the lines of an export, each to be written as JSON.
func (t *Tx) Export(version string, now time.Time) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		o := outward{}
		if !yield(Header{headerLine, newestSchema(migrations), version, o.time(now)}, o.err) || o.err != nil {
			return
		}
		n := 0
		for record, err := range t.records() {
			if !yield(record, err) || err != nil {
				return
			}
			n++
		}
		yield(end{endLine, n}, nil)
	}
}

// records yields every pair of the file, up to the first that can't be shown.
func (t *Tx) records() iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		if t.bolt == nil {
			return
		}
		kinds := kinds()
		buckets := t.bolt.Cursor()
		for bucket, _ := buckets.First(); bucket != nil; bucket, _ = buckets.Next() {
			for k, v := range each(t.bolt.Bucket(bucket)) {
				if isMadeAnew(bucket, k) {
					continue
				}
				record, err := show(kinds, bucket, k, v)
				if err != nil {
					err = fmt.Errorf("exporting %w", err)
				}
				if !yield(record, err) || err != nil {
					return
				}
			}
		}
	}
}

func isMadeAnew(bucket, key []byte) bool {
	return bytes.Equal(bucket, bucketMeta) && (bytes.Equal(key, keySchema) || bytes.Equal(key, keyDigest))
}

// show returns what a pair looks like in an export.
func show(kinds []kind, bucket, key, value []byte) (any, error) {
	i := slices.IndexFunc(kinds, func(k kind) bool {
		return bytes.Equal(k.bucket, bucket) && (k.key == nil || bytes.Equal(k.key, key))
	})
	if i < 0 {
		return nil, fmt.Errorf("key %x of %s: this version does not know what it is", key, bucket)
	}
	record, err := kinds[i].show(key, value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", bucket, err)
	}
	return record, nil
}

// readRecord reads a line of an export that is a record of this kind.
func readRecord(kinds []kind, name string, line []byte) (Record, error) {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		return Record{}, fmt.Errorf("%q is no kind of record that this version knows", name)
	}
	r, err := kinds[i].read(line)
	if err != nil {
		return Record{}, fmt.Errorf("%s: %w", name, err)
	}
	r.Kind, r.bucket = name, kinds[i].bucket
	return r, nil
}

// read makes of what turns a JSON shape into a record one that reads a line.
func read[T any](record func(T, *inward) Record) func([]byte) (Record, error) {
	return func(line []byte) (Record, error) {
		var shape T
		if err := unmarshal(line, &shape); err != nil {
			return Record{}, err
		}
		var in inward
		r := record(shape, &in)
		return r, in.err
	}
}

// unmarshal reads a line that is one JSON object with nothing unknown in it.
func unmarshal(line []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	err := d.Decode(to)
	if err == nil {
		if _, err := d.Token(); err != io.EOF {
			return errors.New("there is something after the JSON object")
		}
		return nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field := wrong.Field[strings.LastIndexByte(wrong.Field, '.')+1:]
		return fmt.Errorf("%s: there must be no %s", field, wrong.Value)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}
