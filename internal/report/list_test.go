package report_test

import (
	"bytes"
	"io"
	"testing"

	"smtpban/internal/ban"
	"smtpban/internal/report"
)

// published are the targets of three bans, one of which is narrowed and one overlaps.
func published() []report.Published {
	_, first := convict("203.0.113.9/32", 5, 0)
	_, second := convict("2001:db8:1::/64", 5, 0)
	narrowed := ban.Ban{Prefix: prefix("198.51.100.0/24"), Start: at(1), Until: ban.Forever, Count: 1, Origin: ban.OriginManual}
	_, protected := convict("192.0.2.1/32", 5, 0)
	return report.Publication([]report.Ban{
		{Ban: second, Targets: prefixes("2001:db8:1::/64")},
		{Ban: narrowed, Targets: prefixes("198.51.100.7/32", "198.51.100.128/25")},
		{Ban: protected},
		{Ban: first, Targets: prefixes("203.0.113.9/32")},
		{Ban: first, Targets: prefixes("203.0.113.9/32")},
	})
}

func TestWhatIsBlockedIsPublishedInEachForm(t *testing.T) {
	for name, tc := range map[string]struct {
		write func(io.Writer, []report.Published) error
		want  string
		empty string
	}{
		"plain": {report.WritePlain, "198.51.100.7\n198.51.100.128/25\n203.0.113.9\n2001:db8:1::/64\n", ""},
		"cidr":  {report.WriteCIDR, "198.51.100.7/32 reject\n198.51.100.128/25 reject\n203.0.113.9/32 reject\n2001:db8:1::/64 reject\n", ""},
		"rbldnsd": {report.WriteRBLDNSD, `$DATASET ip4trie:ipv4 @
:127.0.0.2:$ is banned by smtpban
198.51.100.7/32
198.51.100.128/25
203.0.113.9/32
$DATASET ip6trie:ipv6 @
:127.0.0.2:$ is banned by smtpban
2001:db8:1::/64
`, `$DATASET ip4trie:ipv4 @
:127.0.0.2:$ is banned by smtpban
$DATASET ip6trie:ipv6 @
:127.0.0.2:$ is banned by smtpban
`},
		"nft": {report.WriteNFT, `add table inet smtpban
add set inet smtpban banned4 { type ipv4_addr; flags interval; auto-merge; }
flush set inet smtpban banned4
add element inet smtpban banned4 {
  198.51.100.7/32,
  198.51.100.128/25,
  203.0.113.9/32,
}
add set inet smtpban banned6 { type ipv6_addr; flags interval; auto-merge; }
flush set inet smtpban banned6
add element inet smtpban banned6 {
  2001:db8:1::/64,
}
`, `add table inet smtpban
add set inet smtpban banned4 { type ipv4_addr; flags interval; auto-merge; }
flush set inet smtpban banned4
add set inet smtpban banned6 { type ipv6_addr; flags interval; auto-merge; }
flush set inet smtpban banned6
`},
		"json": {report.WritePublishedJSON, `[
  {
    "prefix": "198.51.100.7/32",
    "class": null,
    "start": "2026-11-03T13:00:00.000000Z",
    "until": null,
    "origin": "manual"
  },
  {
    "prefix": "198.51.100.128/25",
    "class": null,
    "start": "2026-11-03T13:00:00.000000Z",
    "until": null,
    "origin": "manual"
  },
  {
    "prefix": "203.0.113.9/32",
    "class": "sasl-auth",
    "start": "2026-11-03T12:00:00.000000Z",
    "until": "2026-11-04T12:00:00.000000Z",
    "origin": "journal"
  },
  {
    "prefix": "2001:db8:1::/64",
    "class": "sasl-auth",
    "start": "2026-11-03T12:00:00.000000Z",
    "until": "2026-11-04T12:00:00.000000Z",
    "origin": "journal"
  }
]
`, "[]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var got, empty bytes.Buffer
			if err := tc.write(&got, published()); err != nil {
				t.Fatal(err)
			}
			if err := tc.write(&empty, nil); err != nil {
				t.Fatal(err)
			}
			check(t, tc.want, got.String())
			check(t, tc.empty, empty.String())
		})
	}
}
