package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"smtpban/internal/config"
	"smtpban/internal/pass"
	"smtpban/internal/report"
)

// publishBans writes the banned prefixes for other programs. What was imported is
// left out: two who each publish what they were told by the other would never be rid
// of it.
func (a *app) publishBans(p pass.Pass, k *kernel) error {
	if len(k.Publish) == 0 || a.private() {
		return nil
	}
	bans, err := inForce(p, k.never, report.OwnBans)
	if err != nil {
		return err
	}
	return a.publish(k.Publish, report.Publication(bans))
}

// private reports whether something is tried out, perhaps with another state, which
// is nothing for other programs.
func (a *app) private() bool { return a.dryRun || a.statePath != "" }

func (a *app) publish(lists []config.Publish, all []report.Published) error {
	if a.private() {
		return nil
	}
	var errs []error
	for _, to := range lists {
		errs = append(errs, publishTo(to, all))
	}
	return errors.Join(errs...)
}

// publishTo writes one list, if it has changed.
func publishTo(to config.Publish, all []report.Published) error {
	var text bytes.Buffer
	if err := writers()[to.Format](&text, all); err != nil {
		return err
	}
	if err := replaceChanged(to.Path, text.Bytes()); err != nil {
		return fmt.Errorf("publishing the bans: %w", err)
	}
	return nil
}

// replaceChanged gives a file for other programs its text, if it has another one.
func replaceChanged(path string, text []byte) error {
	old, err := os.ReadFile(path)
	if err == nil && bytes.Equal(old, text) {
		return nil
	}
	err = replace(path, text, 0o644)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w (the units write only below /var/lib/smtpban-lists and where a drop-in's ReadWritePaths= allows it, as the user smtpban)", err)
	}
	return err
}

func writers() map[string]func(io.Writer, []report.Published) error {
	return map[string]func(io.Writer, []report.Published) error{
		config.Plain: report.WritePlain, config.CIDR: report.WriteCIDR, config.RBLDNSD: report.WriteRBLDNSD,
		config.NFT: report.WriteNFT, config.JSON: report.WritePublishedJSON,
	}
}

// replace puts a file in the place of an earlier one, at once: a reader sees the one
// or the other.
func replace(path string, text []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // left over only after a failure
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
