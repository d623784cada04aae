package integration

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const (
	publishedList    = "/var/lib/smtpban-lists/postscreen.cidr"
	publishedMetrics = "/var/lib/smtpban-lists/smtpban.prom"
	listPort         = 2525 // where a postscreen goes by the list
)

// published has the unit, in its sandbox, write the banned prefixes for Postfix's
// own tables, looks one up there, and lets a postscreen go by them; and metrics that
// anybody can read.
func (s *story) published(t *testing.T) {
	const dropIn = "etc/smtpban/smtpban.d/lists.toml"
	s.write(t, dropIn, fmt.Sprintf("[metrics]\ntextfile = %q\n[[publish]]\npath = %q\nformat = \"cidr\"\n", publishedMetrics, publishedList))
	s.run(t, "systemctl", "start", "smtpban-block.service")
	var want []string
	for _, prefix := range routes(t, s.system) {
		want = append(want, prefix+" reject")
	}
	got := strings.Split(strings.TrimSpace(s.run(t, "cat", publishedList)), "\n")
	slices.Sort(want)
	slices.Sort(got)
	same(t, "the published list and the routes", want, got)
	same(t, "what Postfix finds for an IPv6 client", "reject\n", s.run(t, "postmap", "-q", "2001:db8:bad:1::77", "cidr:"+publishedList))
	metrics := s.run(t, "runuser", "-u", "nobody", "--", "cat", publishedMetrics)
	for _, line := range []string{fmt.Sprintf("\nsmtpban_wanted_routes %d\n", len(want)), "\nsmtpban_missing_routes 0\n"} {
		if !strings.Contains(metrics, line) {
			t.Errorf("want the line %q in the metrics:\n%s", line, metrics)
		}
	}
	s.screened(t)
	s.run(t, "rm", "/"+dropIn, publishedMetrics)
	s.run(t, "smtpban", "block")
	s.checkBans(t)
}

// screened lets a postscreen go by the published list: it refuses the banned who get
// through to it, and nobody else.
func (s *story) screened(t *testing.T) {
	for _, setting := range [][]string{
		{"-M", fmt.Sprintf("%d/inet=%[1]d inet n - n - 1 postscreen", listPort)},
		{"-P", fmt.Sprintf("%d/inet/postscreen_access_list=cidr:%s", listPort, publishedList)},
		{"-P", fmt.Sprintf("%d/inet/postscreen_denylist_action=drop", listPort)},
		{"-P", fmt.Sprintf("%d/inet/postscreen_cache_map=btree:$data_directory/list_cache", listPort)},
		{"-M", "smtpd/pass=smtpd pass - - n - - smtpd"},
	} {
		s.run(t, append([]string{"postconf"}, setting...)...)
	}
	s.run(t, "postfix", "reload")
	s.run(t, "sh", "-c", fmt.Sprintf("until ss -Hltn sport = :%d | grep -q .; do sleep .1; done", listPort))
	banned := s.shutOut[0]
	s.run(t, "ip", "route", "delete", "blackhole", banned.String(), "proto", "smtpban")
	s.greeted(t, banned, 521)
	s.greeted(t, friend, 220)
	s.run(t, "postconf", "-MX", fmt.Sprintf("%d/inet", listPort), "smtpd/pass")
	s.run(t, "postfix", "reload")
}

// greeted checks with which code postscreen greets somebody.
func (s *story) greeted(t *testing.T, who netip.Addr, want int) {
	t.Helper()
	c := client{s.net, who}.open(listPort)
	got := c.hear()
	if err := c.close(); err != nil || got != want {
		t.Errorf("postscreen greets %v with %d, want %d: %v", who, got, want, err)
	}
}
