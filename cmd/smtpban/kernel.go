package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/guard"
	"smtpban/internal/route"
	"smtpban/internal/store"
)

// kernel is the machine as a command sees it: its routes, and who must never be
// banned on it.
type kernel struct {
	table   *route.Table
	postfix guard.Postfix
	never   ban.NeverBan
	fresh   []byte // postconf's answer, if it is newer than the one in the state
}

func (a *app) openKernel(cfg config.Config, s *store.Store) (*kernel, error) {
	table, err := route.Open(route.Options{Protocol: uint8(cfg.Route.Protocol), Table: uint32(cfg.Route.Table)})
	if err != nil {
		return nil, err
	}
	k := &kernel{table: table}
	if err := k.guard(cfg, s, a.log); err != nil {
		table.Close()
		return nil, err
	}
	return k, nil
}

func (k *kernel) close() { k.table.Close() }

// guard gathers who must never be banned.
func (k *kernel) guard(cfg config.Config, s *store.Store, log *logger) error {
	var cache []byte
	err := s.View(func(tx *store.Tx) (err error) {
		cache, err = tx.Setting("postfix")
		return err
	})
	if err != nil {
		return err
	}
	if k.postfix, k.fresh, err = guard.ReadPostfix(cache); err != nil {
		log.warn("going by Postfix's settings as last seen: %v", err)
	}
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
	k.never = sources.NeverBan()
	return nil
}

func readResolvers() ([]netip.Addr, error) {
	f, err := os.Open("/etc/resolv.conf")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for name servers: %w", err)
	}
	defer f.Close()
	return guard.Resolvers(f)
}

// remember keeps, for a later run with a broken configuration, who must never
// be banned, and what postconf answered. It writes only what has changed.
func (k *kernel) remember(s *store.Store) error {
	never, err := json.Marshal(k.never)
	if err != nil {
		return err
	}
	changed := map[string][]byte{"never": never}
	err = s.View(func(tx *store.Tx) error {
		last, err := tx.Setting("never")
		if string(last) == string(never) {
			delete(changed, "never")
		}
		return err
	})
	if err != nil {
		return err
	}
	if k.fresh != nil {
		changed["postfix"] = k.fresh
	}
	if len(changed) == 0 {
		return nil
	}
	return s.Update(func(tx *store.Tx) error {
		for name, value := range changed {
			if err := tx.PutSetting(name, value); err != nil {
				return err
			}
		}
		return nil
	})
}

// recall adds those who were never to be banned in the last good run.
func (k *kernel) recall(s *store.Store) error {
	return s.View(func(tx *store.Tx) error {
		value, err := tx.Setting("never")
		if value == nil || err != nil {
			return err
		}
		var last ban.NeverBan
		if err := json.Unmarshal(value, &last); err != nil {
			return fmt.Errorf("who must never be banned: %w", err)
		}
		k.never = append(k.never, last...)
		return nil
	})
}

// enforcer returns what settling a pass works on, nil for nothing.
func (a *app) enforcer(k *kernel) ban.Enforcer {
	switch {
	case a.noRoutes:
		return nil
	case a.dryRun:
		return rehearsal{k.table, a.stdout}
	}
	return k.table
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

// blocked returns which of the prefixes the kernel blocks on our behalf.
func (k *kernel) blocked(prefixes []netip.Prefix) (map[netip.Prefix]bool, error) {
	blockers, err := k.table.Blockers(prefixes)
	if err != nil {
		return nil, err
	}
	blocked := make(map[netip.Prefix]bool, len(prefixes))
	for i, p := range prefixes {
		blocked[p] = blockers[i] == route.Us
	}
	return blocked, nil
}
