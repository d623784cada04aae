// Package ban is where smtpban decides: what counts against a client, when it
// is banned and for how long, who is never banned, and which routes follow from
// that. It has no clock and does no I/O: time comes in with each event or as an
// argument, so that a verdict depends on the log alone.
package ban

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Forever is the end of a permanent ban.
var Forever = time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC)

// MaxName bounds what is kept of a host name, in bytes. It is the end: that is
// what says whose name it is.
const MaxName = 64

// Event is one thing that Postfix logged about a client.
type Event struct {
	Time       time.Time
	Boot       [16]byte // with Time, Identifier and PID it finds the journal line again
	Identifier string   // syslog tag: postfix/submission/smtpd
	PID        int
	Service    string // smtpd, submission, smtps, or another syslog_name part of the tag
	Class      Class
	Address    netip.Addr // unmapped, without a zone
	Name       string     // verified host name of the client, "" if it has none; the end of a long one
	User       string     // login name tried, "" if not logged
}

// Hit is an event that counts toward a ban.
type Hit struct {
	Event
	Weight int // points, at least 1
}

// Origins of a ban.
const (
	OriginJournal = "journal" // decided from the log
	OriginManual  = "manual"  // smtpban ban
	OriginAdopted = "adopted" // of a route whose ban was lost with a damaged state

	OriginImport = "import:" // and the name of the set that it was imported with
)

// Ban is a sentence on a prefix.
type Ban struct {
	Prefix   netip.Prefix
	Class    Class // the class with most points; 0 for a ban not decided from the log
	Failures int   // counted events of the client, those within the ban included
	Start    time.Time
	Until    time.Time // Forever for a permanent ban
	Count    int       // 1 for the first ban of the client within forget, 2 for the second, …
	Origin   string
	Reason   string // the admin's words, for a manual ban
	Held     bool   // back, because of an outage: without effect, and over at Until unless it is confirmed
}

// Active reports whether the time of the ban is not over at now.
func (b Ban) Active(now time.Time) bool { return now.Before(b.Until) }

// Source returns the name of the set that the ban was imported with, "" for one of
// our own.
func (b Ban) Source() string {
	name, imported := strings.CutPrefix(b.Origin, OriginImport)
	if !imported {
		return ""
	}
	return name
}

// Imported is a ban that somebody else decided.
type Imported struct {
	Prefix       netip.Prefix
	Start, Until time.Time
}

// CheckSource reports why a set of imported bans can't have this name.
func CheckSource(name string) error {
	if len(name) == 0 || len(name) > maxSource || strings.ContainsFunc(name, isNoSourceRune) || strings.Contains("._-", name[:1]) {
		return fmt.Errorf("%q is no name for a set of bans: want up to %d letters, digits and any of ._-, a letter or digit first", name, maxSource)
	}
	return nil
}

const maxSource = 32

func isNoSourceRune(r rune) bool {
	letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	return !letter && !strings.ContainsRune("._-", r)
}

// maxOthers bounds the addresses that are remembered of one network.
const maxOthers = 256

// Evidence is what a ban rests on.
type Evidence struct {
	Hits   []Hit      // those that caused it, newest first
	Others []Offender // further addresses, or names of them, that attacked from the prefix since
}

// Offender is one address that attacked.
type Offender struct {
	Address netip.Addr
	Name    string // verified, "" if it has none
}

// Offenders returns who attacked. An address may be there several times, by
// different names.
func (e Evidence) Offenders() []Offender { return append(slices.Clone(e.Others), Offenders(e.Hits)...) }

// Offenders returns who made the hits.
func Offenders(hits []Hit) []Offender {
	offenders := make([]Offender, 0, len(hits))
	for _, h := range hits {
		offenders = append(offenders, Offender{h.Address, h.Name})
	}
	return offenders
}

// Add remembers an address that attacked, if it is new or now has a name, and if
// there is room. One entry is all that an address gets: who changes its name
// with every attempt takes no room from others.
func (e *Evidence) Add(o Offender) {
	for i := range e.Others {
		if e.Others[i].Address == o.Address {
			e.Others[i].Name = cmp.Or(o.Name, e.Others[i].Name)
			return
		}
	}
	known := slices.ContainsFunc(e.Hits, func(h Hit) bool {
		return h.Address == o.Address && (o.Name == "" || h.Name == o.Name)
	})
	if !known && len(e.Others) < maxOthers {
		e.Others = append(e.Others, o)
	}
}

// Enforcer holds the prefixes that are really blocked: in production the
// kernel's route table.
type Enforcer interface {
	// List returns the prefixes it blocks on our behalf.
	List() ([]netip.Prefix, error)

	// Apply makes all the changes as one batch. It goes on after a failure
	// and returns one error for each change, nil where it took effect, or
	// nil if all did. Adding what is there already and deleting what is not
	// are no failures.
	Apply([]Change) []error
}

// Change is one step from what is blocked to what should be.
type Change struct {
	Prefix netip.Prefix
	Delete bool // otherwise add
}
