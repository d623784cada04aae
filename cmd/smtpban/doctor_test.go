package main

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/ban"
	"smtpban/internal/guard"
	"smtpban/internal/report"
)

// running are the units of a system on which all is well, 20 minutes after both
// services last ended.
const running = `Id=smtpban-block.timer
LoadState=loaded
ActiveState=active
SubState=waiting
UnitFileState=enabled

Id=smtpban-expire.timer
LoadState=loaded
ActiveState=active
SubState=waiting

Id=smtpban-block.service
ActiveState=inactive
Result=success
ExecMainStatus=0
ExecMainExitTimestampMonotonic=60000000

Id=smtpban-expire.service
ActiveState=inactive
Result=success
ExecMainStatus=0
ExecMainExitTimestampMonotonic=0

Id=smtpban-restore.service
LoadState=loaded
UnitFileState=enabled
Result=success
`

func TestLastRunMayBeLongAgoOnlyWhereAnotherRunsOrTheTimerIsNew(t *testing.T) {
	const long = "the last run of smtpban-block.service was 20m0s ago"
	for what, test := range map[string]struct {
		unit, property, value string
		want                  report.Check
	}{
		"as it is": {want: report.Check{Result: report.Warning, Found: long, Remedy: "systemctl list-timers 'smtpban-*'"}},
		"it runs": {"smtpban-block.service", "ActiveState", "activating",
			report.Check{Result: report.OK, Found: "smtpban-block runs now, smtpban-expire did not run yet"}},
		"a new timer": {"smtpban-block.timer", "ActiveEnterTimestampMonotonic", "1200000000",
			report.Check{Result: report.OK, Found: "smtpban-block ran 20m0s ago, smtpban-expire did not run yet"}},
	} {
		u := parseUnits(running)
		if test.unit != "" {
			u[test.unit][test.property] = test.value
		}
		if diff := cmp.Diff(test.want, u.judge(21*time.Minute).check("")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

func TestWatchTakesThePlaceOfTheTimer(t *testing.T) {
	u := parseUnits(running)
	u["smtpban-block.timer"]["ActiveState"], u["smtpban-block.timer"]["UnitFileState"] = "inactive", "disabled"
	u["smtpban-watch.service"] = map[string]string{"ActiveState": "active", "UnitFileState": "enabled"}
	want := report.Check{Result: report.OK, Found: "smtpban-watch runs, smtpban-expire did not run yet"}
	if diff := cmp.Diff(want, u.judge(21*time.Minute).check("")); diff != "" {
		t.Errorf("alone (-want +got):\n%s", diff)
	}
	u["smtpban-block.timer"]["UnitFileState"] = "enabled"
	want = report.Check{Result: report.Warning, Found: "smtpban-block.timer is enabled, too, and may start at boot instead of smtpban-watch.service",
		Remedy: "systemctl disable smtpban-block.timer; systemctl enable --now smtpban-watch.service"}
	if diff := cmp.Diff(want, u.judge(21*time.Minute).check("")); diff != "" {
		t.Errorf("both are enabled (-want +got):\n%s", diff)
	}
	u["smtpban-watch.service"]["UnitFileState"], u["smtpban-block.timer"]["UnitFileState"] = "disabled", "disabled"
	u["smtpban-expire.timer"]["ActiveState"], u["smtpban-expire.timer"]["SubState"] = "inactive", "dead"
	want = report.Check{Result: report.Fault, Found: "smtpban-watch.service is disabled: it will not start at boot; smtpban-expire.timer is inactive (dead)",
		Remedy: "systemctl enable --now smtpban-watch.service"}
	if diff := cmp.Diff(want, u.judge(21*time.Minute).check("")); diff != "" {
		t.Errorf("for this boot only (-want +got):\n%s", diff)
	}
	u = parseUnits(running)
	u["smtpban-block.timer"]["ActiveState"], u["smtpban-block.timer"]["UnitFileState"] = "inactive", "disabled"
	u["smtpban-watch.service"] = map[string]string{"ActiveState": "failed", "SubState": "failed", "UnitFileState": "enabled"}
	want = report.Check{Result: report.Fault, Found: "smtpban-watch.service is failed (failed)", Remedy: "systemctl enable --now smtpban-watch.service"}
	if diff := cmp.Diff(want, u.judge(21*time.Minute).check("")); diff != "" {
		t.Errorf("failed (-want +got):\n%s", diff)
	}
}

func TestJournalNamespaceOfPostfixIsAnotherLogUnlessItIsRead(t *testing.T) {
	d := &doctor{
		instances: []guard.Instance{{Directory: "/etc/postfix"}},
		units:     parseUnits("Id=postfix.service\nLogNamespace=\n\nId=postfix@-.service\nLogNamespace=mail\n"),
	}
	want := fault("take LogNamespace= out of the unit, or name that journal as directory in [journal]",
		"postfix@-.service logs to the journal namespace mail")
	if diff := cmp.Diff(want.check(""), d.postfixLog().check("")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	d.cfg.Journal.Directory = "/var/log/journal/0123456789abcdef0123456789abcdef.mail"
	if got := d.postfixLog(); got.result != report.OK {
		t.Errorf("%+v, although it is read", got)
	}
}

func TestWithoutIPv6NoneOfItsRoutesIsMissing(t *testing.T) {
	four, six, stale := netip.MustParsePrefix("203.0.113.9/32"), netip.MustParsePrefix("2001:db8::/64"), netip.MustParsePrefix("198.51.100.7/32")
	changes := []ban.Change{{Prefix: four}, {Prefix: six}, {Prefix: stale, Delete: true}}
	for ipv6, want := range map[bool][]string{true: {four.String(), six.String()}, false: {four.String()}} {
		missing, surplus := split(changes, ipv6)
		var got []string
		for _, p := range missing {
			got = append(got, p.String())
		}
		if diff := cmp.Diff(want, got); diff != "" || len(surplus) != 1 || surplus[0] != stale {
			t.Errorf("IPv6 %v: surplus %v; missing (-want +got):\n%s", ipv6, surplus, diff)
		}
	}
}

func TestWorstOfWhatACheckFindsDecides(t *testing.T) {
	var f finding
	f.warn("do this", "one")
	f.fail("do that", "two")
	f.warn("do this", "three")
	want := report.Check{Name: "name", Result: report.Fault, Found: "one; two; three", Remedy: "do this; do that"}
	if diff := cmp.Diff(want, f.or(ok("fine")).check("name")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
