//go:build cgo

package sd

import (
	"bytes"
	"cmp"
	"fmt"
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
	ids, err := r.bootIDs()
	if err != nil {
		return nil, err
	}
	var boots []journal.Boot
	heads := map[journal.Boot]time.Time{}
	for _, id := range ids {
		boot, err := journal.ParseBoot(id)
		if err != nil {
			return nil, err
		}
		boots = append(boots, boot)
		r.boot = boot
		on, err := r.head()
		if err != nil {
			return nil, err
		}
		if on {
			at, err := r.clocks()
			if err != nil {
				return nil, err
			}
			heads[boot] = at.Realtime
		}
	}
	slices.SortFunc(boots, func(a, b journal.Boot) int {
		return cmp.Or(heads[a].Compare(heads[b]), bytes.Compare(a[:], b[:]))
	})
	return boots, nil
}

// bootIDs returns the boot ids in the journal. One damaged file fails the
// question for all, so that then each file is asked by itself.
func (r *Reader) bootIDs() ([]string, error) {
	const field = "_BOOT_ID"
	if ids, err := r.j.GetUniqueValues(field); err == nil {
		return ids, nil
	}
	files, err := r.opts.find()
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, file := range files {
		j, err := sdjournal.NewJournalFromFiles(file)
		if err != nil {
			r.damaged(file, err)
			continue
		}
		found, err := j.GetUniqueValues(field)
		if err != nil {
			r.damaged(file, err)
		}
		ids = append(ids, found...)
		j.Close()
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// damaged notes a file of which it is not known which boots it has entries of.
func (r *Reader) damaged(file string, cause error) {
	r.gaps = append(r.gaps, &journal.Gap{Reason: fmt.Sprintf("%s is damaged: %v (see journalctl --verify)", filepath.Base(file), cause)})
}

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
