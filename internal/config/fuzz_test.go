package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"smtpban/internal/ban"
)

func FuzzLoadedConfigurationIsWithinItsRanges(f *testing.F) {
	f.Add(Example)
	f.Add("policy.ignoreip = ['::ffff:0:0/96', '::/0']")
	for _, c := range brokenFiles() {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l := newLoader()
		l.text("FILE", []byte(text))
		c, err := l.result()
		if err != nil {
			for _, e := range each(err) {
				var mistake *Error
				if !errors.As(e, &mistake) || mistake.File != "FILE" || mistake.Line < 1 || mistake.Column < 1 || mistake.Msg == "" {
					t.Errorf("error without its place: %#v", e)
				}
			}
			return
		}
		if err := outOfRange(c); err != nil {
			t.Error(err)
		}
	})
}

// each lists the errors joined in err.
func each(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// outOfRange returns an error if a value is not what smtpban.toml(5) allows.
func outOfRange(c Config) error {
	p := c.Policy
	for what, ok := range map[string]bool{
		"maxretry":       p.MaxRetry >= 1 && p.MaxRetry <= 1000,
		"findtime":       p.FindTime >= time.Second && p.FindTime <= 52*week,
		"bantime":        p.BanTime >= time.Second,
		"bantime_factor": p.BanTimeFactor >= 1 && p.BanTimeFactor <= 100,
		"bantime_max":    p.BanTimeMax >= p.BanTime || p.BanTime == ban.Infinity,
		"forget":         p.Forget >= 0,
		"ipv4_prefix":    p.IPv4Prefix >= 16 && p.IPv4Prefix <= 32,
		"ipv6_prefix":    p.IPv6Prefix >= 32 && p.IPv6Prefix <= 128,
		"path":           c.Store.Path != "" && c.Store.Path[0] == '/',
		"directory":      c.Journal.Directory == "" || c.Journal.Directory[0] == '/',
		"protocol":       c.Route.Protocol >= 5 && c.Route.Protocol <= 255 && protocolOwners()[c.Route.Protocol] == "",
		"table":          c.Route.Table >= 1 && c.Route.Table != 255,
		"max_ipv4":       c.Route.MaxIPv4 >= 1 && c.Route.MaxIPv4 <= 10_000_000,
		"max_ipv6":       c.Route.MaxIPv6 >= 1 && c.Route.MaxIPv6 <= 10_000_000,
		"ports":          len(c.Route.EndConnections) <= 100 && !slices.Contains(c.Route.EndConnections, 0),
	} {
		if !ok {
			return fmt.Errorf("%s is out of range in %+v", what, c)
		}
	}
	for _, prefix := range p.IgnoreIP {
		if prefix != prefix.Masked() || prefix.Addr() != prefix.Addr().Unmap() && prefix.Bits() >= 96 || prefix == (netip.Prefix{}) {
			return fmt.Errorf("ignoreip holds %s", prefix)
		}
	}
	for _, name := range p.IgnoreName {
		if name == "" || len(name) >= ban.MaxName || name != strings.ToLower(name) || strings.Trim(name, hostBytes+".") != "" {
			return fmt.Errorf("ignorename holds %q", name)
		}
	}
	services := map[string]map[ban.Class]int{"": p.Weights}
	for name, weights := range p.Services {
		if name == "" {
			return errors.New("a service without a name")
		}
		services[name] = weights
	}
	for name, weights := range services {
		for class, points := range weights {
			if points < 0 || points > 1000 {
				return fmt.Errorf("service %q: class %s has %d points", name, class, points)
			}
		}
	}
	return nil
}
