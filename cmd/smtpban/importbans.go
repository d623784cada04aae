package main

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"smtpban/internal/ban"
	"smtpban/internal/config"
	"smtpban/internal/foreign"
	"smtpban/internal/pass"
)

// What import --from reads.
const (
	fromList     = "list"
	fromFail2ban = "fail2ban"
	fromAncestor = "smtpban-py"
)

// origin says whose bans to import.
type origin struct {
	from   string
	file   string
	name   string   // of a list
	length string   // of bans whose end is not told
	jails  []string // of fail2ban's
}

func (o *origin) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "import the bans of `PROGRAM`: fail2ban, smtpban-py, or list for a plain list")
	f.StringVar(&o.name, "name", "", "call the bans of a list `SOURCE`")
	f.StringVar(&o.length, "for", "", "how long a ban lasts, a time `SPAN` such as 2w, where the file does not say (default bantime)")
	f.StringArrayVar(&o.jails, "jail", nil, "take fail2ban's bans of `JAIL` (default those with postfix or sasl in the name); may be given more than once")
	cmd.RegisterFlagCompletionFunc("from", cobra.FixedCompletions([]string{fromFail2ban, fromAncestor, fromList}, cobra.ShellCompDirectiveNoFileComp))
}

// check refuses options that do not belong together.
func (o *origin) check(replace bool) error {
	var err error
	switch {
	case o.from != "" && !slices.Contains([]string{fromFail2ban, fromAncestor, fromList}, o.from):
		err = fmt.Errorf("--from: %q is not known; known: fail2ban, smtpban-py, list", o.from)
	case o.from != "" && replace:
		err = errors.New("--replace is for a state that was exported; --from only replaces what it imported before")
	case o.from != fromList && o.name != "":
		err = errors.New("--name is for --from list")
	case o.from != fromFail2ban && len(o.jails) > 0:
		err = errors.New("--jail is for --from fail2ban")
	case o.from == "" && o.length != "":
		err = errors.New("--for is for --from")
	case o.from == fromList && o.name == "":
		err = errors.New("give the list a name, such as --name blocklist: it takes the place of what was imported under this name before")
	case o.from == fromList && (o.name == fromFail2ban || o.name == fromAncestor):
		err = fmt.Errorf("--name: %s stands for what is imported by --from %[1]s", o.name)
	case o.from == fromList:
		err = ban.CheckSource(o.name)
	}
	if err != nil {
		return usageError{err}
	}
	return nil
}

// fail2banDatabase is where fail2ban keeps its bans unless its dbfile says otherwise.
const fail2banDatabase = "/var/lib/fail2ban/fail2ban.sqlite3"

// takeFile reads the arguments: one file, or none where it is known.
func (o *origin) takeFile(args []string) error {
	if o.from == fromFail2ban && len(args) == 0 {
		args = []string{fail2banDatabase}
	}
	if len(args) != 1 {
		return usageError{errors.New("name the one file to import, - for standard input")}
	}
	o.file = args[0]
	return nil
}

// importBans makes the bans in the file the whole set of their source.
func (a *app) importBans(o origin) error {
	length, err := lengthOf("a ban", o.length)
	if err != nil {
		return err
	}
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	// Before the lock, since whoever writes the file may take his time.
	bans, over, err := a.foreignBans(o, cfg.Policy, length)
	if err != nil {
		return errors.Join(err, errors.New("nothing was imported"))
	}
	return a.withKernel(func(_ config.Config, p pass.Pass, k *kernel) error {
		name := cmp.Or(o.name, o.from)
		change, err := p.Import(name, bans)
		if err != nil {
			return err
		}
		a.log.notice(fmt.Sprintf("%s %s as import:%s: %s (new: %d; gone: %d; over already: %d)",
			a.would("imported", "import"), o.file, name, plural(change.Count, "ban"), change.New, change.Gone, over), nil)
		a.tellProtected(bans, k.never)
		return a.settle(p, k)
	})
}

// foreignBans reads the bans that are not over, in order of their prefix and each
// prefix once. It also returns how many are over.
func (a *app) foreignBans(o origin, policy ban.Policy, length time.Duration) ([]ban.Imported, int, error) {
	in, err := a.openForeign(o)
	if err != nil {
		return nil, 0, err
	}
	defer in.Close()
	options := foreign.Options{Now: a.now, Length: cmp.Or(length, policy.BanTime), Local: time.Local}
	switch o.from {
	case fromList:
		return gather(foreign.List(in, o.file, options), a.now)
	case fromAncestor:
		return gather(foreign.Dump(in, o.file, options), a.now)
	}
	return gather(o.inJails(foreign.Fail2ban(in, o.file, options), policy), a.now)
}

// maxImported bounds the bans of a set: at every run all of them are looked at.
const maxImported = 1_000_000

// gather collects the bans. If one is wrong, all are refused.
func gather(all iter.Seq2[ban.Imported, error], now time.Time) (bans []ban.Imported, over int, err error) {
	var refused []error
	more := 0
	for b, err := range all {
		switch {
		case err != nil && len(refused) < maxLines:
			refused = append(refused, err)
		case err != nil:
			more++
		case !b.Until.After(now):
			over++
		case len(bans) == maxImported:
			return nil, 0, fmt.Errorf("there are more than %d bans, which is as many as a set may have", maxImported)
		default:
			bans = append(bans, b)
		}
	}
	if more > 0 {
		refused = append(refused, fmt.Errorf("%d more are refused", more))
	}
	slices.SortFunc(bans, func(a, b ban.Imported) int {
		return cmp.Or(ban.ComparePrefix(a.Prefix, b.Prefix), b.Until.Compare(a.Until)) // the longest first
	})
	bans = slices.CompactFunc(bans, func(a, b ban.Imported) bool { return a.Prefix == b.Prefix })
	return bans, over, errors.Join(refused...)
}

// inJails yields the bans of the jails that are asked for. An address stands for its
// client: it would have been banned as that here.
func (o *origin) inJails(all iter.Seq2[foreign.Jailed, error], policy ban.Policy) iter.Seq2[ban.Imported, error] {
	return func(yield func(ban.Imported, error) bool) {
		jails, broken := map[string]bool{}, false
		for b, err := range all {
			if b.Jail != "" {
				jails[b.Jail] = true
			}
			if b.Jail != "" && !o.wants(b.Jail) || err == nil && !b.Prefix.IsValid() {
				continue // of another jail, or of one that holds nobody
			}
			if b.Prefix.IsSingleIP() {
				b.Prefix = policy.Client(b.Prefix.Addr())
			}
			if !yield(b.Imported, err) {
				return
			}
			broken = broken || err != nil && b.Jail == ""
		}
		if broken {
			return // not all jails are known
		}
		if err := o.missing(slices.Sorted(maps.Keys(jails))); err != nil {
			yield(ban.Imported{}, err)
		}
	}
}

// wants reports whether the bans of a jail are asked for.
func (o *origin) wants(jail string) bool {
	if len(o.jails) > 0 {
		return slices.Contains(o.jails, jail)
	}
	return strings.Contains(jail, "postfix") || strings.Contains(jail, "sasl")
}

// missing says which of the jails that are asked for there are not.
func (o *origin) missing(jails []string) error {
	there := "there are no jails at all"
	if len(jails) > 0 {
		there = fmt.Sprintf("there are %q", jails)
	}
	for _, jail := range o.jails {
		if !slices.Contains(jails, jail) {
			return fmt.Errorf("%s: there is no jail %q; %s", o.file, jail, there)
		}
	}
	if !slices.ContainsFunc(jails, o.wants) {
		return fmt.Errorf("%s: no jail has postfix or sasl in its name, so say which by --jail; %s", o.file, there)
	}
	return nil
}

// tellProtected says which of the bans are without effect.
func (a *app) tellProtected(bans []ban.Imported, never ban.NeverBan) {
	n := 0
	for _, b := range bans {
		m, overlaps := never.Overlapping(b.Prefix)
		if !overlaps {
			continue
		}
		if n++; n <= maxLines {
			a.log.notice(fmt.Sprintf("%s is protected: it overlaps %s (%s)", b.Prefix, m.Prefix, m.Reason), nil)
		}
	}
	if n > maxLines {
		a.log.notice(fmt.Sprintf("%d more are protected", n-maxLines), nil)
	}
}
