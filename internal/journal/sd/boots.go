//go:build cgo

package sd

import (
	"bytes"
	"cmp"
	"path/filepath"
	"slices"
	"time"

	"github.com/coreos/go-systemd/v22/sdjournal"

	"smtpban/internal/journal"
)

// Boots returns the boots of which the journal has entries, in the order in
// which they are read: by the first entry that counts.
func (r *Reader) Boots() []journal.Boot { return slices.Clone(r.boots) }

// listBoots asks for the boots at every open. That costs well under a
// millisecond, and nothing needs to be known about which boot is the newest,
// which neither the clock nor the order of the files tells reliably.
func (r *Reader) listBoots() ([]journal.Boot, error) {
	boots, err := r.bootIDs()
	if err != nil {
		return nil, err
	}
	if boots, err = r.addKnown(boots); err != nil {
		return nil, err
	}
	heads := map[journal.Boot]time.Time{}
	for _, boot := range boots {
		r.boot = boot
		on, err := r.head()
		if err != nil {
			return nil, err
		}
		if on {
			at, _ := r.clocks() // the zero time if it cannot be read
			heads[boot] = at.Realtime
		}
	}
	slices.SortFunc(boots, func(a, b journal.Boot) int {
		return cmp.Or(heads[a].Compare(heads[b]), compareBoots(a, b))
	})
	return boots, nil
}

// addKnown adds the boots that were read before and are still there. Where damage
// hides the id of a boot in one file, libsystemd may not tell it of the others.
func (r *Reader) addKnown(boots []journal.Boot) ([]journal.Boot, error) {
	for boot := range r.opts.From {
		if boot == (journal.Boot{}) || slices.Contains(boots, boot) {
			continue
		}
		if err := r.match(boot); err != nil {
			return nil, err
		}
		if err := r.j.SeekHead(); err != nil {
			return nil, err
		}
		on, err := r.next()
		if err != nil {
			return nil, err
		}
		if on {
			boots = append(boots, boot)
		}
	}
	return boots, nil
}

// bootIDs returns the boot ids in the journal. One damaged file fails the
// question for all, or hides the answer of others, so that then, and where no
// boot is known yet, each file is asked by itself.
func (r *Reader) bootIDs() ([]journal.Boot, error) {
	boots, err := bootIDs(r.j)
	if err == nil && len(boots) > 0 && len(r.opts.From) > 0 {
		return boots, nil
	}
	if r.passed != nil {
		return nil, errHidden
	}
	files, err := r.opts.find()
	if err != nil {
		return nil, err
	}
	for _, file := range files { // one may have another name by now: its boots are known already
		j, err := sdjournal.NewJournalFromFiles(file)
		if err != nil {
			continue // see checkUnopened
		}
		found, err := bootIDs(j)
		if err != nil {
			r.damaged(file)
		}
		boots = append(boots, found...)
		j.Close()
	}
	slices.SortFunc(boots, compareBoots)
	return slices.Compact(boots), nil
}

func compareBoots(a, b journal.Boot) int { return bytes.Compare(a[:], b[:]) }

// bootIDs returns those that can be read, and an error unless these are all.
func bootIDs(j *sdjournal.Journal) (boots []journal.Boot, err error) {
	ids, err := j.GetUniqueValues("_BOOT_ID")
	for _, id := range ids {
		boot, malformed := journal.ParseBoot(id)
		if malformed != nil {
			err = malformed
			continue
		}
		boots = append(boots, boot)
	}
	return boots, err
}

// damaged notes a file that cannot be read, or not all of it. The reason is the
// same however that was noticed, so that it is told once.
func (r *Reader) damaged(file string) {
	name := filepath.Base(file)
	if r.told[name] {
		return
	}
	r.told[name] = true
	r.gaps = append(r.gaps, &journal.Gap{Reason: name + " is damaged: not all of it can be read (see journalctl --verify)"})
}

// isKnown reports whether something of the boot was read before.
func (r *Reader) isKnown(boot journal.Boot) bool { return r.opts.From[boot] != (journal.Position{}) }

// checkLost notes a gap if boots had been read before and none of them is left.
// What is known of no boot, a maillog's position, and boots of which nothing
// was read do not matter here.
func (r *Reader) checkLost() {
	var gap *journal.Gap
	for boot, pos := range r.opts.From {
		if slices.Contains(r.boots, boot) {
			return
		}
		if boot == (journal.Boot{}) || pos == (journal.Position{}) {
			continue
		}
		if gap == nil || pos.Realtime.After(gap.From) {
			gap = &journal.Gap{Boot: boot, From: pos.Realtime, Reason: "no boot that was read before is in the journal any more"}
		}
	}
	if gap != nil {
		r.gaps, r.lost = append(r.gaps, gap), true
	}
}
