package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

func (d *doctor) lists() finding {
	var f finding
	for _, p := range d.cfg.Publish {
		d.tryFile(&f, p.Path, "path of [[publish]]")
	}
	if len(d.cfg.Publish) == 0 {
		return skipped("none is published")
	}
	return f.or(ok("%s can be written", plural(len(d.cfg.Publish), "list")))
}

func (d *doctor) metrics() finding {
	textfile := d.cfg.Metrics.Textfile
	if textfile == "" {
		return skipped("none are written")
	}
	var f finding
	d.tryFile(&f, textfile, "textfile of [metrics]")
	return f.or(ok("%s can be written", textfile))
}

// tryFile finds out whether a file, named by a key, can be written. For root that says
// nothing about the units.
func (d *doctor) tryFile(f *finding, path, key string) {
	dir := filepath.Dir(path)
	open := "let the units write there: ReadWritePaths=" + dir + " in a drop-in, see SANDBOX in smtpban-block.service(8); then systemctl start smtpban-doctor tests it"
	switch err := tryBeside(path); {
	case errors.Is(err, unix.EROFS):
		f.fail(open, "%s can't be written: %v", path, err)
	case err != nil:
		f.fail("let the user smtpban write there, see "+key+" in smtpban.toml(5)", "%s can't be written: %v", path, err)
	case os.Geteuid() == 0 && d.units.closed(dir):
		f.warn(open, "%s can't be written by the units, whose sandbox keeps them from it", path)
	}
}

// tryBeside makes a file in the directory of another one, as replacing that does, and
// leaves nothing there.
func tryBeside(path string) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".smtpban.*")
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}

// stateDirectory is that of the units.
const stateDirectory = "/var/lib/smtpban"

// closed reports whether the units' sandbox is known to keep them from writing in a
// directory. Whether its owner lets them is another matter.
func (u units) closed(dir string) bool {
	service := u["smtpban-block.service"]
	if service["ProtectSystem"] != "strict" {
		return false
	}
	within := real(dir) + "/"
	return !slices.ContainsFunc(append(strings.Fields(service["ReadWritePaths"]), stateDirectory), func(open string) bool {
		return strings.HasPrefix(within, real(strings.TrimLeft(open, "-+"))+"/")
	})
}

// real returns the path without symbolic links, as far as there is one.
func real(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return filepath.Clean(path)
}
