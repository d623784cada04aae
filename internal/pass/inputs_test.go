//go:build cgo

package pass_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
	"smtpban/internal/journal/journaltest"
	"smtpban/internal/journal/sd"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

const postfixUID = 101

// attack is what four clients do, minute by minute, over a reboot.
func attack() (all []journaltest.Entry) {
	for minute := range 30 {
		stamp := epoch.Add(time.Duration(minute) * time.Minute)
		boot, up := journaltest.Boot(1), time.Duration(minute)*time.Minute
		if minute >= 15 {
			boot, up = journaltest.Boot(2), up-14*time.Minute
		}
		add := func(identifier, message string) {
			up += time.Millisecond
			all = append(all, journaltest.Entry{
				Boot: boot, Time: stamp, Monotonic: up, UID: postfixUID,
				Identifier: identifier, PID: 1000 + minute, Message: message,
			})
		}
		const refused = "SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=alice"
		add("postfix/smtpd", "connect from unknown[203.0.113.9]")
		if minute%3 == 0 { // ten in all, within a ban from the fifth on
			add("postfix/smtpd", "warning: unknown[203.0.113.9]: "+refused)
		}
		if minute%6 == 0 { // its fifth is the last of all
			add("postfix/submission/smtpd", fmt.Sprintf("warning: host.example.net[2001:db8::%x]: %s", minute, refused))
		}
		if minute%10 == 0 { // three are not enough
			add("postfix/smtps/smtpd", "warning: unknown[198.51.100.7]:4711: "+refused)
		}
		add("postfix/qmgr", "warning: unknown[192.0.2.1]: "+refused)
	}
	return all
}

// forged adds, after each entry, one that somebody else wrote in its manner.
func forged(entries []journaltest.Entry) (all []journaltest.Entry) {
	for _, e := range entries {
		false1, false2 := e, e
		false1.UID, false2.Transport = 1000, "stdout"
		false1.Message = "warning: unknown[192.0.2.66]: SASL LOGIN authentication failed: x"
		false2.Message = "warning: unknown[192.0.2.67]: SASL LOGIN authentication failed: x"
		all = append(all, e, false1, false2)
	}
	return all
}

// syslog writes entries as rsyslogd does.
func syslog(entries []journaltest.Entry) string {
	var text strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&text, "%s mx %s[%d]: %s\n", e.Time.Format(time.Stamp), e.Identifier, e.PID, e.Message)
	}
	return text.String()
}

// bansJSON is what smtpban list -o json would print, were there no routes.
func (m *machine) bansJSON(now time.Time) string {
	m.t.Helper()
	var out bytes.Buffer
	err := store.New(m.path).View(func(tx *store.Tx) error {
		bans, err := report.Bans(tx, ban.NeverBan{}, now)
		if err != nil {
			return err
		}
		return report.WriteBansJSON(&out, bans)
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return out.String()
}

func TestTheSameAttackBringsTheSameBansThroughEachInput(t *testing.T) {
	entries := attack()
	now := at(1)
	inputs := map[string]func(journal.Positions) (journal.Input, error){
		"export text": func(from journal.Positions) (journal.Input, error) {
			return journal.OpenExport(bytes.NewReader(journaltest.Export(forged(entries)...)), postfixUID, from), nil
		},
		"maillog": func(from journal.Positions) (journal.Input, error) {
			return journal.OpenMaillog(strings.NewReader(syslog(entries)), now, time.UTC, from), nil
		},
	}
	dir := t.TempDir()
	inputs["journal"] = func(from journal.Positions) (journal.Input, error) {
		return sd.Open(sd.Options{Directory: dir, UID: postfixUID, From: from})
	}
	journaltest.Write(t, filepath.Join(dir, "system.journal"), forged(entries)...)

	bans := map[string]string{}
	for name, open := range inputs {
		m := newMachine(t)
		for run := range 2 { // the second adds nothing
			in, err := open(m.positions())
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			read := m.readFrom(now, in)
			if err := in.Close(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if want := 18 * (1 - run); read.Events != want || len(read.Gaps) > 0 {
				t.Errorf("%s, run %d: %+v, want %d events and no gap", name, run, read, want)
			}
		}
		bans[name] = m.bansJSON(now)
	}
	check(t, bans["journal"], bans["export text"])
	check(t, bans["journal"], bans["maillog"])

	type verdict struct {
		Prefix   string
		Failures int
		Start    time.Time
	}
	var got []verdict
	if err := json.Unmarshal([]byte(bans["journal"]), &got); err != nil {
		t.Fatal(err)
	}
	check(t, []verdict{
		{"203.0.113.9/32", 10, epoch.Add(12 * time.Minute)},
		{"2001:db8::/64", 5, epoch.Add(24 * time.Minute)},
	}, got)
}
