package report_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/report"
)

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
  "unknown": [],
  "host": "",
  "quiet": true,
  "headline": "nothing happened",
  "words": [
    "Nothing happened; no ban is in force."
  ],
  "attackers": 0,
  "changes": {
    "new": {
      "count": 0,
      "bans": []
    },
    "renewed": {
      "count": 0,
      "bans": []
    },
    "by_hand": {
      "count": 0,
      "bans": []
    },
    "protected": {
      "count": 0,
      "bans": []
    },
    "held": {
      "count": 0,
      "bans": []
    },
    "expired": {
      "count": 0,
      "bans": []
    },
    "lapsed": {
      "count": 0,
      "bans": []
    },
    "lifted": {
      "count": 0,
      "bans": []
    }
  },
  "maxretry": 0,
  "near_misses": [],
  "more_near_misses": 0,
  "networks": [],
  "users": [],
  "other_users": 0,
  "hours": []
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
