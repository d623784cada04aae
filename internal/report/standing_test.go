package report_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"smtpban/internal/ban"
	"smtpban/internal/report"
	"smtpban/internal/store"
)

func TestStandingCountsWhatIsInForceAndWhatHappenedToday(t *testing.T) {
	never := ban.NewNeverBan([]ban.Protected{{Prefix: prefix("203.0.113.1/32"), Reason: "ours"}}, nil)
	var latest []string
	s := newStore(t, nil, nil)
	err := s.Update(func(tx *store.Tx) error {
		errs := []error{
			tx.AddHour(store.Hour{Start: at(-1).Truncate(time.Hour), Classes: map[ban.Class]store.Count{ban.SASLAuth: {Events: 100, Counted: 100}}}),
			tx.AddHour(store.Hour{Start: at(0).Truncate(time.Hour), Classes: map[ban.Class]store.Count{ban.SASLAuth: {Events: 7, Counted: 5}, ban.Login: {Events: 9}}}),
			tx.AddGap(store.Gap{Reason: "old", Noticed: at(-2)}), tx.AddGap(store.Gap{Reason: "new", Noticed: at(1)}),
		}
		for i := range 8 { // one of which is over, one protected
			_, b := convict(fmt.Sprintf("203.0.113.%d/32", i), 5, float64(i)-24)
			errs = append(errs, tx.PutBan(b))
		}
		_, held := convict("198.51.100.1/32", 5, 0.5)
		held.Held = true
		_, before := convict("198.51.100.2/32", 5, -50)
		_, ended := convict("198.51.100.3/32", 5, 0.25)
		return errors.Join(append(errs, tx.PutBan(held), tx.EndBan(before, at(-26), store.Expired), tx.EndBan(ended, at(1), store.Unbanned))...)
	})
	if err != nil {
		t.Fatal(err)
	}
	var got report.Standing
	err = s.View(func(tx *store.Tx) (err error) {
		got, err = report.NewStanding(tx, never, at(0), at(0), at(0.75))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range got.Latest {
		latest = append(latest, b.Prefix.String())
	}
	if diff := cmp.Diff([]string{"198.51.100.1/32", "203.0.113.7/32", "203.0.113.6/32", "203.0.113.5/32", "203.0.113.4/32"}, latest); diff != "" {
		t.Errorf("latest (-want +got):\n%s", diff)
	}
	want := report.Standing{
		Bans: 8, Protected: 1, Held: 1, Events: 7, Counted: 5, Begun: 2, Ended: 1, Lost: []store.Gap{{Reason: "new", Noticed: at(1)}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(report.Standing{}, "Latest"), cmpopts.IgnoreFields(store.Gap{}, "From", "To")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
