package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/ban"
)

// write makes files in a new directory and returns the path of its smtpban.toml,
// which need not be one of them.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "smtpban.toml")
}

// load reads files that must be right.
func load(t *testing.T, files map[string]string) Config {
	t.Helper()
	c, err := Load(write(t, files))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// compare fails unless both configurations are the same.
func compare(t *testing.T, got, want Config) {
	t.Helper()
	byText := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if diff := cmp.Diff(want, got, byText); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestEmptyFileGivesTheDefaults(t *testing.T) {
	compare(t, load(t, map[string]string{"smtpban.toml": ""}), Config{
		Policy: ban.DefaultPolicy(),
		Store:  Store{Path: "/var/lib/smtpban/smtpban.db"},
		Route:  Route{Protocol: 213, Table: 254, EndConnections: []uint16{25, 465, 587}, MaxIPv4: 200000, MaxIPv6: 50000},
	})
}

func TestEveryKeyIsRead(t *testing.T) {
	got := load(t, map[string]string{"smtpban.toml": `
[policy]
maxretry = 0x10
findtime = "7d"
bantime = "1h 30min"
bantime_factor = 1.5
bantime_max = "infinity"
forget = "0"
ipv4_prefix = 24
ipv6_prefix = 48
ignoreip = [
  "192.0.2.1", # the office
  "198.51.100.0/24",
  "2001:db8::/32",
  "::ffff:203.0.113.7",
  "::ffff:203.0.113.128/121",
]
[classes]
sasl-auth = 2
[service.submission.classes]
sasl-auth = 3
[service."my service"]
classes = { sasl-auth = 0 }
[journal]
directory = "/var/log/journal/remote"
postfix_user = "postfix"
[store]
path = "/srv/smtpban.db"
[route]
protocol = 214
table = 2147483647
end_connections = [65535, 1]
max_ipv4 = 1
max_ipv6 = 10000000
`})
	compare(t, got, Config{
		Policy: ban.Policy{
			MaxRetry:      16,
			FindTime:      7 * day,
			BanTime:       90 * time.Minute,
			BanTimeFactor: 1.5,
			BanTimeMax:    ban.Infinity,
			Forget:        0,
			IPv4Prefix:    24,
			IPv6Prefix:    48,
			Weights:       weights(ban.SASLAuth, 2),
			Services: map[string]map[ban.Class]int{
				"submission": {ban.SASLAuth: 3, ban.RelayDenied: 0, ban.AuthUnlogged: 0},
				"my service": {ban.SASLAuth: 0},
			},
			IgnoreIP: []netip.Prefix{
				netip.MustParsePrefix("192.0.2.1/32"),
				netip.MustParsePrefix("198.51.100.0/24"),
				netip.MustParsePrefix("2001:db8::/32"),
				netip.MustParsePrefix("203.0.113.7/32"),
				netip.MustParsePrefix("203.0.113.128/25"),
			},
		},
		Journal: Journal{Directory: "/var/log/journal/remote", PostfixUser: "postfix"},
		Store:   Store{Path: "/srv/smtpban.db"},
		Route:   Route{Protocol: 214, Table: 2147483647, EndConnections: []uint16{65535, 1}, MaxIPv4: 1, MaxIPv6: 10000000},
	})
}

func TestDropInsAreReadInOrderOfNameAndTheLastWins(t *testing.T) {
	want := Defaults()
	want.Policy.MaxRetry = 3               // 20 wins over 10 and the main file
	want.Policy.FindTime = 7 * day         // the main file's
	want.Route.EndConnections = []uint16{} // 20 turns it off, where 10 had a list of its own
	want.Policy.IgnoreIP = []netip.Prefix{ // all of them
		netip.MustParsePrefix("192.0.2.1/32"),
		netip.MustParsePrefix("192.0.2.2/32"),
		netip.MustParsePrefix("192.0.2.3/32"),
	}
	want.Policy.IgnoreName = []string{"mail.example.com", ".example.org"} // likewise, in lower case
	want.Policy.Weights = weights(ban.SASLAuth, 2)
	want.Policy.Services = map[string]map[ban.Class]int{"smtps": {ban.SASLAuth: 1}, "submission": {ban.SASLAuth: 5, ban.RelayDenied: 0, ban.AuthUnlogged: 0}}

	compare(t, load(t, map[string]string{
		"smtpban.toml": "policy.maxretry = 9\npolicy.findtime = '7d'\npolicy.ignoreip = ['192.0.2.1']\n" +
			"service.submission.classes.sasl-auth = 4\nservice.smtps.classes.sasl-auth = 1",
		"smtpban.d/20-last.toml":    "policy.maxretry = 3\npolicy.ignoreip = ['192.0.2.3']\npolicy.ignorename = ['.Example.ORG']\nroute.end_connections = []",
		"smtpban.d/10-first.toml":   "policy.maxretry = 7\npolicy.ignoreip = ['192.0.2.2']\npolicy.ignorename = ['mail.example.com']\nclasses.sasl-auth = 2\nservice.submission.classes.sasl-auth = 5\nroute.end_connections = [2525]",
		"smtpban.d/30-masked.toml":  "",
		"smtpban.d/.#20-last.toml":  "not read",
		"smtpban.d/README":          "not read",
		"smtpban.d/40.toml.disable": "not read",
	}), want)
}

func TestAllowedExtremesAreRead(t *testing.T) {
	for _, text := range []string{
		"policy.maxretry = 1", "policy.maxretry = 1000",
		"policy.findtime = '1s'", "policy.findtime = '52w'",
		"policy.bantime = '1s'", "policy.bantime = '12w'", "policy.bantime = 'infinity'",
		"policy.bantime = '1d'\npolicy.bantime_max = '1d'", "policy.bantime = 'infinity'\npolicy.bantime_max = '1s'",
		"policy.bantime_factor = 1", "policy.bantime_factor = 100.0",
		"policy.forget = 'infinity'",
		"policy.ipv4_prefix = 16", "policy.ipv4_prefix = 32", "policy.ipv6_prefix = 32", "policy.ipv6_prefix = 128",
		"policy.ignoreip = []", "policy.ignoreip = ['0.0.0.0/0', '::/0']",
		"classes.sasl-auth = 0", "classes.sasl-auth = 1000",
		"journal.directory = ''", "journal.postfix_user = ''", "journal.postfix_user = '4294967295'",
		"route.protocol = 5", "route.protocol = 255", "route.table = 1", "route.table = 256",
		"route.end_connections = []", "route.end_connections = [" + strings.Repeat("65535, ", 99) + "1]",
		"[policy]\n[classes]\n[service]\n[service.x]\n[service.x.classes]\n[journal]\n[store]\n[route]",
		"policy = {}", "# nothing\r\n\r\n[policy]\r\nmaxretry = 5\r\n",
	} {
		if _, err := Load(write(t, map[string]string{"smtpban.toml": text})); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestMissingMainFileIsAnErrorOnlyForLoad(t *testing.T) {
	path := write(t, map[string]string{"smtpban.d/a.toml": "policy.maxretry = 3"})
	got, err := LoadOptional(path)
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Policy.MaxRetry = 3
	compare(t, got, want)

	_, err = Load(path)
	if want := path + ": cannot be read: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("Load: %v, want %s", err, want)
	}
	var mistake *Error
	if !errors.As(err, &mistake) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load: %#v is no *Error that wraps fs.ErrNotExist", err)
	}
}

func TestMissingFileAndDropInsGiveTheDefaults(t *testing.T) {
	got, err := LoadOptional(write(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, got, Defaults())
}

func TestFileWithoutTheSuffixHasItsDropInsToo(t *testing.T) {
	path := write(t, map[string]string{"other.d/a.toml": "policy.maxretry = 3", "other": ""})
	got, err := Load(filepath.Join(filepath.Dir(path), "other"))
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Policy.MaxRetry = 3
	compare(t, got, want)
}

func TestDropInMaskedWithDevNullIsEmpty(t *testing.T) {
	path := write(t, map[string]string{"smtpban.toml": "", "smtpban.d/a.toml": ""})
	if err := os.Symlink("/dev/null", filepath.Join(filepath.Dir(path), "smtpban.d/b.toml")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err != nil {
		t.Error(err)
	}
}

func TestUnreadableFilesAreErrors(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string // DIR stands for the directory
	}{
		"main file is a directory":  {map[string]string{"smtpban.toml/x": ""}, "DIR/smtpban.toml: cannot be read: is a directory"},
		"drop-in is a directory":    {map[string]string{"smtpban.toml": "", "smtpban.d/a.toml/x": ""}, "DIR/smtpban.d/a.toml: cannot be read: is a directory"},
		"drop-in directory is none": {map[string]string{"smtpban.toml": "", "smtpban.d": ""}, "DIR/smtpban.d: cannot be read: not a directory"},
		"gigantic": {
			map[string]string{"smtpban.toml": strings.Repeat("#\n", 1<<19) + "#"},
			"DIR/smtpban.toml: larger than 1 MiB; is this a configuration file?",
		},
	} {
		path := write(t, c.files)
		_, err := LoadOptional(path)
		if want := strings.Replace(c.want, "DIR", filepath.Dir(path), 1); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

func TestFileOfOneMiBIsRead(t *testing.T) {
	const addresses = 80_000
	list := "policy.ignoreip = [" + strings.Repeat(`"192.0.2.1",`, addresses) + "]\n#"
	got := load(t, map[string]string{"smtpban.toml": list + strings.Repeat("#", 1<<20-len(list))})
	if n := len(got.Policy.IgnoreIP); n != addresses {
		t.Errorf("%d addresses, want %d", n, addresses)
	}
}

func TestBracketsWithoutEndAreRefused(t *testing.T) {
	for _, bracket := range []string{"[", "{a="} {
		path := write(t, map[string]string{"smtpban.toml": "a = " + strings.Repeat(bracket, 300_000)})
		var mistake *Error
		if _, err := Load(path); !errors.As(err, &mistake) || !strings.HasPrefix(mistake.Msg, "not TOML: ") {
			t.Errorf("%q: %v, want that it is not TOML", bracket, err)
		}
	}
}

func TestKeysOfATableTooDeepAreNotListed(t *testing.T) {
	for _, text := range []string{
		"[a.b.c.d]\nx = 1\ny.z = 2",
		"a.b.c.d = { x = 1, y.z = 2 }",
		"[a.b]\nc.d = { x = 1, y = { z = 2 } }",
	} {
		values, err := parse("FILE", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if last := values[len(values)-1]; last.key != "a.b.c.d" {
			t.Errorf("%q: listed up to %s", text, last.key)
		}
	}
}

func TestErrorsOfAllFilesAreReportedTogether(t *testing.T) {
	path := write(t, map[string]string{
		"smtpban.toml":     "[policy]\nmaxretry = 0\nmaxrety = 5\n\n[jurnal]\ndirectory = '/x'\n",
		"smtpban.d/a.toml": "x =",
		"smtpban.d/b.toml": "route.table = 'main'",
	})
	got, err := Load(path)
	compare(t, got, Config{})
	dir := filepath.Dir(path)
	want := strings.ReplaceAll(`DIR/smtpban.toml:2:12: policy.maxretry: must be a whole number from 1 to 1000, not 0
DIR/smtpban.toml:3:1: policy.maxrety: unknown key; known in [policy]: bantime, bantime_factor, bantime_max, findtime, forget, ignoreip, ignorename, ipv4_prefix, ipv6_prefix, maxretry
DIR/smtpban.toml:5:2: jurnal: unknown key; known sections: [policy], [classes], [service.NAME.classes], [journal], [store], [route], [metrics], [[publish]]
DIR/smtpban.d/a.toml:1:3: not TOML: expected value, not end of input
DIR/smtpban.d/b.toml:1:15: route.table: must be a whole number from 1 to 2147483647, not 'main'`, "DIR", dir)
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	var mistake *Error
	if !errors.As(err, &mistake) {
		t.Errorf("%#v joins no *Error", err)
	}
	first := Error{File: path, Line: 2, Column: 12, Key: "policy.maxretry", Msg: "must be a whole number from 1 to 1000, not 0"}
	if diff := cmp.Diff(&first, mistake); diff != "" {
		t.Errorf("first error (-want +got):\n%s", diff)
	}
}

func TestCrossKeyErrorsNameTheFileThatSetTheKey(t *testing.T) {
	for _, c := range []struct{ main, dropIn, want string }{
		{"policy.bantime = '13w'", "", "DIR/smtpban.toml:1:18: policy.bantime: must not be longer than bantime_max, which is 12w"},
		{"policy.maxretry = 3", "policy.bantime = '13w'", "DIR/smtpban.d/a.toml:1:18: policy.bantime: must not be longer than bantime_max, which is 12w"},
		{"policy.bantime_max = '1h'", "", "DIR/smtpban.toml:1:22: policy.bantime_max: must not be shorter than bantime, which is 1d"},
		{"policy.bantime_max = '1h'", "policy.bantime = '2h'", "DIR/smtpban.toml:1:22: policy.bantime_max: must not be shorter than bantime, which is 2h"},
		{"policy.bantime = '13w'", "policy.bantime_max = '90d'", "DIR/smtpban.d/a.toml:1:22: policy.bantime_max: must not be shorter than bantime, which is 13w"},
	} {
		path := write(t, map[string]string{"smtpban.toml": c.main, "smtpban.d/a.toml": c.dropIn})
		_, err := Load(path)
		if want := strings.Replace(c.want, "DIR", filepath.Dir(path), 1); err == nil || err.Error() != want {
			t.Errorf("%q and %q: %v, want %s", c.main, c.dropIn, err, want)
		}
	}
}

// weights returns the default ones but for one class.
func weights(c ban.Class, points int) map[ban.Class]int {
	all := ban.DefaultPolicy().Weights
	all[c] = points
	return all
}

// The keys that other programs rely on, with their defaults.
func TestConfigurationThatOthersRelyOnIsTheDefault(t *testing.T) {
	want := Defaults()
	compare(t, load(t, map[string]string{"smtpban.toml": `[policy]
maxretry = 5
findtime = "1d"
bantime = "1d"
bantime_factor = 2
bantime_max = "12w"
forget = "12w"
ipv4_prefix = 32
ipv6_prefix = 64
ignoreip = []
[classes]
sasl-auth = 1
[service.submission.classes]
relay-denied = 0
[journal]
directory = ""
postfix_user = ""
[store]
path = "/var/lib/smtpban/smtpban.db"
[route]
protocol = 213
table = 254
`}), want)
}

func TestListsToPublishAddUp(t *testing.T) {
	got := load(t, map[string]string{
		"smtpban.toml":     "[[publish]]\npath = '/a'\nformat = 'plain'\n[[publish]]\nformat = 'cidr'\npath = '/b'\n[policy]\nmaxretry = 5\n",
		"smtpban.d/a.toml": "[[publish]]\npath = '/c'\nformat = 'json'\n",
	})
	want := Defaults()
	want.Publish = []Publish{{"/a", Plain}, {"/b", CIDR}, {"/c", JSON}}
	compare(t, got, want)
}
