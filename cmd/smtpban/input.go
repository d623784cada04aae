package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"smtpban/internal/config"
	"smtpban/internal/guard"
	"smtpban/internal/journal"
	"smtpban/internal/journal/sd"
	"smtpban/internal/store"
)

// inputFlags say what to read instead of the local journal.
type inputFlags struct {
	directory   string
	files       []string
	entries     string
	maillog     string
	postfixUser string
}

func (a *app) addInputFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&a.input.directory, "directory", "D", "", "read the journal in `DIR`")
	f.StringArrayVar(&a.input.files, "file", nil, "read the journal files that match `GLOB`")
	f.StringVar(&a.input.entries, "entries", "", "read the output of journalctl -o export in `FILE` (- for standard input)")
	f.StringVar(&a.input.maillog, "maillog", "", "read the syslog `FILE` (- for standard input)")
	f.StringVar(&a.input.postfixUser, "postfix-user", "", "count entries of this `USER` (name or uid; default Postfix's mail_owner)")
}

// count returns how many logs are named.
func (i inputFlags) count() int {
	n := 0
	for _, named := range []bool{i.directory != "", len(i.files) > 0, i.entries != "", i.maillog != ""} {
		if named {
			n++
		}
	}
	return n
}

// given reports whether something else than the local journal is to be read.
func (i inputFlags) given() bool { return i.count() > 0 }

// standardInput reports whether the log comes from there.
func (i inputFlags) standardInput() bool { return i.entries == "-" || i.maillog == "-" }

var errOneInput = errors.New("--directory, --file, --entries and --maillog exclude each other; give one of them")

// checkInput refuses two logs at once, and to mix another machine's log into
// this one's state.
func (a *app) checkInput() error {
	if a.input.count() > 1 {
		return usageError{errOneInput}
	}
	if a.input.given() && a.statePath == "" && !a.dryRun {
		return usageError{errors.New("name a state file of its own with --state when reading another log than this machine's, and say --no-routes unless its clients are to be blocked here, instead of those banned now")}
	}
	return nil
}

// trusted returns the uid whose entries count; 0 for a maillog, which does not
// say who wrote a line.
func (a *app) trusted(cfg config.Config, postfix guard.Postfix) (int, error) {
	if a.input.maillog != "" {
		return 0, nil
	}
	return trustedUID(a.input.postfixUser, cfg.Journal.PostfixUser, postfix.MailOwner)
}

// openInput opens what is to be read, after the given positions. The other options
// are for the systemd journal.
func (a *app) openInput(cfg config.Config, uid int, from journal.Positions, o sd.Options) (journal.Input, error) {
	if a.input.maillog != "" {
		file, err := a.openFile(a.input.maillog)
		if err != nil {
			return nil, fmt.Errorf("opening maillog: %w (without --maillog the journal is read)", err)
		}
		return closing{journal.OpenMaillog(file, a.now, time.Local, from), file}, nil
	}
	if a.input.entries != "" {
		file, err := a.openFile(a.input.entries)
		if err != nil {
			return nil, fmt.Errorf("opening entries: %w (journalctl -o export prints such a file)", err)
		}
		return closing{journal.OpenExport(file, uid, from), file}, nil
	}
	options, err := a.journal(cfg, uid)
	if err != nil {
		return nil, err
	}
	options.From, options.Anchor, options.Finished = from, o.Anchor, o.Finished
	return sd.Open(options)
}

// journal says which systemd journal to read.
func (a *app) journal(cfg config.Config, uid int) (sd.Options, error) {
	files, err := globs(a.input.files)
	if err != nil {
		return sd.Options{}, err
	}
	directory := a.input.directory
	if directory == "" && len(files) == 0 {
		directory = cfg.Journal.Directory
	}
	return sd.Options{Directory: directory, Files: files, UID: uid}, nil
}

func (a *app) openFile(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(a.stdin), nil
	}
	return os.Open(path)
}

// closing is an input that closes its file as well.
type closing struct {
	journal.Input
	file io.Closer
}

func (c closing) Close() error { return errors.Join(c.Input.Close(), c.file.Close()) }

// trustedUID returns the uid whose entries count: the first name given, else
// that of the user whom every distribution calls postfix.
func trustedUID(names ...string) (int, error) {
	name := "postfix"
	if i := slices.IndexFunc(names, func(s string) bool { return s != "" }); i >= 0 {
		name = names[i]
	}
	if uid, err := strconv.ParseUint(name, 10, 32); err == nil {
		return int(uid), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, configError{fmt.Errorf("whose entries count? there is no user %q here; give Postfix's mail_owner, or its uid, with --postfix-user or as postfix_user in [journal]", name)}
	}
	return strconv.Atoi(u.Uid)
}

// learn remembers whose entries were read. Where it is somebody else than last
// time and has nothing to say, it returns an error if others have.
func (k *kernel) learn(in journal.Input, uid int) error {
	reader, ok := in.(*sd.Reader)
	if !ok || uid == k.UID {
		return nil
	}
	positions, err := reader.Positions()
	if err != nil {
		return err
	}
	for _, p := range positions {
		if p != (journal.Position{}) { // the zero one was only made up
			k.UID = uid
			return nil
		}
	}
	return onlyForeign(reader, uid)
}

// onlyForeign returns an error if the journal has entries that look like
// Postfix's, but none of the user who counts: nothing would ever be seen.
func onlyForeign(reader *sd.Reader, uid int) error {
	counts, err := reader.Writers()
	if err != nil || len(counts) == 0 || counts[uid] > 0 {
		return err
	}
	var found []string
	for _, uid := range slices.Sorted(maps.Keys(counts)) {
		found = append(found, fmt.Sprintf("%d of uid %d", counts[uid], uid))
	}
	return configError{fmt.Errorf("the journal has no entry of Postfix's own user, only forged or foreign ones (%s); if one of these is Postfix, name it with --postfix-user or as postfix_user in [journal]", strings.Join(found, ", "))}
}

// rememberRead keeps which files of the journal were read to their end. What was
// known of them still holds where nothing can be said now.
func (k *kernel) rememberRead(s *store.Store, in journal.Input) error {
	reader, ok := in.(*sd.Reader)
	if !ok {
		return nil
	}
	read := reader.Finished()
	if read == nil || bytes.Equal(read, k.read) {
		return nil
	}
	return s.Update(func(tx *store.Tx) error { return tx.PutSetting(settingJournal, read) })
}
