package store

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"smtpban/internal/ban"
)

func TestADamagedValueIsReportedWithItsOwner(t *testing.T) {
	four := netip.MustParsePrefix("192.0.2.9/32")
	key := prefixKey(four)
	history := append([]byte{0, 0, 0, 0, 0, 0, 0, 1}, key...)
	for _, tc := range []struct {
		name        string
		bucket, key []byte
		read        func(*Tx) error
		want        string
	}{
		{"client", bucketClients, clientKey(four), func(tx *Tx) error { _, err := tx.Client(four); return err }, "client 192.0.2.9/32: damaged value"},
		{"clients", bucketClients, clientKey(four), func(tx *Tx) error { return first(tx.Clients()) }, "client 192.0.2.9/32: damaged value"},
		{"client's key", bucketClients, []byte("x"), func(tx *Tx) error { return first(tx.Clients()) }, "key 78 of a client: damaged value"},
		{"ban", bucketBans, key, func(tx *Tx) error { _, _, err := tx.Ban(four); return err }, "ban of 192.0.2.9/32: damaged value"},
		{"bans", bucketBans, key, func(tx *Tx) error { return first(tx.Bans()) }, "ban of 192.0.2.9/32: damaged value"},
		{"ban's key", bucketBans, []byte("x"), func(tx *Tx) error { return first(tx.Bans()) }, "key 78 of a ban: damaged value"},
		{"evidence", bucketEvidence, key, func(tx *Tx) error { _, err := tx.Evidence(four); return err }, "evidence against 192.0.2.9/32: damaged value"},
		{"route of a ban", bucketEnforced, key, func(tx *Tx) error { _, err := tx.Enforced(four); return err }, "route of the ban on 192.0.2.9/32: damaged value"},
		{"ended ban", bucketHistory, history, func(tx *Tx) error { return first(tx.History()) }, "ended ban of 192.0.2.9/32: damaged value"},
		{"ended ban's key", bucketHistory, []byte("x"), func(tx *Tx) error { return first(tx.History()) }, "key 78 of an ended ban: damaged value"},
		{"history to prune", bucketHistory, []byte("x"), func(tx *Tx) error { return tx.PruneHistory(at(0)) }, "key 78 of an ended ban: damaged value"},
		{"clients due", bucketDue, []byte("x"), forgetAll, "key 78 of a client due: damaged value"},
		{"client due", bucketDue, []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00x"), forgetAll, "key 00000000000000000078 of a client due: damaged value"},
		{"gaps", bucketGaps, gapKey(1), func(tx *Tx) error { return first(tx.Gaps()) }, "gap 0000000000000001: damaged value"},
		{"gaps to prune", bucketGaps, gapKey(1), func(tx *Tx) error { return tx.PruneGaps(at(0)) }, "gap 0000000000000001: damaged value"},
		{"login", bucketLogins, key, func(tx *Tx) error { _, err := tx.Login(four); return err }, "login of 192.0.2.9/32: damaged value"},
		{"login's key", bucketLogins, []byte("x"), func(tx *Tx) error { return first(tx.Logins()) }, "key 78 of a login: damaged value"},
		{"logins to prune", bucketLogins, key, func(tx *Tx) error { return tx.PruneLogins(at(0)) }, "login of 192.0.2.9/32: damaged value"},
		{"ignores", bucketIgnores, key, func(tx *Tx) error { _, err := tx.Ignores(); return err }, "ignore of 192.0.2.9/32: damaged value"},
		{"ignore's key", bucketIgnores, []byte("x"), func(tx *Tx) error { _, err := tx.Ignores(); return err }, "key 78 of an ignore: damaged value"},
		{"reading", bucketMeta, keyRead, func(tx *Tx) error { _, err := tx.LastRead(); return err }, "last reading: damaged value"},
		{"outage", bucketMeta, keyOutage, func(tx *Tx) error { _, err := tx.Outage(); return err }, "outage: damaged value"},
		{"last commit", bucketMeta, keyCommit, func(tx *Tx) error { _, err := tx.LastCommit(); return err }, "time of last commit: damaged value"},
		{"doubt", bucketMeta, keyDoubt, func(tx *Tx) error { _, err := tx.Doubt(); return err }, "time of last doubt: damaged value"},
		{"last report", bucketMeta, keyReport, func(tx *Tx) error { _, err := tx.LastReport(); return err }, "time of last report: damaged value"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStore(t)
			err := s.Update(func(tx *Tx) error {
				if err := tx.put(tc.bucket, tc.key, []byte("x")); err != nil {
					t.Fatal(err)
				}
				return tc.read(tx)
			})
			if diff := cmp.Diff(fmt.Sprintf("writing state %s: %s", s.path, tc.want), fmt.Sprint(err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func forgetAll(tx *Tx) error {
	_, _, err := tx.Forget(at(0), func(ban.Client) time.Time { return time.Time{} })
	return err
}

// first returns the error of the first pair.
func first[T any](pairs iter.Seq2[T, error]) error {
	for _, err := range pairs {
		return err
	}
	return nil
}

func TestAFileCutOffUnderATransactionIsDamaged(t *testing.T) {
	for _, verb := range []string{"View", "Update"} {
		t.Run(verb, func(t *testing.T) {
			s := newStore(t)
			if err := os.WriteFile(s.path, grown(t), 0o600); err != nil {
				t.Fatal(err)
			}
			run := map[string]func(func(*Tx) error) error{"View": s.View, "Update": s.Update}[verb]
			err := run(func(tx *Tx) error {
				if err := os.Truncate(s.path, 8192); err != nil {
					t.Fatal(err)
				}
				for _, err := range tx.Clients() {
					if err != nil {
						return err
					}
				}
				return nil
			})
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), s.path) {
				t.Errorf("got %v", err)
			}
			// Nothing that the transaction held keeps others out.
			if err := New(s.path).View(func(*Tx) error { return nil }); !errors.Is(err, ErrDamaged) {
				t.Errorf("afterwards got %v", err)
			}
		})
	}
}

func TestAPanicThatIsNotTheFilesFaultGoesOn(t *testing.T) {
	s := newStore(t)
	update(t, s, sample().put)
	defer func() {
		if r := recover(); r != "a mistake of ours" {
			t.Errorf("recovered %v", r)
		}
	}()
	err := s.View(func(*Tx) error { panic("a mistake of ours") })
	t.Errorf("no panic, but %v", err)
}

func TestAFileWithoutADigestIsLookedAtAllTheSame(t *testing.T) {
	s := goldenCopy(t)
	data := bytes.ReplaceAll(readFile(t, s.path), []byte("mail.example.com"), []byte("mail.example.net"))
	if err := os.WriteFile(s.path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.View(func(*Tx) error { return nil }); !errors.Is(err, ErrDamaged) {
		t.Errorf("a value that was changed: got %v", err)
	}
	other := goldenCopy(t)
	if err := inFile(t, other, func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put([]byte("digesu"), nil) }); err != nil {
		t.Fatal(err)
	}
	if err := other.View(func(*Tx) error { return nil }); !errors.Is(err, ErrDamaged) {
		t.Errorf("a digest by another name: got %v", err)
	}
}

func TestAFileEmptiedBetweenTwoTransactionsIsNoNewOne(t *testing.T) {
	s := newStore(t)
	update(t, s, sample().put)
	writeFile(t, s.path, nil)
	if err := s.Update(sample().put); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
	if data := readFile(t, s.path); len(data) > 0 {
		t.Errorf("the file now has %d bytes", len(data))
	}
}
