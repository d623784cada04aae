package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// files is how many journal files the usual journal has.
const files = 14

// matches are those under which smtpban reads a boot, for the anchor.
func matches() []string {
	return []string{
		"_BOOT_ID=" + bootID, "_TRANSPORT=syslog", "_UID=" + strconv.Itoa(postfixUID),
		"+", "_BOOT_ID=" + bootID, "_TRANSPORT=driver", "_UID=0", "MESSAGE_ID=a596d6fe7bfa4994828e72309e95d61e",
	}
}

// now is what the time is for smtpban: just after the end of the journal.
func now() string { return end().Format("2006-01-02 15:04:05 MST") }

// allClasses writes a configuration in which everything counts.
func (b *bench) allClasses() (path string, err error) {
	seen := map[string]bool{"sasl-auth": true}
	for _, o := range offences {
		seen[o.class] = true
	}
	var text strings.Builder
	text.WriteString("[classes]\n")
	for class := range maps.Keys(seen) {
		fmt.Fprintf(&text, "%s = 1\n", class)
	}
	path = filepath.Join(b.scratch, "all.toml")
	return path, os.WriteFile(path, []byte(text.String()), 0o644)
}

// analysis returns the command that judges the whole journal, which is in dir, after it was seen
// to find just what there is to be found.
func (b *bench) analysis() (args []string, dir string, truth Truth, err error) {
	dir, truth, err = b.journal(files)
	if err != nil {
		return nil, "", Truth{}, err
	}
	config, err := b.allClasses()
	if err != nil {
		return nil, "", Truth{}, err
	}
	args = []string{"simulate", "--config", config, "-D", dir, "--postfix-user", strconv.Itoa(postfixUID), "--now", now(), "-o", "json"}
	u, err := execute(b.binary, args...)
	if err != nil {
		return nil, "", Truth{}, err
	}
	return args, dir, truth, checkTruth(u.out, truth)
}

// checkTruth compares what simulate -o json says of each client with what is true.
func checkTruth(out []byte, truth Truth) error {
	var found struct {
		Clients []struct {
			Client  string
			Classes map[string]int
			Banned  bool
		}
	}
	if err := json.Unmarshal(out, &found); err != nil {
		return fmt.Errorf("reading what simulate found: %w", err)
	}
	if len(found.Clients) != len(truth.Clients) {
		return fmt.Errorf("%d clients were found instead of %d", len(found.Clients), len(truth.Clients))
	}
	for _, c := range found.Clients {
		want := truth.Clients[c.Client]
		if !maps.Equal(c.Classes, want.Classes) || c.Banned != want.Banned {
			return fmt.Errorf("of %s was found %v, banned: %v, instead of %v, banned: %v", c.Client, c.Classes, c.Banned, want.Classes, want.Banned)
		}
	}
	return nil
}

// scan is row 1.
func scan(b *bench, r row) error {
	args, dir, truth, err := b.analysis()
	if err != nil {
		return err
	}
	c := append([]string{"scan", dir}, matches()...)
	u, err := execute(b.anchor, c...)
	if err != nil {
		return err
	}
	if n, _, _ := strings.Cut(string(u.out), " "); n != strconv.Itoa(truth.Postfix) {
		return fmt.Errorf("the anchor found %s entries instead of %d", n, truth.Postfix)
	}
	ours, theirs, ratio, err := pairs(b.rounds, command(1, b.binary, args...), command(1, b.anchor, c...))
	if err != nil {
		return err
	}
	b.compare(r, "", ours, theirs, ratio, "C", 1.5)
	return nil
}

// besideJournalctl is row 3.
func besideJournalctl(b *bench, r row) error {
	args, dir, _, err := b.analysis()
	if err != nil {
		return err
	}
	ours, theirs, ratio, err := pairs(b.rounds, command(1, b.binary, args...),
		command(1, "journalctl", "-q", "-D", dir, "-o", "cat", "_TRANSPORT=syslog", "_UID="+strconv.Itoa(postfixUID)))
	if err != nil {
		return err
	}
	b.compare(r, "", ours, theirs, ratio, "journalctl", 0.9)
	return nil
}

// besideFail2ban is row 2. Debian's packages are unpacked, not installed.
func besideFail2ban(b *bench, r row) error {
	const goal = "at most 0.13"
	root := peers(b.folder)
	if _, err := os.Stat(filepath.Join(root, "usr/bin/fail2ban-regex")); err != nil {
		b.skip(r, "not installed, and not to be had", goal)
		return nil
	}
	args, dir, truth, err := b.analysis()
	if err != nil {
		return err
	}
	theirs := func() (time.Duration, error) {
		u, err := executeWith([]string{"PYTHONPATH=" + filepath.Join(root, "usr/lib/python3/dist-packages")}, "/usr/bin/python3",
			filepath.Join(root, "usr/bin/fail2ban-regex"), "-c", filepath.Join(root, "etc/fail2ban"), "-m", "_SYSTEMD_UNIT="+postfixUnit,
			"systemd-journal[journalpath="+dir+"]", "postfix[mode=auth]")
		if err == nil && !strings.Contains(string(u.out), fmt.Sprintf("%d matched", saslFailures(truth))) {
			err = fmt.Errorf("fail2ban-regex did not find the %d failures", saslFailures(truth))
		}
		return u.cpu, err
	}
	if _, err := theirs(); err != nil {
		b.skip(r, "not measured: "+err.Error(), goal)
		return nil
	}
	a, c, ratio, err := pairs(5, command(1, b.binary, args...), theirs)
	if err != nil {
		return err
	}
	b.add(r, "", show(a), "fail2ban-regex "+show(c), ratio, goal, ratio <= 1.0/8)
	return nil
}

func saslFailures(t Truth) (n int) {
	for _, c := range t.Clients {
		n += c.Classes["sasl-auth"]
	}
	return n
}
