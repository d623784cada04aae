package journal

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// SuppressionID is the MESSAGE_ID of the entry in which journald says that it
// dropped messages of a service which logged too fast. It comes before the next
// message of that service that is kept.
const SuppressionID = "a596d6fe7bfa4994828e72309e95d61e"

// Journald is the syslog tag under which journald logs.
const Journald = "systemd-journald"

// Suppression holds what such an entry says. The fields can be believed: the
// caller has made sure that it was journald who wrote it (_TRANSPORT=driver).
type Suppression struct {
	Dropped string // N_DROPPED, how many messages
	Unit    string // OBJECT_SYSTEMD_UNIT, whose
	UID     string // OBJECT_UID, under which the unit's next message was written
}

// Gap returns the gap in the log of the Postfix that runs under this uid, nil if
// it was somebody else who logged too fast. A unit's next message may be of its
// master, who is root, so that the name of the unit counts as well.
func (s Suppression) Gap(boot Boot, at time.Time, uid int) *Gap {
	instance := strings.HasPrefix(s.Unit, "postfix@") && strings.HasSuffix(s.Unit, ".service")
	if s.UID != strconv.Itoa(uid) && s.Unit != "postfix.service" && !instance {
		return nil
	}
	lost, err := strconv.Atoi(s.Dropped)
	if err != nil || lost < 0 {
		lost = 0
	}
	return &Gap{Boot: boot, To: at, Lost: lost, Reason: fmt.Sprintf(suppressing+"%q, which logged too fast"+
		" (LogRateLimitIntervalSec=1us in this unit lifts the limit, see systemd.exec(5))", s.Unit)}
}

// suppressing begins the reason of such a gap.
const suppressing = "journald suppressed messages of "

// IsSuppression reports whether the reason of a gap is that journald dropped
// messages.
func IsSuppression(reason string) bool { return strings.HasPrefix(reason, suppressing) }
