package report_test

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/report"
)

// TestAReportNamesTheThousandWithMostFailuresAndCountsTheOthers has more clients
// than a report names, each banned; those with most failures are neither the first
// nor the last.
func TestAReportNamesTheThousandWithMostFailuresAndCountsTheOthers(t *testing.T) {
	const many, named = 5000, 1000
	var clients []ban.Client
	var bans []ban.Ban
	worst := map[string]bool{}
	for i := range many {
		p := fmt.Sprintf("198.18.%d.%d/32", i>>8, i&255)
		failures := 5 + i%5
		c, b := convict(p, failures, -1)
		clients, bans = append(clients, c), append(bans, b)
		if i%5 == 4 {
			worst[p] = true
		}
	}
	// A network that is banned for something else than its only named client did.
	wide := ban.Ban{Prefix: prefix("203.0.113.0/24"), Failures: 1, Start: at(-1), Until: at(1), Count: 1, Origin: ban.OriginManual}
	clients = append(clients, client("203.0.113.7/32", 100, -1, -1))
	bans = append(bans, wide)
	r := newReport(t, newStore(t, clients, bans), ban.NeverBan{}, time.Time{}, at(0))

	check(t, []int{named, many + 1 - named, named, many + 1 - named}, []int{len(r.Clients), r.MoreClients, len(r.Bans), r.MoreBans})
	check(t, prefix("203.0.113.7/32"), r.Clients[0].Prefix)
	for _, c := range r.Clients[1:] {
		if !worst[c.Prefix.String()] {
			t.Fatalf("%s is named, with %d failures", c.Prefix, c.Failures)
		}
	}
	all := map[netip.Prefix]report.Blocker{}
	for _, target := range r.Targets() {
		all[target] = report.Us
	}
	r.Enforce(all)
	for client, state := range states(r) {
		if state != report.Blocked {
			t.Fatalf("%s is %s", client, state)
		}
	}
	r.Limit(ban.Limits{IPv4: many - 9})
	check(t, 10, r.Surplus)
	check(t, "5000 new bans, 1 ban by hand, 10 prefixes without a route", r.Headline())
	if page := string(output(t, func(w io.Writer) error { return report.Text{Location: time.UTC}.WriteHTML(w, r) })); !strings.Contains(page, `<li class="alarm"><b>10</b> <span>without a route</span></li>`) {
		t.Error("the page does not say that there are prefixes without a route")
	}
	var text bytes.Buffer
	if err := (report.Text{Location: time.UTC, Legend: true}).WriteReport(&text, r); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"There are 4001 more clients, with fewer failures or as many.\n", "There are 4001 more bans, with fewer failures or as many.\n"} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("the report does not say %q", line)
		}
	}
}
