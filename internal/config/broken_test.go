package config

import (
	"strings"
	"testing"
)

// brokenFiles are files that Load refuses, with its error. They also seed the
// fuzzing.
func brokenFiles() []struct{ text, want string } {
	const (
		sections     = "unknown key; known sections: [policy], [classes], [service.NAME.classes], [journal], [store], [route], [metrics], [[publish]]"
		policyKeys   = "unknown key; known in [policy]: bantime, bantime_factor, bantime_max, findtime, forget, ignoreip, ignorename, ipv4_prefix, ipv6_prefix, maxretry"
		knownClasses = "sasl-auth, auth-unlogged, auth-rate-limit, lost-connection-after-auth, relay-denied, user-unknown, dnsbl, " +
			"helo-reject, client-reject, sender-reject, policy-reject, milter-reject, non-smtp, pipelining, bare-newline, " +
			"too-many-errors, lost-connection, rate-limit, tls-error, rdns-mismatch, pregreet, dnsbl-rank, postscreen-limit, hangup"
		weightsOnly = "unknown key; a service has only its weights, in [service.NAME.classes]"
		finite      = `must be a time span from 1s to 52w in quotes, such as "1d" or "1h 30min"`
		endless     = `must be a time span from 1s to infinity in quotes, such as "1d" or "1h 30min"`
		orNone      = `must be a time span from 0 to infinity in quotes, such as "1d" or "1h 30min"`
		units       = "; known: us, ms, s, min, h, d, w, month, y"
		array       = `must be an array of addresses and prefixes in quotes, such as ["192.0.2.1", "2001:db8::/32"]`
		nameArray   = `must be an array of ends of host names in quotes, such as [".example.org", "mail.example.com"]`
		notName     = ` is no host name or end of one, such as "mail.example.com" or ".example.org"`
		notPrefix   = ` is no address and no prefix, such as "192.0.2.1" or "2001:db8::/32"`
		absOrLocal  = `must be an absolute path in quotes, or "" for the local journal`
		ports       = "must be an array of at most 100 ports, such as [25, 587], or [] for none"
		port        = "must be a whole number from 1 to 65535"
		userOrUID   = `must be a user name or uid in quotes, or "" for Postfix's mail_owner`
		taken       = "; taken: 8 gated, 9 ra, 10 mrt, 11 zebra, 12 bird, 13 dnrouted, 14 xorp, 15 ntk, 16 dhcp, 17 mrouted, 18 keepalived, 42 babel, 66 google, 99 openr, 186 bgp, 187 isis, 188 ospf, 189 rip, 190 ripng, 191 nhrp, 192 eigrp, 193 ldp, 194 sharp, 195 pbr, 196 zstatic, 197 openfabric, 198 srte"
	)
	return []struct{ text, want string }{
		{"x =", "1:3: not TOML: expected value, not end of input"},
		{"[policy", "1:7: not TOML: expected ']' to close table name"},
		{"[policy]\nmaxretry = 1\nmaxretry = 2", "3:1: not TOML: key maxretry is already defined"},
		{"[policy]\n[policy]", "2:2: not TOML: table policy already exists"},
		{"policy.maxretry = 1\n[policy]\nfindtime = '1d'", "2:2: not TOML: table policy already exists as defined by a dotted key"},
		{"policy.maxretry = 1 policy.findtime = '1d'", "1:21: not TOML: expected newline but got U+0070 'p'"},
		{"policy.maxretry", "1:15: not TOML: expected '=' after key"},
		{"policy.maxretry = five", `1:19: not TOML: expected keyword "false"`},
		{"policy.maxretry = 05", "1:19: not TOML: integers cannot have leading zeroes"},
		{"policy.maxretry = 99999999999999999999", "1:19: not TOML: decimal number is too large to fit in a 64-bit signed integer"},
		{`policy.findtime = "1d`, "1:21: not TOML: unterminated basic string"},
		{"policy.findtime = 1d", "1:20: not TOML: strings must be quoted"},
		{"policy.findtime = 1h 30min", "1:20: not TOML: strings must be quoted"},
		{"store.path = /var/lib/smtpban.db", "1:14: not TOML: unexpected character U+002F '/' at start of value"},
		{"route.table = main", "1:15: not TOML: unexpected character U+006D 'm' at start of value"},
		{`policy.findtime = "\q"`, "1:20: not TOML: invalid escape character U+0071 'q'"},
		{"policy.ignoreip = ['192.0.2.1'", "1:30: not TOML: array is incomplete"},
		{"policy.bantime_factor = 1e999", `1:25: not TOML: unable to parse float: strconv.ParseFloat: parsing "1e999": value out of range`},
		{"policy.findtime = 2026-13-01", "1:24: not TOML: impossible date"},
		{"policy = { maxretry = 1, maxretry = 2 }", "1:1: not TOML: key maxretry is already defined"},
		{"\x00", "1:1: not TOML: invalid character at start of key: U+0000"},
		{"[policy]\nfindtime = '\xff'", "2:13: not UTF-8 text"},
		{"\ufeffpolicy.maxretry = 5", "1:1: not TOML: invalid character at start of key: U+00EF 'ï'"},
		{"maxretry = 5", "1:1: maxretry: " + sections},
		{"x.y.z = 5", "1:1: x.y.z: " + sections},
		{"[polcy]\nmaxretry = 5\nfindtime = '1d'", "1:2: polcy: " + sections},
		{"[policy]\nmaxrety = 5", "2:1: policy.maxrety: " + policyKeys},
		{"[policy]\nMaxRetry = 5", "2:1: policy.MaxRetry: " + policyKeys},
		{"[policy]\n\"max retry\" = 5", `2:1: policy."max retry": ` + policyKeys},
		{`"policy.maxretry" = 5`, `1:1: "policy.maxretry": ` + sections},
		{"[policy.sub]\nx = 1", "1:2: policy.sub: " + policyKeys},
		{"[journal]\npath = '/x'", "2:1: journal.path: unknown key; known in [journal]: directory, postfix_user"},
		{"[store]\ndirectory = '/x'", "2:1: store.directory: unknown key; known in [store]: path"},
		{"[route]\nmetric = 1", "2:1: route.metric: unknown key; known in [route]: end_connections, max_ipv4, max_ipv6, protocol, table"},
		{"policy = 5", "1:1: policy: must be a table, [policy], not 5"},
		{"policy = []", "1:1: policy: must be a table, [policy], not an array"},
		{"[[policy]]\nmaxretry = 5", "1:3: policy: must be a single table, not [[policy]]"},
		{"[[publish]]\nformat = 'plain'", "1:3: publish: has no path"},
		{"[[publish]]\npath = '/x'", "1:3: publish: has no format; known: plain, cidr, rbldnsd, nft, json"},
		{"[[publish]]\npath = 'x'\nformat = 'plain'", "2:8: publish.path: must be an absolute path in quotes, not 'x'"},
		{"[[publish]]\npath = '/x'\nformat = 'xml'", "3:10: publish.format: must be one of these: plain, cidr, rbldnsd, nft, json, not 'xml'"},
		{"[[publish]]\npath = '/x'\nformat = 'nft'\n[[publish]]\npath = '/y/../x'\nformat = 'nft'", "4:3: publish: the path \"/y/../x\" is taken by the state, the metrics or another list"},
		{"[[publish]]\npath = '/var/lib/smtpban/smtpban.db'\nformat = 'nft'", "1:3: publish: the path \"/var/lib/smtpban/smtpban.db\" is taken by the state, the metrics or another list"},
		{"[metrics]\ntextfile = '/x.prom'\n[[publish]]\npath = '/x.prom'\nformat = 'nft'", "3:3: publish: the path \"/x.prom\" is taken by the state, the metrics or another list"},
		{"[metrics]\ntextfile = '/x.prom'\n[store]\npath = '/x.prom'", "2:12: metrics.textfile: the path \"/x.prom\" is taken by the state"},
		{"[metrics]\ntextfile = '/x.txt'", "2:12: metrics.textfile: must be an absolute path that ends in .prom, in quotes, or \"\" for none, not '/x.txt'"},
		{"[metrics]\ntextfile = 'x.prom'", "2:12: metrics.textfile: must be an absolute path that ends in .prom, in quotes, or \"\" for none, not 'x.prom'"},
		{"[metrics]\npath = '/x'", "2:1: metrics.path: unknown key; known in [metrics]: textfile"},
		{"[[publish]]\nname = 'x'", "2:1: publish.name: unknown key; known in [[publish]]: format, path"},
		{"[publish]\npath = '/x'", "1:2: publish: must be a list of tables, [[publish]], each with a path and a format"},
		{"publish.path = '/x'", "1:1: publish.path: must be a list of tables, [[publish]], each with a path and a format"},
		{"[policy.maxretry]", "1:2: policy.maxretry: must be a whole number from 1 to 1000, not a table"},
		{"policy.maxretry = { low = 1 }", "1:19: policy.maxretry: must be a whole number from 1 to 1000, not a table"},
		{"policy.maxretry = 0", "1:19: policy.maxretry: must be a whole number from 1 to 1000, not 0"},
		{"policy.maxretry = -5", "1:19: policy.maxretry: must be a whole number from 1 to 1000, not -5"},
		{"policy.maxretry = 1001", "1:19: policy.maxretry: must be a whole number from 1 to 1000, not 1001"},
		{"policy.maxretry = 5.0", "1:19: policy.maxretry: must be a whole number from 1 to 1000, not 5.0"},
		{"policy.maxretry = '5'", "1:19: policy.maxretry: must be a whole number from 1 to 1000, not '5'"},
		{"policy.maxretry = true", "1:19: policy.maxretry: must be a whole number from 1 to 1000, not true"},
		{"policy.maxretry = []", "1:1: policy.maxretry: must be a whole number from 1 to 1000, not an array"},
		{"policy.maxretry = 2026-03-01", "1:19: policy.maxretry: must be a whole number from 1 to 1000, not 2026-03-01"},
		{"policy.findtime = '0'", "1:19: policy.findtime: " + finite + ", not '0'"},
		{"policy.findtime = '500ms'", "1:19: policy.findtime: " + finite + ", not '500ms'"},
		{"policy.findtime = '53w'", "1:19: policy.findtime: " + finite + ", not '53w'"},
		{"policy.findtime = 'infinity'", "1:19: policy.findtime: " + finite + ", not 'infinity'"},
		{"policy.findtime = 86400", "1:19: policy.findtime: " + finite + ", not 86400"},
		{"policy.findtime = ''", "1:19: policy.findtime: " + finite + ": empty time span"},
		{"policy.findtime = '-1d'", "1:19: policy.findtime: " + finite + `: time span "-1d": must not be negative`},
		{"policy.findtime = '7 dayz'", "1:19: policy.findtime: " + finite + `: time span "7 dayz": unknown unit "dayz"` + units},
		{"policy.findtime = \"\"\"\n1d 1x\"\"\"", "1:19: policy.findtime: " + finite + `: time span "1d 1x": unknown unit "x"` + units},
		{"policy.bantime = '0s'", "1:18: policy.bantime: " + endless + ", not '0s'"},
		{"policy.bantime = '300y'", "1:18: policy.bantime: " + endless + `: time span "300y": longer than 292 years; for no end write "infinity"`},
		{"policy.bantime = inf", "1:18: policy.bantime: " + endless + ", not inf"},
		{"policy.bantime = ['1d']", "1:1: policy.bantime: " + endless + ", not an array"},
		{"policy.bantime_factor = 0.5", "1:25: policy.bantime_factor: must be a number from 1 to 100, not 0.5"},
		{"policy.bantime_factor = 101", "1:25: policy.bantime_factor: must be a number from 1 to 100, not 101"},
		{"policy.bantime_factor = nan", "1:25: policy.bantime_factor: must be a number from 1 to 100, not nan"},
		{"policy.bantime_factor = inf", "1:25: policy.bantime_factor: must be a number from 1 to 100, not inf"},
		{"policy.bantime_factor = '2'", "1:25: policy.bantime_factor: must be a number from 1 to 100, not '2'"},
		{"policy.bantime_max = '1h'", "1:22: policy.bantime_max: must not be shorter than bantime, which is 1d"},
		{"policy.bantime = '13w'", "1:18: policy.bantime: must not be longer than bantime_max, which is 12w"},
		{"policy.bantime_max = 12", "1:22: policy.bantime_max: " + endless + ", not 12"},
		{"policy.forget = '-1'", "1:17: policy.forget: " + orNone + `: time span "-1": must not be negative`},
		{"policy.forget = 1.5", "1:17: policy.forget: " + orNone + ", not 1.5"},
		{"policy.ipv4_prefix = 15", "1:22: policy.ipv4_prefix: must be a whole number from 16 to 32, not 15"},
		{"policy.ipv4_prefix = 33", "1:22: policy.ipv4_prefix: must be a whole number from 16 to 32, not 33"},
		{"policy.ipv6_prefix = 31", "1:22: policy.ipv6_prefix: must be a whole number from 32 to 128, not 31"},
		{"policy.ipv6_prefix = 129", "1:22: policy.ipv6_prefix: must be a whole number from 32 to 128, not 129"},
		{"policy.ipv6_prefix = '/64'", "1:22: policy.ipv6_prefix: must be a whole number from 32 to 128, not '/64'"},
		{"policy.ignoreip = '192.0.2.1'", "1:19: policy.ignoreip: " + array + ", not '192.0.2.1'"},
		{"policy.ignoreip = ['192.0.2.1', 5]", "1:33: policy.ignoreip: " + array + ", not of 5"},
		{"policy.ignoreip = ['192.0.2.1', ['192.0.2.2']]", "1:1: policy.ignoreip: " + array + ", not of an array"},
		{"policy.ignoreip = [{ address = '192.0.2.1' }]", "1:20: policy.ignoreip: " + array + ", not of a table"},
		{"policy.ignoreip = ['192.0.2.1',\n  '192.0.2.300']", `2:3: policy.ignoreip: "192.0.2.300"` + notPrefix},
		{"policy.ignoreip = ['192.0.2.1/33']", `1:20: policy.ignoreip: "192.0.2.1/33"` + notPrefix},
		{"policy.ignoreip = ['192.0.2.1/24']", `1:20: policy.ignoreip: "192.0.2.1/24" has bits set beyond its prefix length; did you mean "192.0.2.0/24"?`},
		{"policy.ignoreip = ['2001:db8::1/64']", `1:20: policy.ignoreip: "2001:db8::1/64" has bits set beyond its prefix length; did you mean "2001:db8::/64"?`},
		{"policy.ignoreip = ['::ffff:192.0.2.1/120']", `1:20: policy.ignoreip: "::ffff:192.0.2.1/120" has bits set beyond its prefix length; did you mean "::ffff:192.0.2.0/120"?`},
		{"policy.ignoreip = ['fe80::1%eth0']", `1:20: policy.ignoreip: "fe80::1%eth0": an address without zone is wanted, such as "fe80::1"`},
		{"policy.ignoreip = ['mail.example.com']", `1:20: policy.ignoreip: "mail.example.com"` + notPrefix},
		{"policy.ignoreip = ['']", `1:20: policy.ignoreip: ""` + notPrefix},
		{"policy.ignoreip = ['192.0.2.1 ']", `1:20: policy.ignoreip: "192.0.2.1 "` + notPrefix},
		{"policy.ignorename = 'example.org'", "1:21: policy.ignorename: " + nameArray + ", not 'example.org'"},
		{"policy.ignorename = [true]", "1:22: policy.ignorename: " + nameArray + ", not of true"},
		{"policy.ignorename = ['']", `1:22: policy.ignorename: ""` + notName},
		{"policy.ignorename = ['.']", `1:22: policy.ignorename: "."` + notName},
		{"policy.ignorename = ['..example.org']", `1:22: policy.ignorename: "..example.org"` + notName},
		{"policy.ignorename = ['example.org.']", `1:22: policy.ignorename: "example.org."` + notName},
		{"policy.ignorename = ['mail.example.com',\n  '*.example.org']", `2:3: policy.ignorename: "*.example.org"` + notName},
		{"policy.ignorename = ['mail example']", `1:22: policy.ignorename: "mail example"` + notName},
		{"policy.ignorename = ['192.0.2.1']", `1:22: policy.ignorename: "192.0.2.1" is an address; list it in ignoreip`},
		{"policy.ignorename = ['2001:db8::/32']", `1:22: policy.ignorename: "2001:db8::/32" is an address; list it in ignoreip`},
		{"policy.ignorename = ['.bücher.example']", `1:22: policy.ignorename: ".bücher.example" must be written as in the DNS, with xn--`},
		{"policy.ignorename = ['" + strings.Repeat("a", 52) + ".example.org']",
			`1:22: policy.ignorename: "` + strings.Repeat("a", 52) + `.example.org" is too long: so many bytes of a name are not kept, only 63`},
		{"classes = 1", "1:1: classes: must be a table, [classes], not 1"},
		{"[classes]\nsasl-auht = 1", `2:1: classes.sasl-auht: unknown class "sasl-auht"; known: ` + knownClasses},
		{"classes.login = 1", "1:1: classes.login: a login is a success and never counts"},
		{"classes.sasl-auth = -1", "1:21: classes.sasl-auth: must be a whole number from 0 to 1000, not -1"},
		{"classes.sasl-auth = 1001", "1:21: classes.sasl-auth: must be a whole number from 0 to 1000, not 1001"},
		{"classes.sasl-auth = 0.5", "1:21: classes.sasl-auth: must be a whole number from 0 to 1000, not 0.5"},
		{"classes.sasl-auth = 'one'", "1:21: classes.sasl-auth: must be a whole number from 0 to 1000, not 'one'"},
		{"[classes.sasl-auth]\nweight = 1", "1:2: classes.sasl-auth: must be a whole number from 0 to 1000, not a table"},
		{"[classes.other]\nweight = 1", `1:2: classes.other: unknown class "other"; known: ` + knownClasses},
		{"service = 'submission'", "1:1: service: must be a table, [service], not 'submission'"},
		{"service.submission = 2", "1:1: service.submission: must be a table, [service.submission], not 2"},
		{"[service.\"postfix/submission/smtpd\".classes]\nsasl-auth = 2", `2:1: service."postfix/submission/smtpd".classes.sasl-auth: a service is the middle part of a tag: submission for postfix/submission/smtpd`},
		{"service.submission.sasl-auth = 2", "1:1: service.submission.sasl-auth: " + weightsOnly},
		{"service.submission.classes = 2", "1:1: service.submission.classes: must be a table, [service.submission.classes], not 2"},
		{"service.submission.classes.bad = 2", `1:1: service.submission.classes.bad: unknown class "bad"; known: ` + knownClasses},
		{"service.submission.classes.sasl-auth = 1.5", "1:40: service.submission.classes.sasl-auth: must be a whole number from 0 to 1000, not 1.5"},
		{`service."my service".classes.sasl-auth = 1.5`, `1:42: service."my service".classes.sasl-auth: must be a whole number from 0 to 1000, not 1.5`},
		{"service.submission.weights.sasl-auth = 2", "1:1: service.submission.weights.sasl-auth: " + weightsOnly},
		{"[service.\"\".classes]\nsasl-auth = 1", `1:2: service."".classes: ` + weightsOnly},
		{"journal.directory = 'journal'", "1:21: journal.directory: " + absOrLocal + ", not 'journal'"},
		{"journal.directory = true", "1:21: journal.directory: " + absOrLocal + ", not true"},
		{`journal.directory = "/x\u0000"`, "1:21: journal.directory: " + absOrLocal + `, not "/x\u0000"`},
		{"journal.postfix_user = 89", "1:24: journal.postfix_user: " + userOrUID + ", not 89"},
		{"journal.postfix_user = '4294967296'", "1:24: journal.postfix_user: " + userOrUID + ", not '4294967296'"},
		{"journal.postfix_user = 'post fix'", "1:24: journal.postfix_user: " + userOrUID + ", not 'post fix'"},
		{"journal.postfix_user = '/usr'", "1:24: journal.postfix_user: " + userOrUID + ", not '/usr'"},
		{"store.path = ''", "1:14: store.path: must be an absolute path in quotes, not ''"},
		{"store.path = 'smtpban.db'", "1:14: store.path: must be an absolute path in quotes, not 'smtpban.db'"},
		{"store.path = 1", "1:14: store.path: must be an absolute path in quotes, not 1"},
		{"route.protocol = 4", "1:18: route.protocol: must be a whole number from 5 to 255, not 4"},
		{"route.protocol = 256", "1:18: route.protocol: must be a whole number from 5 to 255, not 256"},
		{"route.protocol = 16", "1:18: route.protocol: must be a number that nobody else uses, not 16" + taken},
		{"route.protocol = 186", "1:18: route.protocol: must be a number that nobody else uses, not 186" + taken},
		{"route.protocol = 'smtpban'", "1:18: route.protocol: must be a whole number from 5 to 255, not 'smtpban'"},
		{"route.table = 0", "1:15: route.table: must be a whole number from 1 to 2147483647, not 0"},
		{"route.table = 255", "1:15: route.table: must not be 255, the kernel's table local; 254 is main"},
		{"route.table = 2147483648", "1:15: route.table: must be a whole number from 1 to 2147483647, not 2147483648"},
		{"route.table = 'main'", "1:15: route.table: must be a whole number from 1 to 2147483647, not 'main'"},
		{"route.max_ipv4 = 0", "1:18: route.max_ipv4: must be a whole number from 1 to 10000000, not 0"},
		{"route.max_ipv6 = 10000001", "1:18: route.max_ipv6: must be a whole number from 1 to 10000000, not 10000001"},
		{"route.end_connections = 25", "1:25: route.end_connections: " + ports + ", not 25"},
		{"route.end_connections = 'smtp'", "1:25: route.end_connections: " + ports + ", not 'smtp'"},
		{"route.end_connections = [25, 0]", "1:30: route.end_connections: " + port + ", not 0"},
		{"route.end_connections = [25,\n  65536]", "2:3: route.end_connections: " + port + ", not 65536"},
		{"route.end_connections = ['smtp']", "1:26: route.end_connections: " + port + ", not 'smtp'"},
		{"route.end_connections = [" + strings.Repeat("25, ", 101) + "]", "1:1: route.end_connections: " + ports + ", not 101"},
	}
}

func TestBrokenFilesAreRefusedWithPositionAndAllowedValues(t *testing.T) {
	for _, c := range brokenFiles() {
		path := write(t, map[string]string{"smtpban.toml": c.text})
		got, err := Load(path)
		if err == nil {
			t.Errorf("%q is read, want error %s", c.text, c.want)
			continue
		}
		if where, ok := strings.CutPrefix(err.Error(), path+":"); !ok || where != c.want {
			t.Errorf("%q:\n got %v\nwant FILE:%s", c.text, err, c.want)
		}
		compare(t, got, Config{})
	}
}
