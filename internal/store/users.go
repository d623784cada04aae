package store

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"
)

// User says how often a password was tried for a user name in an hour.
type User struct {
	Hour     time.Time // its start
	Name     string
	Attempts int // at most; exact if Others is 0
	Others   int // of these, how many were perhaps for names that there was no room for
}

// maxUsers bounds the names of an hour: clients can make up as many as they like.
const maxUsers = 100

// AddUsers counts attempts for user names in an hour, in their order. Where there
// is no room for a new name it takes the place of the one tried least, and its
// count. That is the algorithm Space-Saving (Metwally, Agrawal, El Abbadi 2005,
// "Efficient computation of frequent and top-k elements in data streams"): a name
// that gets more than a hundredth of the hour's attempts is there, and the counts
// add up to all of them. The outcome depends on the order of the attempts alone,
// not on how calls divide them.
func (t *Tx) AddUsers(hour time.Time, names []string) error {
	table, err := t.usersOf(hour)
	if err != nil {
		return err
	}
	for _, name := range names {
		table.add(name)
	}
	var errs []error
	for name := range table.gone {
		errs = append(errs, t.delete(bucketUsers, userKey(table.hour, name)))
	}
	for _, u := range table.rows {
		if u.changed {
			errs = append(errs, t.put(bucketUsers, userKey(table.hour, u.Name), encodeUser(u.User)))
		}
	}
	return errors.Join(errs...)
}

// Users yields the user names that were tried from an hour on, hour by hour, in
// order of the name.
func (t *Tx) Users(from time.Time) iter.Seq2[User, error] {
	return decodedFrom(t, bucketUsers, hourKey(from), decodeUser)
}

// PruneUsers forgets the user names of the hours before a time.
func (t *Tx) PruneUsers(before time.Time) error { return t.pruneHours(bucketUsers, before) }

// usersOf returns the names of an hour.
func (t *Tx) usersOf(hour time.Time) (*userTable, error) {
	table := &userTable{hour: hour.Truncate(time.Hour), at: map[string]*userRow{}, gone: map[string]bool{}}
	for u, err := range t.Users(table.hour) {
		if err != nil {
			return nil, err
		}
		if !u.Hour.Equal(table.hour) {
			break
		}
		heap.Push(table, &userRow{User: u})
	}
	return table, nil
}

// userTable holds the names of an hour as a heap: the one tried least, and of such
// the first by name, is at its root.
type userTable struct {
	hour time.Time
	rows []*userRow
	at   map[string]*userRow
	gone map[string]bool // names that lost their place, some of which have one again
}

type userRow struct {
	User
	index   int // in the heap
	changed bool
}

func (x *userTable) add(name string) {
	row, known := x.at[name]
	switch {
	case known:
		row.Attempts++
	case len(x.rows) < maxUsers:
		row = &userRow{User: User{Hour: x.hour, Name: name, Attempts: 1}}
		heap.Push(x, row)
	default:
		row = x.rows[0]
		delete(x.at, row.Name)
		x.gone[row.Name] = true
		row.User = User{Hour: x.hour, Name: name, Attempts: row.Attempts + 1, Others: row.Attempts}
		x.at[name] = row
	}
	row.changed = true
	heap.Fix(x, row.index)
}

func (x *userTable) Len() int { return len(x.rows) }

func (x *userTable) Less(i, j int) bool {
	a, b := x.rows[i], x.rows[j]
	return a.Attempts < b.Attempts || a.Attempts == b.Attempts && a.Name < b.Name
}

func (x *userTable) Swap(i, j int) {
	x.rows[i], x.rows[j] = x.rows[j], x.rows[i]
	x.rows[i].index, x.rows[j].index = i, j
}

// Push is for package heap.
func (x *userTable) Push(row any) {
	r := row.(*userRow)
	r.index = len(x.rows)
	x.rows, x.at[r.Name] = append(x.rows, r), r
}

// Pop is for package heap, which never calls it here: rows only change places.
func (x *userTable) Pop() any { panic("no name leaves the table without another taking its place") }

func userKey(hour time.Time, name string) []byte { return append(hourKey(hour), name...) }

func encodeUser(u User) []byte {
	e := newEncoder()
	e.uint(uint64(u.Attempts))
	e.uint(uint64(u.Others))
	return e.seal()
}

func decodeUser(key, value []byte) (User, error) {
	if len(key) <= 8 {
		return User{}, fmt.Errorf("key %x of a user name: %w", key, errDamaged)
	}
	u := User{Hour: time.Unix(int64(binary.BigEndian.Uint64(key))*3600, 0).UTC(), Name: string(key[8:])}
	d := newDecoder(value)
	u.Attempts, u.Others = int(d.uint()), int(d.uint())
	if err := d.finish(); err != nil {
		return User{}, fmt.Errorf("user name %q: %w", u.Name, err)
	}
	return u, nil
}
