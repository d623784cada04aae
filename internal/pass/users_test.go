package pass_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"smtpban/internal/store"
)

func TestTheUserNamesOfFailuresAreCountedByTheHour(t *testing.T) {
	m := newMachine(t)
	var log tape
	for i, x := range []struct {
		hour float64
		user string
	}{{0.1, "info"}, {0.2, "sales"}, {0.9, "info"}, {1, "info"}, {1.5, ""}} {
		e := failure(fmt.Sprintf("203.0.113.%d", i), at(x.hour))
		if x.user != "" {
			e.Message += ", sasl_username=" + x.user
		}
		log = append(log, e)
	}
	log = append(log, success("203.0.113.9", at(1.6))) // alice's, who knows her password
	m.read(at(2), log)
	want := []store.User{
		{Hour: at(0), Name: "info", Attempts: 2}, {Hour: at(0), Name: "sales", Attempts: 1}, {Hour: at(1), Name: "info", Attempts: 1},
	}
	if diff := cmp.Diff(want, m.rest().Users); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
