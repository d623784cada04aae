package config

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"smtpban/internal/ban"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// setters lists every key of the configuration that has a fixed name, with what
// it sets and which values it takes.
func setters(c *Config) map[string]setter {
	return map[string]setter{
		"policy.maxretry":       integer(&c.Policy.MaxRetry, 1, 1000),
		"policy.findtime":       span(&c.Policy.FindTime, time.Second, 52*week),
		"policy.bantime":        span(&c.Policy.BanTime, time.Second, ban.Infinity),
		"policy.bantime_factor": number(&c.Policy.BanTimeFactor, 1, 100),
		"policy.bantime_max":    span(&c.Policy.BanTimeMax, time.Second, ban.Infinity),
		"policy.forget":         span(&c.Policy.Forget, 0, ban.Infinity),
		"policy.ipv4_prefix":    integer(&c.Policy.IPv4Prefix, 16, 32),
		"policy.ipv6_prefix":    integer(&c.Policy.IPv6Prefix, 32, 128),
		"policy.ignoreip":       prefixes(&c.Policy.IgnoreIP),
		"policy.ignorename":     hostNames(&c.Policy.IgnoreName),
		"journal.directory":     directory(&c.Journal.Directory),
		"journal.postfix_user":  user(&c.Journal.PostfixUser),
		"store.path":            absolutePath(&c.Store.Path),
		"route.protocol":        protocol(&c.Route.Protocol),
		"route.table":           table(&c.Route.Table),
		"route.end_connections": ports(&c.Route.EndConnections),
		"route.max_ipv4":        integer(&c.Route.MaxIPv4, 1, 10_000_000),
		"route.max_ipv6":        integer(&c.Route.MaxIPv6, 1, 10_000_000),
		"metrics.textfile":      textfile(&c.Metrics.Textfile),
	}
}

// setter finds what a key sets, nil if nothing.
func (l *loader) setter(v value) setter {
	switch {
	case len(v.path) == 2 && v.path[0] == "classes":
		return weight(l.config.Policy.Weights, v.path[1])
	case len(v.path) == 4 && v.path[0] == "service" && v.path[1] != "" && v.path[2] == "classes":
		return l.serviceWeight(v.path[1], v.path[3])
	case len(v.path) == 2 && v.path[0] == listOfTables && l.inList(v):
		return publishSetters(&l.config.Publish[len(l.publish)-1])[v.path[1]]
	}
	return l.setters[v.key]
}

// inList reports whether a key stands below a header [[publish]] of its file.
func (l *loader) inList(v value) bool {
	return len(l.publish) > 0 && l.publish[len(l.publish)-1].file == v.file
}

// publishSetters lists the keys of one list to publish.
func publishSetters(p *Publish) map[string]setter {
	return map[string]setter{
		"path":   absolutePath(&p.Path),
		"format": text(&p.Format, "must be one of these: "+strings.Join(Formats(), ", "), func(s string) bool { return slices.Contains(Formats(), s) }),
	}
}

// serviceWeight sets the weight of a class where it differs at one service.
func (l *loader) serviceWeight(service, class string) setter {
	return func(v value) error {
		if strings.Contains(service, "/") {
			return v.keyErrorf("a service is the middle part of a tag: submission for postfix/submission/smtpd")
		}
		weights := l.config.Policy.Services[service]
		if weights == nil {
			weights = map[ban.Class]int{}
			l.config.Policy.Services[service] = weights
		}
		return weight(weights, class)(v)
	}
}

// set gives a key its value.
func (l *loader) set(v value) error {
	if v.listed {
		l.publish, l.config.Publish = append(l.publish, v), append(l.config.Publish, Publish{})
		return nil
	}
	if set := l.setter(v); set != nil {
		l.last[v.key] = v
		return set(v)
	}
	if _, ok := v.data.(map[string]any); ok && isSection(v.path) {
		return nil
	}
	return l.misplaced(v)
}

// isSection reports whether a path names a table that may hold keys.
func isSection(path []string) bool {
	switch path[0] {
	case "policy", "classes", "journal", "store", "route", "metrics":
		return len(path) == 1
	case "service":
		return len(path) == 1 || path[1] != "" && (len(path) == 2 || len(path) == 3 && path[2] == "classes")
	}
	return false
}

// misplaced says what is wrong with a key that sets nothing.
func (l *loader) misplaced(v value) error {
	section := v.path[0]
	switch {
	case isSection(v.path):
		return v.keyErrorf("must be a table, [%s], not %s", v.key, v.text)
	case section == "service":
		return v.keyErrorf("unknown key; a service has only its weights, in [service.NAME.classes]")
	case section == listOfTables && l.inList(v):
		return v.keyErrorf("unknown key; known in [[publish]]: format, path")
	case section == listOfTables:
		return v.keyErrorf("must be a list of tables, [[publish]], each with a path and a format")
	case section == "classes":
		return v.keyErrorf("unknown key; [classes] has only classes and their weights")
	case isSection(v.path[:1]):
		return v.keyErrorf("unknown key; known in [%s]: %s", section, l.keysOf(section))
	}
	return v.keyErrorf("unknown key; known sections: [policy], [classes], [service.NAME.classes], [journal], [store], [route], [metrics], [[publish]]")
}

// keysOf lists the keys of a section.
func (l *loader) keysOf(section string) string {
	var names []string
	for key := range l.setters {
		if name, ok := strings.CutPrefix(key, section+"."); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// crossCheck judges keys that depend on each other.
func (l *loader) crossCheck() {
	l.checkPublish()
	first, longest := l.config.Policy.BanTime, l.config.Policy.BanTimeMax
	if first == ban.Infinity || longest >= first {
		return
	}
	if limit, ok := l.last["policy.bantime_max"]; ok {
		l.fail(limit.errorf("must not be shorter than bantime, which is %s", FormatSpan(first)))
		return
	}
	l.fail(l.last["policy.bantime"].errorf("must not be longer than bantime_max, which is %s", FormatSpan(longest)))
}

// checkPublish makes sure that the metrics and each list to publish have a place of
// their own, and the lists a form.
func (l *loader) checkPublish() {
	paths := map[string]bool{l.config.Store.Path: true}
	if textfile := l.config.Metrics.Textfile; textfile != "" {
		if paths[filepath.Clean(textfile)] {
			l.fail(l.last["metrics.textfile"].errorf("the path %q is taken by the state", textfile))
		}
		paths[filepath.Clean(textfile)] = true
	}
	for i, p := range l.config.Publish {
		switch header := l.publish[i]; {
		case p.Path == "":
			l.fail(header.keyErrorf("has no path"))
		case p.Format == "":
			l.fail(header.keyErrorf("has no format; known: %s", strings.Join(Formats(), ", ")))
		case paths[filepath.Clean(p.Path)]:
			l.fail(header.keyErrorf("the path %q is taken by the state, the metrics or another list", p.Path))
		}
		paths[filepath.Clean(p.Path)] = true
	}
}
