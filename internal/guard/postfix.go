package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// mainCF is where postconf reads Postfix's settings.
const mainCF = "/etc/postfix/main.cf"

// Postfix is what its own settings say about whom to trust. The zero value
// stands for a machine without Postfix.
type Postfix struct {
	MailOwner       string         // the user whose entries count
	MyNetworks      []netip.Prefix // as configured
	NetworksStyle   string
	ProxyInterfaces []netip.Addr
	RelayHost       []netip.Addr // if given as an address
	Unread          []string     // parts that can't be read without Postfix itself
}

// TrustsLinks reports whether Postfix takes the networks that the machine is on
// for its own, because mynetworks does not say otherwise. The class style, which
// no one has used in this century, is taken for the subnet one.
func (p Postfix) TrustsLinks() bool {
	return len(p.MyNetworks) == 0 && (p.NetworksStyle == "subnet" || p.NetworksStyle == "class")
}

// answer is what postconf once said, and about which main.cf.
type answer struct {
	Inode   uint64 `json:"inode"`
	Size    int64  `json:"size"`
	ModTime int64  `json:"mtime"` // nanoseconds
	Output  string `json:"output"`
}

// ReadPostfix returns Postfix's settings as postconf(1) tells them, and what
// stands in the files that mynetworks names. Asking postconf takes some
// milliseconds, so it is done only if main.cf has changed since the answer in
// cache, which is opaque to the caller. A new answer is returned as fresh, nil
// if the old one still holds. With an error comes the old answer.
func ReadPostfix(cache []byte) (p Postfix, fresh []byte, err error) {
	var old answer
	if cache != nil {
		if err := json.Unmarshal(cache, &old); err != nil {
			return Postfix{}, nil, fmt.Errorf("postconf's last answer: %w", err)
		}
	}
	info, err := os.Stat(mainCF)
	if errors.Is(err, fs.ErrNotExist) {
		return Postfix{}, nil, nil
	}
	if err != nil {
		return parsePostconf(old.Output), nil, fmt.Errorf("looking for Postfix's settings: %w", err)
	}
	now := answer{Inode: info.Sys().(*syscall.Stat_t).Ino, Size: info.Size(), ModTime: info.ModTime().UnixNano(), Output: old.Output}
	if now == old {
		return parsePostconf(old.Output), nil, nil
	}
	if now.Output, err = askPostconf(); err != nil {
		return parsePostconf(old.Output), nil, fmt.Errorf("asking postconf for Postfix's settings: %w", err)
	}
	fresh, err = json.Marshal(now)
	return parsePostconf(now.Output), fresh, err
}

// askPostconf asks for mynetworks only as main.cf gives it (-n). Its default is
// made out of the addresses that postconf sees, and inside the unit's sandbox it
// sees none: there mynetworks_style has to tell.
func askPostconf() (string, error) {
	given, err := postconf("-x", "-n", "mynetworks")
	if err != nil {
		return "", err
	}
	others, err := postconf("-x", "mail_owner", "mynetworks_style", "proxy_interfaces", "relayhost")
	return given + others, err
}

func postconf(args ...string) (string, error) {
	output, err := exec.Command("postconf", args...).Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(failed.Stderr)))
	}
	return string(output), err
}

// parsePostconf reads postconf's "name = value" lines.
func parsePostconf(output string) Postfix {
	var p Postfix
	for line := range strings.Lines(output) {
		name, value, _ := strings.Cut(line, "=")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(name) {
		case "mail_owner":
			p.MailOwner = value
		case "mynetworks":
			p.readNetworks(value, 0)
		case "mynetworks_style":
			p.NetworksStyle = value
		case "proxy_interfaces":
			for _, word := range words(value) {
				if a, ok := parseHost(word); ok {
					p.ProxyInterfaces = append(p.ProxyInterfaces, a)
				} else {
					p.Unread = append(p.Unread, "proxy_interfaces: "+word)
				}
			}
		case "relayhost":
			if a, ok := parseHost(value); ok {
				p.RelayHost = append(p.RelayHost, a)
			} else if value != "" {
				p.Unread = append(p.Unread, "relayhost: "+value)
			}
		}
	}
	return p
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
