package store

import (
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"smtpban/internal/ban"
)

// exact lets cmp compare addresses; nil and empty stay different.
var exact = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

var epoch = time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)

// at returns the time that many hours after the epoch.
func at(hours float64) time.Time { return epoch.Add(time.Duration(hours * float64(time.Hour))) }

// newStore returns a store in a fresh directory, without its file.
func newStore(t testing.TB) *Store { return New(filepath.Join(t.TempDir(), "smtpban.db")) }

func update(t testing.TB, s *Store, fn func(*Tx) error) {
	t.Helper()
	if err := s.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, s *Store, fn func(*Tx) error) {
	t.Helper()
	if err := s.View(fn); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// files lists the directory the store is in.
func files(t testing.TB, s *Store) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(s.path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestEverythingPutComesBackInALaterOpening(t *testing.T) {
	s := newStore(t)
	update(t, s, sample().put)
	if diff := cmp.Diff(sample(), load(t, New(s.path), sampleSettings...), exact); diff != "" {
		t.Error(diff)
	}
}

func TestPositionsAndSettingsOutliveTheTransaction(t *testing.T) {
	s := newStore(t)
	want := empty
	want.Positions = map[[16]byte][]byte{{1}: bytes.Repeat([]byte("p"), 9000)} // too long for bbolt to copy it by chance
	want.Settings = map[string][]byte{"long": bytes.Repeat([]byte("s"), 9000)}
	want.Commit, want.Report = at(1), at(2)
	update(t, s, want.put)
	if diff := cmp.Diff(want, load(t, s, "long"), exact); diff != "" {
		t.Error(diff)
	}
}

func TestPuttingAgainReplaces(t *testing.T) {
	s := newStore(t)
	update(t, s, sample().put)
	want := sample()
	want.Positions[[16]byte{1}] = []byte("further")
	delete(want.Positions, [16]byte{15: 2})
	want.Clients[0] = ban.Client{Prefix: want.Clients[0].Prefix, Failures: 1}
	want.Bans[0].Until = ban.Forever
	want.Evidence[want.Bans[1].Prefix] = ban.Evidence{Hits: []ban.Hit{hit(at(9))}}
	want.Commit, want.Report = at(30), at(31)
	want.Settings["none"] = []byte("some")
	want.History = append(want.History, Ended{want.Bans[2], at(30), Expired})
	update(t, s, func(tx *Tx) error {
		return errors.Join(
			tx.PutPosition([16]byte{1}, []byte("further")), tx.DeletePosition([16]byte{15: 2}),
			tx.PutClient(want.Clients[0], at(999)), // indexed already: looked at when it was to be
			tx.PutBan(want.Bans[0]), tx.PutEvidence(want.Bans[1].Prefix, ban.Evidence{Hits: []ban.Hit{hit(at(9))}}),
			tx.PutLastCommit(at(30)), tx.PutLastReport(at(31)), tx.PutSetting("none", []byte("some")),
			tx.EndBan(want.Bans[2], at(30), Expired))
	})
	delete(want.Evidence, want.Bans[2].Prefix)
	delete(want.Enforced, want.Bans[2].Prefix)
	want.Bans = slices.Delete(want.Bans, 2, 3)
	if diff := cmp.Diff(want, load(t, s, sampleSettings...), exact); diff != "" {
		t.Error(diff)
	}
}

func TestOneBanAndOneClientAreFoundByTheirPrefix(t *testing.T) {
	s, want := newStore(t), sample()
	update(t, s, want.put)
	view(t, s, func(tx *Tx) error {
		for i, prefix := range []netip.Prefix{want.Bans[1].Prefix, netip.MustParsePrefix("203.0.113.0/24")} {
			b, ok, err := tx.Ban(prefix)
			if err != nil || ok != (i == 0) || ok && b != want.Bans[1] {
				t.Errorf("Ban(%s) = %v, %v, %v", prefix, b, ok, err)
			}
		}
		known, err := tx.Client(want.Clients[0].Prefix)
		if diff := cmp.Diff(want.Clients[0], known, exact); err != nil || diff != "" {
			t.Error(err, diff)
		}
		stranger := netip.MustParsePrefix("203.0.113.1/32")
		unknown, err := tx.Client(stranger)
		if diff := cmp.Diff(ban.Client{Prefix: stranger}, unknown, exact); err != nil || diff != "" {
			t.Error(err, diff)
		}
		return nil
	})
}

func TestBansAndClientsComeInOrderOfTheirPrefix(t *testing.T) {
	var want []netip.Prefix
	for _, p := range []string{
		"2001:db8::/64", "203.0.113.9/32", "192.0.2.0/24", "2001:db8::/32", "192.0.2.0/32", "198.51.100.255/32",
		"203.0.113.10/32", "192.0.2.0/25", "2001:db8:0:1::/64", "2001:db8::/128",
	} {
		want = append(want, netip.MustParsePrefix(p))
	}
	s := newStore(t)
	update(t, s, func(tx *Tx) error {
		for _, p := range want {
			if err := errors.Join(tx.PutBan(ban.Ban{Prefix: p}), tx.PutClient(ban.Client{Prefix: p}, epoch)); err != nil {
				return err
			}
		}
		return nil
	})
	slices.SortFunc(want, ban.ComparePrefix)
	var bans, clients []netip.Prefix
	all := load(t, s)
	for i := range all.Bans {
		bans, clients = append(bans, all.Bans[i].Prefix), append(clients, all.Clients[i].Prefix)
	}
	if diff := cmp.Diff(want, bans, exact); diff != "" {
		t.Error("bans", diff)
	}
	if diff := cmp.Diff(want, clients, exact); diff != "" {
		t.Error("clients", diff)
	}
}

func TestAFailedTransactionLeavesNoTrace(t *testing.T) {
	s := newStore(t)
	update(t, s, sample().put)
	before := readFile(t, s.path)
	failure := errors.New("changed my mind")
	err := s.Update(func(tx *Tx) error {
		other := content{Bans: []ban.Ban{{Prefix: netip.MustParsePrefix("203.0.113.0/24")}}, Commit: at(99)}
		return errors.Join(other.put(tx), tx.DeletePosition([16]byte{1}), failure)
	})
	if !errors.Is(err, failure) {
		t.Errorf("got error %v, want the one of the transaction", err)
	}
	if !bytes.Equal(before, readFile(t, s.path)) {
		t.Error("the file changed")
	}
}

func TestAMissingFileReadsAsEmptyAndIsNotCreated(t *testing.T) {
	s := newStore(t)
	if diff := cmp.Diff(empty, load(t, s, sampleSettings...), exact); diff != "" {
		t.Error(diff)
	}
	view(t, s, func(tx *Tx) error {
		if b, ok, err := tx.Ban(netip.MustParsePrefix("192.0.2.1/32")); ok || err != nil {
			t.Errorf("Ban = %v, %v, %v", b, ok, err)
		}
		return nil
	})
	if got := files(t, s); got != nil {
		t.Errorf("View left %v", got)
	}
}

func TestUpdateCreatesTheFileForItsOwnerAlone(t *testing.T) {
	s := newStore(t)
	update(t, s, func(*Tx) error { return nil })
	info, err := os.Stat(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	if diff := cmp.Diff([]string{"smtpban.db"}, files(t, s)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(empty, load(t, s), exact); diff != "" {
		t.Error(diff)
	}
}

func TestWhatACrashedCreationLeftDoesNotMatter(t *testing.T) {
	for name, partial := range map[string][]byte{
		"empty": {}, "cut off": bytes.Repeat([]byte{0xed}, 5000), "another size": make([]byte, 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			if err := os.WriteFile(s.path+".new", partial, 0o400); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(empty, load(t, s), exact); diff != "" {
				t.Error("before", diff)
			}
			update(t, s, sample().put)
			if diff := cmp.Diff(sample(), load(t, s, sampleSettings...), exact); diff != "" {
				t.Error("after", diff)
			}
			if diff := cmp.Diff([]string{"smtpban.db"}, files(t, s)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAStoreIsCompleteOnceItHasItsName(t *testing.T) {
	s := newStore(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 50 {
			if err := s.create(); err != nil {
				t.Error(err)
			}
			if err := os.Remove(s.path); err != nil {
				t.Error(err)
			}
		}
	}()
	for looks := 0; ; looks++ {
		select {
		case <-done:
			t.Logf("%d looks", looks)
			return
		default:
		}
		if err := s.View(func(*Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
}

func TestACreationThatFailsNamesTheFile(t *testing.T) {
	s := New(filepath.Join(t.TempDir(), "missing", "smtpban.db"))
	err := s.Update(func(*Tx) error { return nil })
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), s.path) {
		t.Errorf("got %v", err)
	}
}

func TestAFileThatIsNoStoreIsRefusedAndLeftAlone(t *testing.T) {
	foreign := func(buckets ...string) []byte {
		path := filepath.Join(t.TempDir(), "foreign.db")
		db, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bolt.Tx) error {
			for _, name := range buckets {
				if _, err := tx.CreateBucket([]byte(name)); err != nil {
					return err
				}
			}
			return nil
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		return readFile(t, path)
	}
	for _, tc := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "the file is empty", []byte{}},
		{"text", "invalid database", []byte("203.0.113.9 banned\n")},
		{"zeros", "invalid database", make([]byte, 1<<16)},
		{"another program's", "not a state file of smtpban", foreign("members", "leases")},
		{"another program's with a bucket named alike", "not a state file of smtpban", foreign("meta", "key")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStore(t)
			if err := os.WriteFile(s.path, tc.data, 0o600); err != nil {
				t.Fatal(err)
			}
			untouched := func(*Tx) error { t.Error("the transaction ran"); return nil }
			for verb, err := range map[string]error{"View": s.View(untouched), "Update": s.Update(untouched)} {
				if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), s.path) {
					t.Errorf("%s: got %v, want %q and the path", verb, err, tc.want)
				}
			}
			if _, _, err := s.Scratch(); err == nil {
				t.Error("Scratch copied it")
			}
			if !bytes.Equal(tc.data, readFile(t, s.path)) {
				t.Error("the file changed")
			}
		})
	}
}

func TestLaterPardonOfANetworkStands(t *testing.T) {
	s := New(filepath.Join(t.TempDir(), "smtpban.db"))
	network, other := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/48")
	update(t, s, func(tx *Tx) error {
		return errors.Join(
			tx.PutPardon(Pardon{network, at(5)}), tx.PutPardon(Pardon{network, at(3)}), tx.PutPardon(Pardon{other, at(1)}),
		)
	})
	pardons := func() (got []Pardon) {
		view(t, s, func(tx *Tx) (err error) {
			got, err = tx.Pardons()
			return err
		})
		return got
	}
	if got, want := pardons(), []Pardon{{network, at(5)}, {other, at(1)}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	update(t, s, func(tx *Tx) error { return tx.PrunePardons(at(2)) })
	if got, want := pardons(), []Pardon{{network, at(5)}}; !slices.Equal(got, want) {
		t.Errorf("after pruning got %v, want %v", got, want)
	}
}

func TestUpdateThatChangesNothingWritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "smtpban.db")
	s := New(path)
	update(t, s, sample().put)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx *Tx) error {
		if _, err := tx.Client(netip.MustParsePrefix("192.0.2.9/32")); err != nil {
			return err
		}
		_, _, err := tx.Forget(at(-1000), func(ban.Client) time.Time { return at(0) })
		return errors.Join(err, tx.PruneHistory(at(-1000)), tx.PrunePardons(at(-1000)))
	})
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("the file was written to")
	}
}
