package main

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"smtpban/internal/journal"
	"smtpban/internal/journal/sd"
	"smtpban/internal/postfix"
	"smtpban/internal/report"
)

// surveyed is how far back doctor looks in the journal.
const surveyed = 24 * time.Hour

// survey is what the journal holds of the last day.
type survey struct {
	boots   int
	trusted int                // entries of Postfix's own user
	clients int                // of these, from who talks to clients
	newest  time.Time          // of the trusted ones
	others  map[int]int        // by uid, entries that look like Postfix's and don't count
	from    map[netip.Addr]int // trusted entries that name a client
	named   int                // the sum of these
}

// maxClients bounds how many clients are told apart. One that outweighs all
// others is among the first.
const maxClients = 10_000

func (s *survey) add(w sd.Written) {
	facing := journal.ClientFacing(w.Identifier)
	if !w.Trusted {
		if facing {
			s.others[w.UID]++
		}
		return
	}
	s.trusted++
	if w.Time.After(s.newest) {
		s.newest = w.Time
	}
	if !facing {
		return
	}
	s.clients++
	client := postfix.Parse(w.Entry).Address
	if !client.IsValid() {
		return
	}
	s.named++
	if _, known := s.from[client]; known || len(s.from) < maxClients {
		s.from[client]++
	}
}

// journalOptions say which journal is read.
func (d *doctor) journalOptions() sd.Options {
	uid := d.uid
	if d.errUID != nil {
		uid = -1 // nobody's
	}
	return sd.Options{Directory: d.cfg.Journal.Directory, UID: uid}
}

func (d *doctor) survey() (survey, error) {
	s := survey{others: map[int]int{}, from: map[netip.Addr]int{}}
	r, err := sd.Open(d.journalOptions())
	if err != nil {
		return s, err
	}
	defer r.Close()
	s.boots = len(r.Boots())
	for w, err := range r.Since(d.now.Add(-surveyed)) {
		if err != nil {
			return s, err
		}
		s.add(w)
	}
	return s, nil
}

func (d *doctor) journal() finding {
	switch err := d.errJournal; {
	case err == nil:
		return ok("it can be read, and has entries of %s", plural(d.day.boots, "boot"))
	case errors.Is(err, sd.ErrPermission):
		return fault("run this as root; the units need SupplementaryGroups=systemd-journal", "%v", err)
	case errors.Is(err, sd.ErrNoJournal):
		return fault("let journald keep one (Storage=persistent in journald.conf(5)), or name it as directory in [journal]", "%v", err)
	}
	return fault("see journalctl --verify", "%v", d.errJournal)
}

func (d *doctor) persistent() finding {
	options := d.journalOptions()
	if options.Directory != "" {
		return skipped("the journal in %s is read", options.Directory)
	}
	persistent, err := options.Persistent()
	switch {
	case err != nil:
		return skipped("%v", err)
	case errors.Is(d.errJournal, sd.ErrNoJournal):
		return skipped("there is none")
	case !persistent:
		return warning("mkdir -p /var/log/journal && systemctl restart systemd-journal-flush, and no Storage=volatile in journald.conf(5)",
			"it is kept in memory, so that what was not read before a reboot is lost")
	}
	return ok("it is kept on disk")
}

// noSurvey says why nothing is known of the entries; it is empty if they are.
func (d *doctor) noSurvey() (f finding) {
	switch {
	case d.errJournal != nil:
		return skipped("the journal can't be read")
	case d.errUID != nil:
		return skipped("it is not known whose entries count")
	}
	return f
}

func (d *doctor) entries() finding {
	if f := d.noSurvey(); f.result != "" {
		return f
	}
	const look = "systemctl status postfix; does it log elsewhere (postfix-log), or as another user (postfix-uid)?"
	switch s := d.day; {
	case s.trusted == 0:
		return fault(look, "there is none of the last day")
	case s.clients == 0:
		return warning("is Postfix reachable? ss -ltn; postfix status", "there are %d of the last day, but none about a client", s.trusted)
	default:
		return ok("there are %d of the last day, %d about clients, the newest at %s", s.trusted, s.clients, s.newest.In(time.Local).Format(report.TimeLayout))
	}
}

// writers finds out whether those entries count that are Postfix's.
func (d *doctor) writers() finding {
	const name = "name Postfix's mail_owner, or its uid, as postfix_user in [journal]"
	if d.errUID != nil {
		return fault(name, "whose entries count? there is no user %q here", d.owner)
	}
	var f finding
	for _, i := range d.otherOwners() {
		f.warn("give all instances the same mail_owner (postconf(5))", "entries of %s, written by %s, do not count", i.Directory, i.MailOwner)
	}
	if d.errJournal != nil {
		return f.or(skipped("the journal can't be read"))
	}
	s := d.day
	switch {
	case len(s.others) > 0 && s.clients == 0:
		f.fail("if one of these is Postfix: "+name, "entries count that uid %d wrote, but there are only others: %s", d.uid, numbers(s.others))
	case len(s.others) > 0:
		uid := slices.Min(slices.Collect(maps.Keys(s.others)))
		f.warn(fmt.Sprintf("see who pretends to be Postfix: journalctl --since -1d -t postfix/smtpd _UID=%d", uid), "somebody else's entries look like Postfix's: %s", numbers(s.others))
	case s.clients == 0:
		return f.or(skipped("there is no entry about a client"))
	}
	return f.or(ok("all entries are of uid %d", d.uid))
}

// numbers lists how many entries each uid wrote.
func numbers(counts map[int]int) string {
	var list []string
	for _, uid := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, fmt.Sprintf("%d of uid %d", counts[uid], uid))
	}
	return strings.Join(list, ", ")
}

// When clients look like one.
const (
	minNamed  = 20 // entries that name a client; fewer say nothing
	dominance = 90 // percent of them that name the same
	minOthers = 10 // so many other clients show that addresses are not hidden
)

// clients finds out whether all clients come as one address, that of a load
// balancer or NAT in front.
func (d *doctor) clients() finding {
	if f := d.noSurvey(); f.result != "" {
		return f
	}
	s := d.day
	if s.named < minNamed {
		return skipped("only %d entries of the last day name a client", s.named)
	}
	var top netip.Addr
	for client, n := range s.from {
		if n > s.from[top] || n == s.from[top] && client.Less(top) {
			top = client
		}
	}
	percent := 100 * s.from[top] / s.named
	if percent < dominance {
		return ok("%s in %d entries of the last day, %d %% of which are of %s", plural(len(s.from), "client"), s.named, percent, top)
	}
	const remedy = "if a load balancer or NAT in front hides the clients, let it pass their addresses on, or block them there"
	found := fmt.Sprintf("%d %% of the entries of the last day are of %s", percent, top)
	protected, is := d.protects(top)
	switch {
	case is && len(s.from)-1 < minOthers:
		return fault(remedy, "%s, who is never blocked (%s)", found, protected)
	case is:
		return warning(remedy, "%s, who is never blocked (%s)", found, protected)
	}
	return warning(remedy, "%s", found)
}

// protects returns why a client is never blocked.
func (d *doctor) protects(a netip.Addr) (reason string, is bool) {
	if d.kernel == nil {
		return "", false
	}
	m, is := d.kernel.never.Protects(netip.PrefixFrom(a, a.BitLen()))
	return m.Reason, is
}
