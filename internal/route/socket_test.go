package route

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// interruptedTimes is a dump that is interrupted at first, with a part of the
// answer, as the library returns it.
func interruptedTimes(n int) func() ([]string, error) {
	return func() ([]string, error) {
		if n--; n >= 0 {
			return []string{"a"}, nl.ErrDumpInterrupted
		}
		return []string{"a", "b"}, nil
	}
}

func TestInterruptedDumpIsBegunAnew(t *testing.T) {
	got, err := uninterrupted(interruptedTimes(dumpAttempts - 1))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
		t.Errorf("dump (-want +got):\n%s", diff)
	}
}

func TestDumpInterruptedForeverIsAnErrorNotAPart(t *testing.T) {
	got, err := uninterrupted(interruptedTimes(dumpAttempts))
	if got != nil || !errors.Is(err, nl.ErrDumpInterrupted) {
		t.Errorf("got %v, %v; want nothing and ErrDumpInterrupted", got, err)
	}
}

func TestDumpThatFailsIsNotRepeated(t *testing.T) {
	broken, calls := errors.New("broken"), 0
	got, err := uninterrupted(func() ([]string, error) {
		calls++
		return []string{"a"}, broken
	})
	if got != nil || !errors.Is(err, broken) || calls != 1 {
		t.Errorf("got %v, %v after %d calls; want nothing and the error after 1", got, err, calls)
	}
}

func TestDumpOfAFamilyThatIsNotThereIsEmpty(t *testing.T) {
	table := privateTable(t)
	ip(t, "route add blackhole 203.0.113.9 proto 249")
	body := appendHeader(nil, unix.RtMsg{Family: noFamily})
	got, err := dump(table.socket, request{kind: unix.RTM_GETROUTE, body: body}, noFamily,
		func(data []byte) ([]byte, bool, error) { return data, true, nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 0 {
		t.Errorf("%d routes, want none", len(got))
	}
}

func TestAMessageThatIsCutOffIsAnError(t *testing.T) {
	whole := appendMessage(nil, request{body: make([]byte, 20)}, 1)
	for size := range whole {
		if _, _, _, err := cutMessage(whole[:size]); err == nil {
			t.Errorf("%d of %d bytes are taken for a message", size, len(whole))
		}
	}
	if _, data, rest, err := cutMessage(append(whole, "next"...)); err != nil || len(data) != 20 || string(rest) != "next" {
		t.Errorf("whole: %d bytes, then %q, %v", len(data), rest, err)
	}
}
