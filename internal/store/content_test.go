package store

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"smtpban/internal/ban"
)

// content is everything a store holds.
type content struct {
	Positions map[[16]byte][]byte
	Clients   []ban.Client
	Due       map[netip.Prefix]time.Time // whole hours
	Bans      []ban.Ban
	Evidence  map[netip.Prefix]ban.Evidence
	Enforced  map[netip.Prefix]Enforced
	Pardons   []Pardon
	Ignores   []ban.Ignore
	History   []Ended
	Logins    []Login
	Outage    ban.Outage
	Commit    time.Time
	Report    time.Time
	Settings  map[string][]byte
}

func (c content) put(tx *Tx) error {
	errs := []error{tx.PutLastCommit(c.Commit), tx.PutLastReport(c.Report)}
	if c.Outage.Victims != nil {
		errs = append(errs, tx.PutOutage(c.Outage))
	}
	for _, l := range c.Logins {
		errs = append(errs, tx.PutLogin(l))
	}
	for boot, position := range c.Positions {
		errs = append(errs, tx.PutPosition(boot, position))
	}
	for _, client := range c.Clients {
		errs = append(errs, tx.PutClient(client, c.Due[client.Prefix]))
	}
	for _, x := range c.History {
		errs = append(errs, tx.EndBan(x.Ban, x.At, x.How))
	}
	for _, b := range c.Bans {
		errs = append(errs, tx.PutBan(b))
	}
	for prefix, evidence := range c.Evidence {
		errs = append(errs, tx.PutEvidence(prefix, evidence))
	}
	for prefix, x := range c.Enforced {
		errs = append(errs, tx.PutEnforced(prefix, x))
	}
	for _, pardon := range c.Pardons {
		errs = append(errs, tx.PutPardon(pardon))
	}
	for _, i := range c.Ignores {
		errs = append(errs, tx.PutIgnore(i))
	}
	for name, value := range c.Settings {
		errs = append(errs, tx.PutSetting(name, value))
	}
	return errors.Join(errs...)
}

// load reads the whole store, the settings by the names given.
func load(t testing.TB, s *Store, settings ...string) content {
	t.Helper()
	c := content{
		Due:      map[netip.Prefix]time.Time{},
		Evidence: map[netip.Prefix]ban.Evidence{},
		Enforced: map[netip.Prefix]Enforced{},
		Settings: map[string][]byte{},
	}
	view(t, s, func(tx *Tx) (err error) {
		var errs []error
		failed := func(err error) bool { errs = append(errs, err); return err != nil }
		c.Positions, err = tx.Positions()
		failed(err)
		for client, err := range tx.Clients() {
			if failed(err) {
				break
			}
			c.Clients = append(c.Clients, client)
		}
		for b, err := range tx.Bans() {
			if failed(err) {
				break
			}
			c.Bans = append(c.Bans, b)
		}
		for x, err := range tx.History() {
			if failed(err) {
				break
			}
			c.History = append(c.History, x)
		}
		c.Pardons, err = tx.Pardons()
		failed(err)
		c.Ignores, err = tx.Ignores()
		failed(err)
		for l, err := range tx.Logins() {
			if failed(err) {
				break
			}
			c.Logins = append(c.Logins, l)
		}
		c.Outage, err = tx.Outage()
		failed(err)
		c.Commit, err = tx.LastCommit()
		failed(err)
		c.Report, err = tx.LastReport()
		failed(err)
		for _, name := range settings {
			v, err := tx.Setting(name)
			if !failed(err) && v != nil {
				c.Settings[name] = v
			}
		}
		if evidence := tx.bucket(bucketEvidence); evidence != nil {
			for k := range each(evidence) { // of no ban as well
				prefix, err := parsePrefixKey(k)
				failed(err)
				c.Evidence[prefix], err = tx.Evidence(prefix)
				failed(err)
			}
		}
		if enforced := tx.bucket(bucketEnforced); enforced != nil {
			for k := range each(enforced) { // of no ban as well
				prefix, err := parsePrefixKey(k)
				failed(err)
				c.Enforced[prefix], err = tx.Enforced(prefix)
				failed(err)
			}
		}
		if due := tx.bucket(bucketDue); due != nil {
			for k := range each(due) {
				prefix, err := parsePrefixKey(k[9:])
				failed(err)
				c.Due[prefix] = time.Unix(int64(binary.BigEndian.Uint64(k)-1)*3600, 0).UTC()
			}
		}
		return errors.Join(errs...)
	})
	return c
}

var empty = content{
	Positions: map[[16]byte][]byte{},
	Due:       map[netip.Prefix]time.Time{},
	Evidence:  map[netip.Prefix]ban.Evidence{},
	Enforced:  map[netip.Prefix]Enforced{},
	Settings:  map[string][]byte{},
}

func hit(at time.Time) ban.Hit {
	return ban.Hit{Weight: 1, Event: ban.Event{
		Time: at, Boot: [16]byte{0xb0, 15: 0x07}, Identifier: "postfix/submission/smtpd", PID: 4711, Service: "submission",
		Class: ban.SASLAuth, Address: netip.MustParseAddr("192.0.2.9"), Name: "mail.example.com", User: "info@example.org",
	}}
}

// sample has something of everything, in the order in which it is read back.
func sample() content {
	four, six := netip.MustParsePrefix("192.0.2.9/32"), netip.MustParsePrefix("2001:db8:1::/64")
	bare := ban.Hit{Weight: 1000, Event: ban.Event{Time: at(1), Class: 200, Address: netip.MustParseAddr("2001:db8:1::25")}}
	return content{
		Positions: map[[16]byte][]byte{{1}: []byte("first\x00\xff"), {15: 2}: []byte("second")},
		Clients: []ban.Client{
			{Prefix: four, Hits: []ban.Hit{hit(at(2.5)), hit(at(2))}, Failures: 9, First: at(-30), Last: at(2.5), LastHit: at(2.5),
				Until: at(-5), Ends: []time.Time{at(-5), at(-60)}, Pardon: at(-100)},
			{Prefix: netip.MustParsePrefix("198.51.100.0/24")},
			{Prefix: six, Failures: 5, First: at(0), Last: at(1), LastHit: at(1), Until: ban.Forever, Ends: []time.Time{ban.Forever}},
		},
		Due: map[netip.Prefix]time.Time{four: at(26), netip.MustParsePrefix("198.51.100.0/24"): at(2), six: at(2e4)},
		Bans: []ban.Ban{
			{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Start: at(3), Until: at(27), Count: 1, Origin: ban.OriginManual, Reason: "enough\n\"è\""},
			{Prefix: four, Class: ban.SASLAuth, Failures: 7, Start: at(2), Until: at(50), Count: 2, Origin: ban.OriginJournal},
			{Prefix: six, Class: 200, Failures: 5, Start: at(1), Until: ban.Forever, Count: 64, Origin: ban.OriginJournal, Held: true},
			{Prefix: six, Start: at(1), Until: ban.Forever, Count: 1, Origin: ban.OriginImport + "a"},
			{Prefix: six, Start: at(1), Until: at(3), Count: 1, Origin: ban.OriginImport + "b"},
		},
		Evidence: map[netip.Prefix]ban.Evidence{
			four: {Hits: []ban.Hit{hit(at(2)), hit(at(1.5))}},
			six:  {Hits: []ban.Hit{bare}, Others: []ban.Offender{{Address: netip.MustParseAddr("2001:db8:1::26")}, {Address: netip.MustParseAddr("2001:db8:1::27")}}},
		},
		Enforced: map[netip.Prefix]Enforced{four: {Since: at(2.1), Late: at(7)}, six: {Since: at(1.25)}},
		Pardons:  []Pardon{{netip.MustParsePrefix("192.0.2.0/24"), at(-7)}, {netip.MustParsePrefix("::/0"), at(-6)}},
		Ignores: []ban.Ignore{
			{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Added: at(-9), Until: ban.Forever, Reason: "the office\n\"è\""},
			{Prefix: six, Added: at(0.5), Until: at(9)},
		},
		History: []Ended{
			{Ban: ban.Ban{Prefix: six, Class: ban.SASLAuth, Failures: 5, Start: at(-90), Until: at(-66), Count: 1, Origin: ban.OriginJournal}, At: at(-66), How: Expired},
			{Ban: ban.Ban{Prefix: four, Start: at(-60), Until: ban.Forever, Count: 1, Origin: ban.OriginManual, Reason: "mistake"}, At: at(-50), How: Unbanned},
		},
		Logins:   []Login{{four, at(-3)}, {six, at(-0.5)}},
		Outage:   ban.Outage{Since: at(-0.5), Victims: map[netip.Prefix]ban.Victim{four: {Last: at(2), Start: at(2), Until: at(50)}, six: {Last: at(1)}}},
		Commit:   at(4).Add(123456 * time.Microsecond),
		Report:   at(-8),
		Settings: map[string][]byte{"mynetworks": []byte("192.0.2.0/24\x00"), "none": {}},
	}
}

var sampleSettings = []string{"mynetworks", "none"}
