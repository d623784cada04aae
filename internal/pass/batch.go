package pass

import (
	"time"

	"smtpban/internal/ban"
	"smtpban/internal/journal"
	"smtpban/internal/postfix"
	"smtpban/internal/store"
)

// batch is what was read since the last commit.
type batch struct {
	entries  int
	findings []postfix.Finding
	puzzles  Puzzles
	begin    time.Time
}

func newBatch() *batch { return &batch{puzzles: Puzzles{}, begin: time.Now()} }

// full reports whether it is time to commit.
func (b *batch) full() bool {
	return b.entries == batchEntries || b.entries%1000 == 0 && time.Since(b.begin) > batchTime
}

// Puzzles counts lines that nothing is known about, by their shape.
type Puzzles map[string]store.Shape

// maxPuzzles bounds how many shapes are told apart; the store keeps even fewer.
const maxPuzzles = 1000

// Add counts a line.
func (p Puzzles) Add(e journal.Entry) {
	text := postfix.Shape(e.Identifier, e.Message)
	if _, known := p[text]; !known && len(p) >= maxPuzzles {
		text = ""
	}
	s, known := p[text]
	if !known {
		s = store.Shape{Text: text, First: e.Time, Last: e.Time}
	}
	s.Count++
	if e.Time.After(s.Last) {
		s.Last = e.Time
	}
	p[text] = s
}

// sessions returns the SMTP sessions that were open when the last run ended.
func (p Pass) sessions(now time.Time) (*postfix.Sessions, error) {
	sessions := postfix.NewSessions(p.Policy.Weight)
	err := p.Store.View(func(tx *store.Tx) error {
		for s, err := range tx.Sessions() {
			if err != nil {
				return err
			}
			if err := sessions.Restore(postfix.Change(s)); err != nil {
				return err
			}
		}
		return nil
	})
	sessions.Forget(now)
	return sessions, err
}

// seen counts, hour by hour, what the log told of.
type seen map[time.Time]map[ban.Class]store.Count

func (s seen) add(e ban.Event, class ban.Class, counted bool) {
	hour := e.Time.Truncate(time.Hour)
	if s[hour] == nil {
		s[hour] = map[ban.Class]store.Count{}
	}
	n := s[hour][class]
	n.Events++
	if counted {
		n.Counted++
	}
	s[hour][class] = n
}
