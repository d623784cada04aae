package report_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/report"
)

const sampleJSON = `{
  "since": null,
  "until": "2026-11-03T12:00:00.000000Z",
  "clients": [
    {
      "client": "203.0.113.9",
      "failures": 12,
      "first": "2026-11-03T08:45:00.000000Z",
      "last": "2026-11-03T09:45:00.000000Z",
      "state": "blocked"
    },
    {
      "client": "192.0.2.25",
      "failures": 6,
      "first": "2026-11-03T10:00:00.000000Z",
      "last": "2026-11-03T11:00:00.000000Z",
      "state": "protected"
    },
    {
      "client": "2001:db8:1:2::/64",
      "failures": 5,
      "first": "2026-11-03T08:00:00.000000Z",
      "last": "2026-11-03T09:00:00.000000Z",
      "state": "open"
    },
    {
      "client": "198.51.100.200",
      "failures": 4,
      "first": "2026-11-01T00:00:00.000000Z",
      "last": "2026-11-01T11:00:00.000000Z",
      "state": "blocked"
    },
    {
      "client": "198.51.100.7",
      "failures": 3,
      "first": "2026-11-03T07:00:00.000000Z",
      "last": "2026-11-03T11:30:00.000000Z",
      "state": "open"
    }
  ],
  "bans": [
    {
      "prefix": "192.0.2.25/32",
      "class": "sasl-auth",
      "failures": 6,
      "start": "2026-11-03T11:00:00.000000Z",
      "until": "2026-11-04T11:00:00.000000Z",
      "count": 1,
      "origin": "journal",
      "reason": "",
      "route": false,
      "held": false
    },
    {
      "prefix": "198.51.100.128/25",
      "class": null,
      "failures": 0,
      "start": "2026-11-01T12:00:00.000000Z",
      "until": null,
      "count": 1,
      "origin": "manual",
      "reason": "spam from \u001b[31mBörse\u202e, see <ticket> 7",
      "route": true,
      "held": false
    },
    {
      "prefix": "203.0.113.9/32",
      "class": "sasl-auth",
      "failures": 12,
      "start": "2026-11-03T09:45:00.000000Z",
      "until": "2026-11-04T09:45:00.000000Z",
      "count": 1,
      "origin": "journal",
      "reason": "",
      "route": true,
      "held": false
    },
    {
      "prefix": "2001:db8:1:2::/64",
      "class": "sasl-auth",
      "failures": 5,
      "start": "2026-11-03T09:00:00.000000Z",
      "until": "2026-11-04T09:00:00.000000Z",
      "count": 1,
      "origin": "journal",
      "reason": "",
      "route": false,
      "held": false
    }
  ],
  "more_clients": 0,
  "more_bans": 0,
  "surplus": 0,
  "ineffective": [
    {
      "client": "203.0.113.9",
      "since": "2026-11-03T09:48:00.000000Z",
      "last": "2026-11-03T11:15:00.000000Z"
    }
  ],
  "classes": [
    {
      "class": "sasl-auth",
      "events": 33,
      "counted": 31
    },
    {
      "class": "dnsbl",
      "events": 7,
      "counted": 0
    },
    {
      "class": "login",
      "events": 4,
      "counted": 0
    },
    {
      "class": "class-77",
      "events": 1,
      "counted": 0
    }
  ],
  "gaps": [
    {
      "from": null,
      "to": null,
      "lost": null,
      "reason": "system@1.journal is damaged"
    },
    {
      "from": "2026-11-03T09:00:00.000000Z",
      "to": "2026-11-03T10:00:00.000000Z",
      "lost": null,
      "reason": "the last entry read is \u001b[31mgone"
    },
    {
      "from": null,
      "to": "2026-11-03T11:00:00.000000Z",
      "lost": 25004,
      "reason": "suppressed"
    }
  ],
  "unknown": [
    {
      "shape": "postscreen: NEW TEST from CLIENT",
      "lines": 3,
      "first": "2026-11-03T09:00:00.000000Z",
      "last": "2026-11-03T10:00:00.000000Z"
    },
    {
      "shape": "smtpd: warning: CLIENT: a \u001b[31mriddle",
      "lines": 2,
      "first": "2026-11-03T09:00:00.000000Z",
      "last": "2026-11-03T10:00:00.000000Z"
    }
  ]
}
`

func TestJSONOfAReport(t *testing.T) {
	var got bytes.Buffer
	if err := sample(t).WriteJSON(&got); err != nil {
		t.Fatal(err)
	}
	check(t, sampleJSON, got.String())
}

func TestJSONListsAreNeverNull(t *testing.T) {
	var list, object bytes.Buffer
	if err := report.WriteBansJSON(&list, nil); err != nil {
		t.Fatal(err)
	}
	check(t, "[]\n", list.String())
	if err := (report.Report{Since: at(-1), Until: noon}).WriteJSON(&object); err != nil {
		t.Fatal(err)
	}
	check(t, `{
  "since": "2026-11-03T11:00:00.000000Z",
  "until": "2026-11-03T12:00:00.000000Z",
  "clients": [],
  "bans": [],
  "more_clients": 0,
  "more_bans": 0,
  "surplus": 0,
  "ineffective": [],
  "classes": [],
  "gaps": [],
  "unknown": []
}
`, object.String())
}

func TestJSONTimesAreUTCWithMicroseconds(t *testing.T) {
	start := noon.Add(123456789 * time.Nanosecond).In(berlin)
	var got bytes.Buffer
	err := report.WriteBansJSON(&got, []report.Ban{{Ban: ban.Ban{Prefix: prefix("192.0.2.1/32"), Start: start, Until: at(1)}}})
	if err != nil {
		t.Fatal(err)
	}
	var bans []struct{ Start, Until string }
	if err := json.Unmarshal(got.Bytes(), &bans); err != nil {
		t.Fatal(err)
	}
	check(t, []struct{ Start, Until string }{{"2026-11-03T12:00:00.123456Z", "2026-11-03T13:00:00.000000Z"}}, bans)
}

func TestJSONKeepsOutsideTextAsItIs(t *testing.T) {
	const reason = "ä\u009b\u202e\U000e0041\U0001f600\x7f\"\\</script>\n"
	var got bytes.Buffer
	err := report.WriteBansJSON(&got, []report.Ban{{Ban: ban.Ban{Prefix: prefix("192.0.2.1/32"), Start: noon, Until: noon, Reason: reason}}})
	if err != nil {
		t.Fatal(err)
	}
	var bans []struct{ Reason string }
	if err := json.Unmarshal(got.Bytes(), &bans); err != nil {
		t.Fatal(err)
	}
	check(t, []struct{ Reason string }{{reason}}, bans)
}
