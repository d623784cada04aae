package integration

import (
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// clientLine and banLine are what report and list tell in JSON, without the
// times; the keys are an interface that other programs rely on.
type clientLine struct {
	Client   string `json:"client"`
	Failures int    `json:"failures"`
	State    string `json:"state"`
}

type banLine struct {
	Prefix   string    `json:"prefix"`
	Class    string    `json:"class"`
	Failures int       `json:"failures"`
	Start    time.Time `json:"start"`
	Until    time.Time `json:"until"`
	Count    int       `json:"count"`
	Origin   string    `json:"origin"`
	Route    bool      `json:"route"`
	Held     bool      `json:"held"`
}

// installSmtpban installs the package into a system that is off, and sets a short
// bantime, so that bans run out within the day that smtpban takes a jump of the
// clock for honest.
func installSmtpban(t *testing.T, s *system) {
	t.Helper()
	deb, _ := buildPackages(t)
	data, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, packageFile, string(data))
	checkAdvice(t, output(t, s.chroot("dpkg", "--install", "/"+packageFile)))
	s.write(t, "etc/smtpban/smtpban.d/story.toml", "[policy]\nbantime = \""+banTime.String()+"\"\n")
}

// list returns what smtpban says about its bans, by prefix.
func list(t *testing.T, s *system) map[string]banLine {
	t.Helper()
	var lines []banLine
	if err := json.Unmarshal([]byte(s.run(t, "smtpban", "list", "-o", "json")), &lines); err != nil {
		t.Fatalf("smtpban list -o json: %v", err)
	}
	bans := map[string]banLine{}
	for _, l := range lines {
		if _, twice := bans[l.Prefix]; twice {
			t.Fatalf("smtpban list names %s twice", l.Prefix)
		}
		bans[l.Prefix] = l
	}
	return bans
}

// report returns what smtpban says about every client that failed.
func report(t *testing.T, s *system) map[string]clientLine {
	t.Helper()
	var r struct{ Clients []clientLine }
	if err := json.Unmarshal([]byte(s.run(t, "smtpban", "report", "-o", "json")), &r); err != nil {
		t.Fatalf("smtpban report -o json: %v", err)
	}
	clients := map[string]clientLine{}
	for _, c := range r.Clients {
		if _, twice := clients[c.Client]; twice {
			t.Fatalf("smtpban report names %s twice", c.Client)
		}
		clients[c.Client] = c
	}
	return clients
}

// prefixOf is the prefix that a ban of a client covers.
func prefixOf(client string) string {
	if strings.Contains(client, "/") {
		return client
	}
	return client + "/32"
}

// routes returns the prefixes that the kernel blackholes on smtpban's behalf,
// found by the name that it gave to its protocol.
func routes(t *testing.T, s *system) []string {
	t.Helper()
	var prefixes []string
	for _, family := range []string{"-4", "-6"} {
		var lines []struct{ Dst string }
		text := s.run(t, "ip", "-j", family, "route", "show", "type", "blackhole", "proto", "smtpban")
		if err := json.Unmarshal([]byte(text), &lines); err != nil {
			t.Fatalf("ip -j route printed %q: %v", text, err)
		}
		for _, l := range lines {
			if a, err := netip.ParseAddr(l.Dst); err == nil {
				l.Dst = netip.PrefixFrom(a, a.BitLen()).String()
			}
			prefixes = append(prefixes, l.Dst)
		}
	}
	return prefixes
}

// storeFiles returns the checksum of everything that smtpban keeps.
func storeFiles(t *testing.T, s *system) string {
	t.Helper()
	sums := s.run(t, "find", "/var/lib/smtpban", "-type", "f", "-exec", "sha256sum", "{}", "+")
	if !strings.Contains(sums, "/smtpban.db\n") {
		t.Fatalf("no store in /var/lib/smtpban:\n%s", sums)
	}
	return sums
}

// same fails the test if two things differ.
func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}
