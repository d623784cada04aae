package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/guard"
	"smtpban/internal/pass"
	"smtpban/internal/report"
	"smtpban/internal/route"
	"smtpban/internal/store"
)

// kernel is the machine as a command sees it: its routes, and who must never be
// banned on it.
type kernel struct {
	table   *route.Table
	sources guard.Sources
	postfix guard.Postfix
	fresh   []byte // postconf's answer, if it is newer than the one in the state
	never   ban.NeverBan
	needed  ban.NeverBan // by the machine itself
	peers   []netip.Addr // of SSH sessions; no later run is to know them
	read    []byte       // files of the journal that an earlier run has finished, see sd.Options
	machine              // as it is now
	last    machine
}

// machine is what the state remembers of the last good run.
type machine struct {
	Protected []ban.Protected `json:"never"`
	Names     []string        `json:"names,omitempty"` // ends of names that protect
	Route     config.Route    `json:"route"`
	UID       int             `json:"uid"` // whose entries were last read; 0 if none were

	Publish  []config.Publish `json:"publish,omitempty"`
	Textfile string           `json:"textfile,omitempty"` // of the metrics

	// Bans that did not block all of it, as somebody was protected. Once they do that is told.
	Spared []netip.Prefix `json:"spared,omitempty"`

	// What has been told, and is not to be told at every run.
	CannotEnd bool     `json:"cannot_end"`       // connections
	Surplus   bool     `json:"surplus"`          // more is banned than may have routes
	Unread    []string `json:"unread,omitempty"` // of whom Postfix trusts
	Stale     string   `json:"stale,omitempty"`  // why Postfix's settings are those last seen
}

// The settings that the commands keep in the state.
const (
	settingMachine = "machine"
	settingPostfix = "postfix" // postconf's last answer
	settingJournal = "journal" // which of its files were read to their end
)

func (a *app) openKernel(cfg config.Config, s *store.Store) (*kernel, error) {
	table, err := openTable(cfg)
	if err != nil {
		return nil, err
	}
	k := &kernel{table: table, machine: machine{
		Names: cfg.Policy.IgnoreName, Route: cfg.Route, Publish: cfg.Publish, Textfile: cfg.Metrics.Textfile,
	}}
	if err := k.guard(cfg, s, a.log); err != nil {
		table.Close()
		return nil, err
	}
	return k, nil
}

func openTable(cfg config.Config) (*route.Table, error) {
	return route.Open(route.Options{Protocol: uint8(cfg.Route.Protocol), Table: uint32(cfg.Route.Table)})
}

func (k *kernel) close() { k.table.Close() }

// guard gathers who must never be banned.
func (k *kernel) guard(cfg config.Config, s *store.Store, log *logger) error {
	last, cache, err := recall(s)
	if err != nil {
		return err
	}
	k.last, k.UID, k.CannotEnd, k.Surplus, k.Spared = last, last.UID, last.CannotEnd, last.Surplus, last.Spared
	k.postfix, k.fresh, err = guard.ReadPostfix(cache)
	if errors.Is(err, guard.ErrUnknown) {
		return configError{err}
	}
	k.tellPostfix(err, log)
	sources := guard.Sources{Postfix: k.postfix, IgnoreIP: cfg.Policy.IgnoreIP}
	if sources.Addresses, err = k.table.Addresses(); err != nil {
		return err
	}
	if sources.Gateways, err = k.table.Gateways(); err != nil {
		return err
	}
	if sources.Resolvers, err = readResolvers(); err != nil {
		return err
	}
	if k.peers, err = guard.SSHPeers(os.DirFS(logindSessions)); err != nil {
		return err
	}
	k.Protected = sources.Protected()
	sources.IgnoreIP = nil
	k.needed = ban.NewNeverBan(sources.Protected(), nil)
	sources.IgnoreIP, sources.SSHPeers = cfg.Policy.IgnoreIP, k.peers
	k.sources = sources
	return s.View(func(tx *store.Tx) error {
		ignores, err := tx.Ignores()
		k.heed(ignores)
		if err == nil {
			k.read, err = tx.Setting(settingJournal)
		}
		return err
	})
}

// heed takes those who are ignored among the ones who must never be banned.
func (k *kernel) heed(ignores []ban.Ignore) {
	k.sources.Ignores = ignores
	k.never = ban.NewNeverBan(k.sources.Protected(), k.Names)
}

// under returns who must never be banned on this machine under another policy.
func (k *kernel) under(policy ban.Policy) ban.NeverBan {
	sources := k.sources
	sources.IgnoreIP = policy.IgnoreIP
	return ban.NewNeverBan(sources.Protected(), policy.IgnoreName)
}

// heedActive heeds those ignores whose time is not over.
func (k *kernel) heedActive(p pass.Pass) error {
	ignores, err := p.Ignores()
	if err == nil {
		k.heed(ignores)
	}
	return err
}

// tellPostfix warns once where it is not sure whom Postfix trusts: they may be banned.
func (k *kernel) tellPostfix(err error, log *logger) {
	if err != nil {
		k.Stale = err.Error()
	}
	if k.Stale != "" && k.Stale != k.last.Stale {
		log.warn("going by Postfix's settings as last seen: %v", err)
	}
	k.Unread = k.postfix.Unread
	if len(k.Unread) > 0 && !slices.Equal(k.Unread, k.last.Unread) {
		log.warn("of whom Postfix trusts this can't be read; list in ignoreip whom it stands for: %s", strings.Join(k.Unread, "; "))
	}
}

// logindSessions is where logind keeps what it knows of the sessions.
const logindSessions = "/run/systemd/sessions"

// resolvConfs name the name servers. The second one is that of systemd-resolved,
// where the first one may name only its stub on loopback.
var resolvConfs = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

func readResolvers() ([]netip.Addr, error) {
	var all []netip.Addr
	for _, name := range resolvConfs {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking for name servers: %w", err)
		}
		defer f.Close()
		resolvers, err := guard.Resolvers(f)
		if err != nil {
			return nil, fmt.Errorf("reading the name servers in %s: %w", name, err)
		}
		all = append(all, resolvers...)
	}
	return all, nil
}

// recall returns what the last good run remembered.
func recall(s *store.Store) (last machine, postfix []byte, err error) {
	err = s.View(func(tx *store.Tx) error {
		value, err := tx.Setting(settingMachine)
		if err != nil {
			return err
		}
		if value != nil && json.Unmarshal(value, &last) != nil {
			last = machine{} // a memory that can't be read is none
		}
		postfix, err = tx.Setting(settingPostfix)
		return err
	})
	return last, postfix, err
}

// remember keeps the machine as it is now, for a later run with a broken
// configuration, and what postconf answered. It writes only what has changed.
func (k *kernel) remember(s *store.Store) error {
	now, err := json.Marshal(k.machine)
	if err != nil {
		return err
	}
	before, err := json.Marshal(k.last)
	if err != nil {
		return err
	}
	if k.fresh == nil && bytes.Equal(now, before) {
		return nil
	}
	return s.Update(func(tx *store.Tx) error {
		if k.fresh != nil {
			if err := tx.PutSetting(settingPostfix, k.fresh); err != nil {
				return err
			}
		}
		return tx.PutSetting(settingMachine, now)
	})
}

// enforcer returns what settling a pass works on, nil for nothing.
func (a *app) enforcer(k *kernel) ban.Enforcer {
	if a.noRoutes || a.elsewhere() {
		return nil
	}
	return a.onto(k.table)
}

// onto returns what changes the routes, or in a dry run only says so.
func (a *app) onto(table *route.Table) ban.Enforcer {
	if a.dryRun {
		return rehearsal{table, a.stdout}
	}
	return table
}

// rehearsal knows the routes there are, and only says what it would change.
type rehearsal struct {
	*route.Table
	out io.Writer
}

func (r rehearsal) Apply(changes []ban.Change) []error {
	for _, c := range changes {
		verb := "add"
		if c.Delete {
			verb = "delete"
		}
		fmt.Fprintf(r.out, "would %s route: blackhole %s\n", verb, c.Prefix)
	}
	return nil
}

// blockers returns who blocks each of the prefixes.
func (k *kernel) blockers(prefixes []netip.Prefix) (map[netip.Prefix]report.Blocker, error) {
	found, err := k.table.Blockers(prefixes)
	if err != nil {
		return nil, err
	}
	blockers := make(map[netip.Prefix]report.Blocker, len(prefixes))
	for i, p := range prefixes {
		switch found[i] {
		case route.Us:
			blockers[p] = report.Us
		case route.Other:
			blockers[p] = report.Another
		}
	}
	return blockers, nil
}
