package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"smtpban/internal/config"
	"smtpban/internal/guard"
	"smtpban/internal/report"
	"smtpban/internal/route"
	"smtpban/internal/store"
)

func newDoctorCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check whether smtpban can work here, and what to do where it can't",
		Args:  noArgs,
		RunE:  func(*cobra.Command, []string) error { return a.doctor() },
	}
	a.addOutputFlags(cmd)
	return cmd
}

// doctor makes all checks, prints them, and fails if one of them found a fault.
func (a *app) doctor() error {
	checks := a.examine()
	faulty := slices.ContainsFunc(checks, func(c report.Check) bool { return c.Result == report.Fault })
	if a.log.quiet {
		a.noLegend = true
		checks = slices.DeleteFunc(checks, func(c report.Check) bool { return !c.Result.Worse(report.OK) })
	}
	write := a.text().WriteChecks
	if a.output == "json" {
		write = report.WriteChecksJSON
	}
	if err := write(a.stdout, checks); err != nil {
		return err
	}
	if faulty {
		return silentError{exitFailure}
	}
	return nil
}

// A doctor looks at all that smtpban needs. What can't be found out is kept as an
// error, for the check that is about it; others make do without, or are skipped.
type doctor struct {
	*app
	cfg          config.Config // the defaults if it is broken
	errCfg       error
	path         string // of the state
	store        *store.Store
	instances    []guard.Instance // of Postfix
	errInstances error
	owner        string // whose entries count
	uid          int
	errUID       error
	day          survey // of the journal
	errJournal   error
	table        *route.Table // nil if there is none
	errTable     error
	kernel       *kernel // nil if there is none
	errKernel    error
	units        units
	errUnits     error
	memory       memory // what the state holds
	errState     error
	agreement    finding // of routes and state, which are compared while routes are tried
}

// examine makes the checks.
func (a *app) examine() (checks []report.Check) {
	d := a.newDoctor()
	defer d.close()
	for _, e := range d.examinations() {
		checks = append(checks, e.find().check(e.name))
	}
	return checks
}

// An examination is a check that is still to be made. Its name is an interface.
type examination struct {
	name string
	find func() finding
}

func (d *doctor) examinations() []examination {
	return []examination{
		{"configuration", d.configuration},
		{"postfix-settings", d.postfixSettings},
		{"postfix-log", d.postfixLog},
		{"journal", d.journal},
		{"journal-persistent", d.persistent},
		{"postfix-entries", d.entries},
		{"postfix-uid", d.writers},
		{"suppressed", d.suppressed},
		{"gaps", d.gaps},
		{"clients", d.clients},
		{"proxy-protocol", d.proxyProtocol},
		{"listeners", d.listeners},
		{"routes", d.routes},
		{"routes-agree", func() finding { return d.agreement }},
		{"end-connections", d.ending},
		{"outage", d.outage},
		{"ignored", d.ignored},
		{"lists", d.lists},
		{"metrics", d.metrics},
		{"timers", d.timers},
		{"state", d.stateFile},
		{"snapshot", d.snapshot},
		{"disk", d.disk},
		{"clock", d.clock},
	}
}

// newDoctor finds out what the checks are about.
func (a *app) newDoctor() *doctor {
	silent := *a // the checks tell what is to be told
	silent.log = &logger{stderr: io.Discard, quiet: a.log.quiet}
	d := &doctor{app: &silent}
	d.cfg, d.errCfg = d.configOrDefaults()
	d.store = d.state(d.cfg)
	d.path = cmp.Or(d.statePath, d.cfg.Store.Path)
	d.owner = cmp.Or(d.cfg.Journal.PostfixUser, "postfix")
	if d.instances, d.errInstances = guard.Inspect(); len(d.instances) > 0 {
		d.owner = cmp.Or(d.cfg.Journal.PostfixUser, d.instances[0].MailOwner)
	}
	d.uid, d.errUID = trustedUID(d.owner)
	d.day, d.errJournal = d.survey()
	d.table, d.errTable = route.Open(route.Options{Protocol: uint8(d.cfg.Route.Protocol), Table: uint32(d.cfg.Route.Table)})
	d.kernel, d.errKernel = d.openKernel(d.cfg, d.store)
	d.units, d.errUnits = askSystemd()
	d.memory, d.errState = d.recall()
	return d
}

func (d *doctor) close() {
	if d.table != nil {
		d.table.Close()
	}
	if d.kernel != nil {
		d.kernel.close()
	}
}

// finding is what a check came to, which may be several things. The worst of
// them decides.
type finding struct {
	result report.Result // "" as long as there is none
	found  []string
	remedy []string
}

func ok(format string, args ...any) finding {
	return finding{result: report.OK, found: []string{fmt.Sprintf(format, args...)}}
}

func skipped(format string, args ...any) finding {
	return finding{result: report.Skipped, found: []string{fmt.Sprintf(format, args...)}}
}

func warning(remedy, format string, args ...any) (f finding) {
	f.warn(remedy, format, args...)
	return f
}

func fault(remedy, format string, args ...any) (f finding) {
	f.fail(remedy, format, args...)
	return f
}

func (f *finding) warn(remedy, format string, args ...any) {
	f.add(report.Warning, remedy, fmt.Sprintf(format, args...))
}

func (f *finding) fail(remedy, format string, args ...any) {
	f.add(report.Fault, remedy, fmt.Sprintf(format, args...))
}

func (f *finding) add(result report.Result, remedy, found string) {
	if f.result == "" || result.Worse(f.result) {
		f.result = result
	}
	f.found = append(f.found, found)
	if !slices.Contains(f.remedy, remedy) {
		f.remedy = append(f.remedy, remedy)
	}
}

// or returns another finding if this one is still empty.
func (f finding) or(other finding) finding {
	if f.result == "" {
		return other
	}
	return f
}

func (f finding) check(name string) report.Check {
	return report.Check{Name: name, Result: f.result, Found: strings.Join(f.found, "; "), Remedy: strings.Join(f.remedy, "; ")}
}

// some lists a few of many things.
func some[T any](all []T) string {
	const few = 3
	var words []string
	for _, each := range all[:min(few, len(all))] {
		words = append(words, fmt.Sprint(each))
	}
	text := strings.Join(words, ", ")
	if more := len(all) - few; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// oneLine writes an error that may be several.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func (d *doctor) configuration() finding {
	if d.errCfg != nil {
		return fault("smtpban check lists every mistake; smtpban.toml(5) explains the keys", "%s", oneLine(d.errCfg))
	}
	var f finding
	if !counts(d.cfg.Policy) {
		f.warn("give classes points: see [classes] in smtpban.toml(5)", "nothing counts, so that nobody will be banned")
	}
	for _, unwise := range unwise(d.cfg.Policy) {
		f.warn("see smtpban.toml(5)", "%s", unwise)
	}
	return f.or(ok("it is valid"))
}
