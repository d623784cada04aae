// Package config reads smtpban.toml and its drop-ins into a Config, see
// smtpban.toml(5). It is strict: what it does not understand is an error that
// says where it stands, since a typo in ignoreip must not ban a customer. It
// also holds the two notations of systemd.time(7), for files and flags alike.
package config

import (
	_ "embed"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"smtpban/internal/ban"
)

// Example is the smtpban.toml that is shipped: every key with its default, in
// comments.
//
//go:embed smtpban.toml
var Example string

// Config is what the admin decides.
type Config struct {
	Policy  ban.Policy
	Journal Journal
	Store   Store
	Route   Route
	Metrics Metrics
	Publish []Publish
}

// Journal says which log is read.
type Journal struct {
	Directory   string // absolute; "" for the local journal
	PostfixUser string // name or uid whose entries count; "" for Postfix's mail_owner
}

// Store says where smtpban keeps what it knows.
type Store struct {
	Path string // absolute
}

// Route says how our routes are marked, see rtnetlink(7), and what else a ban
// does in the kernel.
type Route struct {
	Protocol       int // tells our routes from everyone else's
	Table          int
	EndConnections []uint16 // ports of ours to which a banned client's connections are ended
	MaxIPv4        int      // routes
	MaxIPv6        int
}

// Metrics says where the monitoring finds figures.
type Metrics struct {
	Textfile string // absolute, for node_exporter's textfile collector; "" for none
}

// Publish says where the banned prefixes are written for other programs.
type Publish struct {
	Path   string // absolute
	Format string // one of Formats
}

// The formats of a published list.
const (
	Plain   = "plain"   // an address or prefix a line
	CIDR    = "cidr"    // a cidr_table(5) for postscreen_access_list
	RBLDNSD = "rbldnsd" // a dataset of type combined
	NFT     = "nft"     // two sets of a table of nftables
	JSON    = "json"
)

// Formats lists them.
func Formats() []string { return []string{Plain, CIDR, RBLDNSD, NFT, JSON} }

// Defaults is the configuration of a system without any file.
func Defaults() Config {
	return Config{
		Policy: ban.DefaultPolicy(),
		Store:  Store{Path: "/var/lib/smtpban/smtpban.db"},
		Route:  Route{Protocol: 213, Table: 254, EndConnections: []uint16{25, 465, 587}, MaxIPv4: 200_000, MaxIPv6: 50_000},
	}
}

// Load reads the file at path and its drop-ins, the files *.toml in the
// directory named like it but for ".d" instead of ".toml": smtpban.d beside
// smtpban.toml. They are read in order of name, without those that begin with a
// dot. A key given again replaces the earlier value, but ignoreip and ignorename add up.
//
// Every error is an *Error or joins several, and the Config is then empty.
func Load(path string) (Config, error) {
	l := newLoader()
	l.file(path)
	l.dropIns(path)
	return l.result()
}

// LoadOptional is Load for a file that need not exist, as the one at the default
// path. Drop-ins are read all the same.
func LoadOptional(path string) (Config, error) {
	l := newLoader()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		l.file(path)
	}
	l.dropIns(path)
	return l.result()
}

// loader gathers one configuration from several files.
type loader struct {
	config  Config
	setters map[string]setter
	last    map[string]value // where each key was set last
	publish []value          // the headers of the lists to publish
	errs    []error
}

func newLoader() *loader {
	l := &loader{config: Defaults(), last: map[string]value{}}
	l.setters = setters(&l.config)
	return l
}

// result judges the whole and returns it.
func (l *loader) result() (Config, error) {
	if len(l.errs) == 0 {
		l.crossCheck()
	}
	switch len(l.errs) {
	case 0:
		return l.config, nil
	case 1:
		return Config{}, l.errs[0]
	}
	return Config{}, errors.Join(l.errs...)
}

// dropIns reads the drop-ins of the file at path.
func (l *loader) dropIns(path string) {
	directory := strings.TrimSuffix(path, ".toml") + ".d"
	entries, err := os.ReadDir(directory)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.fail(unreadable(directory, err))
	}
	for _, entry := range entries { // sorted by name
		name := entry.Name()
		if strings.HasSuffix(name, ".toml") && !strings.HasPrefix(name, ".") {
			l.file(filepath.Join(directory, name))
		}
	}
}

func (l *loader) file(path string) {
	text, err := read(path)
	if err != nil {
		l.fail(err)
		return
	}
	l.text(path, text)
}

// read returns the contents of a file of reasonable size.
func read(path string) ([]byte, error) {
	const most = 1 << 20
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, unreadable(path, err)
	}
	if len(text) > most {
		return nil, &Error{File: path, Msg: "larger than 1 MiB; is this a configuration file?"}
	}
	return text, nil
}

// unreadable says why, without the operation and the path that os adds.
func unreadable(path string, err error) error {
	reason := err
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		reason = pathErr.Err
	}
	return &Error{File: path, Msg: "cannot be read: " + reason.Error(), Err: err}
}

// text sets every key of one file.
func (l *loader) text(file string, text []byte) {
	values, err := parse(file, text)
	if err != nil {
		l.fail(err)
		return
	}
	refused := map[string]bool{}
	for _, v := range values {
		parent := joinKey(v.path[:len(v.path)-1])
		if refused[parent] { // one error for a whole table is enough
			refused[v.key] = true
			continue
		}
		if err := l.set(v); err != nil {
			l.fail(err)
			refused[v.key] = true
		}
	}
}

func (l *loader) fail(err error) { l.errs = append(l.errs, err) }
