package guard

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// mainDirectory is where postconf reads the settings of Postfix's first instance.
const mainDirectory = "/etc/postfix"

// Postfix is what its own settings say about whom to trust, those of all its
// instances together (postmulti(1)). The zero value stands for a machine without
// Postfix.
type Postfix struct {
	MailOwner       string         // the user whose entries count, of the first instance
	MyNetworks      []netip.Prefix // as configured
	OwnNetworks     bool           // trusted too are those the machine is on
	ProxyInterfaces []netip.Addr
	RelayHost       []netip.Addr // if given as an address
	Unread          []string     // parts that can't be read without Postfix itself
}

// answers is what postconf once said, about each instance, the first one first.
type answers struct {
	Instances []answer `json:"instances"`
}

// answer is what postconf once said, and about which main.cf.
type answer struct {
	Directory string `json:"directory"`
	Inode     uint64 `json:"inode"`
	Size      int64  `json:"size"`
	ModTime   int64  `json:"mtime"` // nanoseconds
	Output    string `json:"output"`
}

// ErrUnknown means that it is not known whom Postfix trusts, and never was.
var ErrUnknown = errors.New("whom does Postfix trust?")

// ReadPostfix returns the settings of Postfix's instances as postconf(1) tells
// them, and what stands in the files that mynetworks names. Asking postconf takes
// some milliseconds, so it is done only for a main.cf that has changed since the
// answer in cache, which is opaque to the caller. A new answer is returned as
// fresh, nil if the old one still holds. With an error come the old answers where
// there is no new one, also if a main.cf has gone; the error is an ErrUnknown if
// there never was any.
func ReadPostfix(cache []byte) (p Postfix, fresh []byte, err error) {
	return readPostfix(mainDirectory, cache, postconf)
}

func readPostfix(directory string, cache []byte, ask func(args ...string) (string, error)) (p Postfix, fresh []byte, err error) {
	var old, now answers
	if cache != nil && json.Unmarshal(cache, &old) != nil {
		old = answers{} // one that can't be read is none
	}
	first, err := old.renew(directory, ask)
	switch {
	case first.Output == "" && errors.Is(err, errNoMainCF):
		return Postfix{}, nil, nil
	case first.Output == "" && errors.Is(err, exec.ErrNotFound): // Postfix was removed, say
		return Postfix{Unread: []string{"all of " + directory + "/main.cf: there is no postconf(1)"}}, nil, nil
	case first.Output == "":
		return Postfix{}, nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	now.Instances = append(now.Instances, first)
	errs := []error{err}
	p.read(first.Output, "")
	for _, directory := range instances(first.Output) {
		other, err := old.renew(directory, ask)
		if other.Output == "" && errors.Is(err, errNoMainCF) { // listed, but not there
			continue
		}
		now.Instances = append(now.Instances, other)
		errs = append(errs, err)
		p.read(other.Output, directory+": ")
	}
	if err := errors.Join(errs...); err != nil || slices.Equal(now.Instances, old.Instances) {
		return p, nil, err
	}
	fresh, err = json.Marshal(now)
	return p, fresh, err
}

var errNoMainCF = errors.New("there is no main.cf")

// renew returns the answer about the instance with its settings in this
// directory, after asking again if its main.cf has changed. With an error comes
// the old answer.
func (old answers) renew(directory string, ask func(args ...string) (string, error)) (answer, error) {
	last := answer{Directory: directory}
	if i := slices.IndexFunc(old.Instances, func(a answer) bool { return a.Directory == directory }); i >= 0 {
		last = old.Instances[i]
	}
	info, err := os.Stat(filepath.Join(directory, "main.cf"))
	if errors.Is(err, fs.ErrNotExist) {
		return last, fmt.Errorf("%s: %w", directory, errNoMainCF)
	}
	if err != nil {
		return last, fmt.Errorf("looking for Postfix's settings: %w", err)
	}
	now := answer{directory, info.Sys().(*syscall.Stat_t).Ino, info.Size(), info.ModTime().UnixNano(), last.Output}
	if now == last {
		return last, nil
	}
	if now.Output, err = askPostconf(directory, ask); err != nil {
		return last, fmt.Errorf("asking postconf for Postfix's settings: %w", err)
	}
	return now, nil
}

// askPostconf asks for mynetworks only as main.cf gives it (-n). Its default is
// made out of the addresses that postconf sees, and inside the unit's sandbox it
// sees none: there mynetworks_style has to tell.
func askPostconf(directory string, ask func(args ...string) (string, error)) (string, error) {
	given, err := ask("-c", directory, "-x", "-n", "mynetworks")
	if err != nil {
		return "", err
	}
	others, err := ask("-c", directory, "-x", "mail_owner", "mynetworks_style", "proxy_interfaces", "relayhost", instanceDirectories)
	return given + others, err
}

// instanceDirectories is the setting of the first instance that lists the others.
const instanceDirectories = "multi_instance_directories"

func postconf(args ...string) (string, error) {
	program, err := exec.LookPath("postconf")
	for _, place := range []string{"/usr/sbin/postconf", "/usr/local/sbin/postconf"} {
		if err != nil { // cron's PATH has no sbin
			program, err = exec.LookPath(place)
		}
	}
	if err != nil {
		return "", exec.ErrNotFound
	}
	output, err := exec.Command(program, args...).Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(failed.Stderr)))
	}
	return string(output), err
}

// settings are postconf's "name = value" lines.
func settings(output string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(output) {
		name, value, _ := strings.Cut(line, "=")
		values[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return values
}

// instances returns where the settings of the other instances are, whether they
// are enabled or not.
func instances(output string) []string { return words(settings(output)[instanceDirectories]) }

// read adds what postconf said about one instance. What can't be read is noted
// with where in front.
func (p *Postfix) read(output, where string) {
	var i Postfix
	values := settings(output)
	i.readNetworks(values["mynetworks"], 0)
	// The class style, which no one has used in this century, is taken for the
	// subnet one.
	style := values["mynetworks_style"]
	i.OwnNetworks = len(i.MyNetworks) == 0 && (style == "subnet" || style == "class")
	for _, word := range words(values["proxy_interfaces"]) {
		if a, ok := parseHost(word); ok {
			i.ProxyInterfaces = append(i.ProxyInterfaces, a)
		} else {
			i.Unread = append(i.Unread, "proxy_interfaces: "+word)
		}
	}
	if relay := values["relayhost"]; relay != "" {
		if a, ok := parseHost(relay); ok {
			i.RelayHost = append(i.RelayHost, a)
		} else {
			i.Unread = append(i.Unread, "relayhost: "+relay)
		}
	}
	p.MailOwner = cmp.Or(p.MailOwner, values["mail_owner"])
	p.MyNetworks = append(p.MyNetworks, i.MyNetworks...)
	p.OwnNetworks = p.OwnNetworks || i.OwnNetworks
	p.ProxyInterfaces = append(p.ProxyInterfaces, i.ProxyInterfaces...)
	p.RelayHost = append(p.RelayHost, i.RelayHost...)
	for _, unread := range i.Unread {
		p.Unread = append(p.Unread, where+unread)
	}
}

// maxNesting bounds files that name each other.
const maxNesting = 3

// readNetworks reads a value of mynetworks (postconf(5)): addresses and
// networks, files of them by their path, and cidr: tables. A "!" takes out what
// a later word would include; since that only ever shrinks the set, it is left
// in.
func (p *Postfix) readNetworks(value string, nesting int) {
	for _, word := range words(value) {
		switch {
		case strings.HasPrefix(word, "!"):
			p.Unread = append(p.Unread, "mynetworks: "+word)
		case nesting < maxNesting && strings.HasPrefix(word, "/"):
			p.readFile(word, nesting)
		case strings.HasPrefix(word, "cidr:"):
			p.readCIDR(strings.TrimPrefix(word, "cidr:"))
		default:
			if n, ok := parseNetwork(word); ok {
				p.MyNetworks = append(p.MyNetworks, n)
			} else {
				p.Unread = append(p.Unread, "mynetworks: "+word)
			}
		}
	}
}

func (p *Postfix) readFile(path string, nesting int) {
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		p.Unread = append(p.Unread, "mynetworks: "+path)
		return
	}
	for line := range strings.Lines(string(text)) {
		if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) != "" {
			p.readNetworks(line, nesting+1)
		}
	}
}

// readCIDR reads a cidr_table(5): a network first on each line. Lines that use
// more of its language are reported.
func (p *Postfix) readCIDR(path string) {
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		p.Unread = append(p.Unread, "mynetworks: cidr:"+path)
		return
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if n, ok := parseNetwork(fields[0]); ok {
			p.MyNetworks = append(p.MyNetworks, n)
		} else {
			p.Unread = append(p.Unread, "mynetworks: cidr:"+path+": "+strings.TrimSpace(line))
		}
	}
}

func words(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == '\n' })
}

// parseNetwork reads 192.0.2.0/24, 192.0.2.1, [2001:db8::]/32 or [2001:db8::1].
func parseNetwork(word string) (netip.Prefix, bool) {
	word = strings.NewReplacer("[", "", "]", "").Replace(word)
	if n, err := netip.ParsePrefix(word); err == nil {
		return n.Masked(), true
	}
	if a, err := netip.ParseAddr(word); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), true
	}
	return netip.Prefix{}, false
}

// parseHost reads an address as relayhost and proxy_interfaces write it:
// 192.0.2.1, [192.0.2.1], [2001:db8::1], with an optional :PORT after it.
func parseHost(word string) (netip.Addr, bool) {
	host := word
	if inside, ok := strings.CutPrefix(word, "["); ok {
		host, _, _ = strings.Cut(inside, "]")
		host = strings.TrimPrefix(host, "IPv6:")
	} else if a, err := netip.ParseAddrPort(word); err == nil {
		return a.Addr().Unmap(), true
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}
