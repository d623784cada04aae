package guard

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// postfixes is a Postfix with several instances, and a postconf that answers for
// them.
type postfixes struct {
	t      *testing.T
	dir    string
	output map[string]string // by instance, what postconf prints
	asked  []string          // about which instances since the last read
	broken error             // of postconf
	cache  []byte
}

func newPostfixes(t *testing.T, output map[string]string) *postfixes {
	p := &postfixes{t: t, dir: t.TempDir(), output: output}
	for instance := range output {
		p.write(instance, "first\n")
	}
	return p
}

func (p *postfixes) write(instance, mainCF string) {
	p.t.Helper()
	dir := filepath.Join(p.dir, instance)
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "main.cf"), []byte(mainCF), 0o600)); err != nil {
		p.t.Fatal(err)
	}
}

// ask stands for postconf -c DIRECTORY -x [-n] NAME...
func (p *postfixes) ask(args ...string) (string, error) {
	instance := filepath.Base(args[1])
	if args[3] == "-n" {
		return "", p.broken
	}
	p.asked = append(p.asked, instance)
	return strings.ReplaceAll(p.output[instance], "DIR", p.dir), p.broken
}

// read reads the settings as a run does, and keeps the answer for the next.
func (p *postfixes) read() (got Postfix, fresh bool, err error) {
	p.asked = nil
	got, answer, err := readPostfix(filepath.Join(p.dir, "postfix"), p.cache, p.ask)
	if answer != nil {
		p.cache = answer
	}
	for i := range got.Unread {
		got.Unread[i] = strings.ReplaceAll(got.Unread[i], p.dir, "DIR")
	}
	return got, answer != nil, err
}

// check reads and compares all that came of it.
func (p *postfixes) check(want Postfix, fresh bool, failed error, asked ...string) {
	p.t.Helper()
	got, gotFresh, err := p.read()
	if diff := cmp.Diff(want, got, compare); diff != "" {
		p.t.Errorf("(-want +got):\n%s", diff)
	}
	if gotFresh != fresh || !errors.Is(err, failed) {
		p.t.Errorf("fresh %v, error %v; want %v, %v", gotFresh, err, fresh, failed)
	}
	if diff := cmp.Diff(asked, p.asked); diff != "" {
		p.t.Errorf("asked about (-want +got):\n%s", diff)
	}
}

func TestAllInstancesOfPostfixSayWhomToTrust(t *testing.T) {
	p := newPostfixes(t, map[string]string{
		"postfix":     "mail_owner = postfix\nmynetworks = 192.0.2.0/24\nmynetworks_style = host\nmulti_instance_directories = DIR/postfix-in, DIR/postfix-out DIR/postfix-gone\n",
		"postfix-in":  "mail_owner = other\nmynetworks_style = subnet\nproxy_interfaces = 203.0.113.1\nmulti_instance_directories = DIR/elsewhere\n",
		"postfix-out": "mynetworks = 198.51.100.0/24\nrelayhost = relay.example.test\n",
	})
	want := Postfix{
		MailOwner:       "postfix",
		MyNetworks:      prefixes("192.0.2.0/24", "198.51.100.0/24"),
		OwnNetworks:     true,
		ProxyInterfaces: addrs("203.0.113.1"),
		Unread:          []string{"DIR/postfix-out: relayhost: relay.example.test"},
	}
	p.check(want, true, nil, "postfix", "postfix-in", "postfix-out")
	p.check(want, false, nil) // nothing has changed: postconf is not asked

	p.output["postfix-out"] = "mynetworks = 198.51.100.0/24\nrelayhost = [203.0.113.25]\n"
	p.write("postfix-out", "second main.cf\n")
	p.broken = errors.New("broken")
	p.check(want, false, p.broken) // the old answer still holds
	p.broken = nil
	want.Unread, want.RelayHost = nil, addrs("203.0.113.25")
	p.check(want, true, nil, "postfix-out")
	p.check(want, false, nil)

	p.output["postfix"] = "mail_owner = postfix\nmynetworks = 192.0.2.0/24\nmulti_instance_directories =\n"
	if err := os.Chtimes(filepath.Join(p.dir, "postfix", "main.cf"), time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	want = Postfix{MailOwner: "postfix", MyNetworks: prefixes("192.0.2.0/24")}
	p.check(want, true, nil, "postfix")
	p.check(want, false, nil)
}

func TestAnswerInTheFormOfOneInstanceIsAskedForAgain(t *testing.T) {
	p := newPostfixes(t, map[string]string{"postfix": "mynetworks = 192.0.2.0/24\n"})
	p.cache = []byte(`{"inode":7,"size":6,"mtime":1,"output":"mynetworks = 198.51.100.0/24\n"}`)
	p.check(Postfix{MyNetworks: prefixes("192.0.2.0/24")}, true, nil, "postfix")
}

func TestWithoutPostfixThereIsNothingToRead(t *testing.T) {
	newPostfixes(t, nil).check(Postfix{}, false, nil)
}
