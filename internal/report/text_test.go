package report_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	"smtpban/internal/ban"
	"smtpban/internal/report"
)

const sampleText = `Attacks on Postfix from the beginning to 2026-11-03 13:00:00 CET

CLIENT             FAILURES  LATEST ATTEMPT           STATE
203.0.113.9        12        2026-11-03 10:45:00 CET  blocked
192.0.2.25         6         2026-11-03 12:00:00 CET  protected
2001:db8:1:2::/64  5         2026-11-03 10:00:00 CET  open
198.51.100.200     4         2026-11-01 12:00:00 CET  blocked
198.51.100.7       3         2026-11-03 12:30:00 CET  open

5 offending clients listed.

PREFIX             CLASS      FAILURES  START                    UNTIL                    COUNT  ROUTE      REASON
192.0.2.25/32      sasl-auth  6         2026-11-03 12:00:00 CET  2026-11-04 12:00:00 CET  1      protected
198.51.100.128/25  manual     0         2026-11-01 13:00:00 CET  forever                  1      yes        spam from ?[31mBörse?, see <ticket> 7
203.0.113.9/32     sasl-auth  12        2026-11-03 10:45:00 CET  2026-11-04 10:45:00 CET  1      yes
2001:db8:1:2::/64  sasl-auth  5         2026-11-03 10:00:00 CET  2026-11-04 10:00:00 CET  1      no

4 bans listed.

CLIENT       BLOCKED SINCE            LATEST FAILURE
203.0.113.9  2026-11-03 10:48:00 CET  2026-11-03 12:15:00 CET

1 ineffective bans listed.

The ban of these clients is not effective: Postfix logged failures of them more
than five minutes after our route blocked them. Likely causes:
- a proxy or load balancer in front, which tells Postfix the client by the PROXY
  protocol: block the client there;
- Postfix in a container, to which this system forwards what clients send even if it
  is blocked (net.ipv4.conf.*.rp_filter=0), or that has a network of its own;
- policy routing that answers the client by another table: see ip rule.

CLASS      EVENTS  COUNTED
sasl-auth  33      31
dnsbl      7       0
login      4       0
class-77   1       0

4 classes listed.

FROM                     TO                       LOST   REASON
-                        -                        -      system@1.journal is damaged
2026-11-03 10:00:00 CET  2026-11-03 11:00:00 CET  -      the last entry read is ?[31mgone
-                        2026-11-03 12:00:00 CET  25004  suppressed

3 gaps in the log listed.

LINES  LATEST                   SHAPE
3      2026-11-03 11:00:00 CET  postscreen: NEW TEST from CLIENT
2      2026-11-03 11:00:00 CET  smtpd: warning: CLIENT: a ?[31mriddle

2 unknown kinds of lines listed.
`

const bareText = `203.0.113.9        12  2026-11-03 10:45:00 CET  blocked
192.0.2.25         6   2026-11-03 12:00:00 CET  protected
2001:db8:1:2::/64  5   2026-11-03 10:00:00 CET  open
198.51.100.200     4   2026-11-01 12:00:00 CET  blocked
198.51.100.7       3   2026-11-03 12:30:00 CET  open

192.0.2.25/32      sasl-auth  6   2026-11-03 12:00:00 CET  2026-11-04 12:00:00 CET  1  protected
198.51.100.128/25  manual     0   2026-11-01 13:00:00 CET  forever                  1  yes        spam from ?[31mBörse?, see <ticket> 7
203.0.113.9/32     sasl-auth  12  2026-11-03 10:45:00 CET  2026-11-04 10:45:00 CET  1  yes
2001:db8:1:2::/64  sasl-auth  5   2026-11-03 10:00:00 CET  2026-11-04 10:00:00 CET  1  no

203.0.113.9  2026-11-03 10:48:00 CET  2026-11-03 12:15:00 CET

sasl-auth  33  31
dnsbl      7   0
login      4   0
class-77   1   0

-                        -                        -      system@1.journal is damaged
2026-11-03 10:00:00 CET  2026-11-03 11:00:00 CET  -      the last entry read is ?[31mgone
-                        2026-11-03 12:00:00 CET  25004  suppressed

3  2026-11-03 11:00:00 CET  postscreen: NEW TEST from CLIENT
2  2026-11-03 11:00:00 CET  smtpd: warning: CLIENT: a ?[31mriddle
`

const emptyText = `Attacks on Postfix from 2026-11-03 12:00:00 CET to 2026-11-03 13:00:00 CET

CLIENT  FAILURES  LATEST ATTEMPT  STATE

0 offending clients listed.

PREFIX  CLASS  FAILURES  START  UNTIL  COUNT  ROUTE  REASON

0 bans listed.
`

var berlin = time.FixedZone("CET", 3600)

func TestTextOfAReport(t *testing.T) {
	for name, tc := range map[string]struct {
		report report.Report
		legend bool
		want   string
	}{
		"with legend": {sample(t), true, sampleText},
		"without":     {sample(t), false, bareText},
		"empty":       {report.Report{Since: at(-1), Until: noon}, true, emptyText},
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := (report.Text{Location: berlin, Legend: tc.legend}).WriteReport(&got, tc.report); err != nil {
				t.Fatal(err)
			}
			check(t, tc.want, got.String())
		})
	}
}

// hostile is what a terminal or a pager should never see raw.
const hostile = "a\x00b\x1b[2Jc\rd\ne\tf\x7fg\u009b31mh\u202ei\u2028j\u00a0k\xffl\U000e0041m"

func TestOutsideTextCannotSteerATerminal(t *testing.T) {
	bans := []report.Ban{{Ban: ban.Ban{Prefix: prefix("192.0.2.1/32"), Start: noon, Until: noon, Origin: ban.OriginManual, Reason: hostile}}}
	var text, json bytes.Buffer
	if err := (report.Text{Location: time.UTC}).WriteBans(&text, bans); err != nil {
		t.Fatal(err)
	}
	if err := report.WriteBansJSON(&json, bans); err != nil {
		t.Fatal(err)
	}
	if want := "a?b?[2Jc?d?e?f?g?31mh?i?j?k\ufffdl?m\n"; !strings.HasSuffix(text.String(), "  "+want) {
		t.Errorf("%q does not end in %q", text.String(), want)
	}
	for name, out := range map[string]string{"text": text.String(), "JSON": json.String()} {
		for _, r := range out {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%s holds %U", name, r)
			}
		}
	}
}

var errFull = errors.New("no space left on device")

// disk takes so many bytes.
type disk int

func (d *disk) Write(p []byte) (int, error) {
	if *d -= disk(len(p)); *d < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestErrorsInWritingAreReported(t *testing.T) {
	r := sample(t)
	for size := range disk(len(sampleText)) {
		free := size
		if err := (report.Text{Location: berlin, Legend: true}).WriteReport(&free, r); !errors.Is(err, errFull) {
			t.Fatalf("text with room for %d bytes: %v", size, err)
		}
	}
	var free disk
	if err := r.WriteJSON(&free); !errors.Is(err, errFull) {
		t.Errorf("JSON: %v", err)
	}
}
