package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// peers is where the peers are unpacked.
func peers(folder string) string { return filepath.Join(folder, "bench", "peers") }

// fetchPeers unpacks Debian's packages of the peers, without installing them. It
// must be done before the network is left behind. What can't be had is told, and
// its rows are not measured.
func fetchPeers(folder string) {
	root := peers(folder)
	for _, name := range []string{"fail2ban", "python3-systemd"} {
		if err := fetch(root, name); err != nil {
			fmt.Fprintf(os.Stderr, "bench: no %s: %v\n", name, err)
		}
	}
}

func fetch(root, name string) error {
	done := filepath.Join(root, "."+name)
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	get := exec.Command("apt-get", "download", "-q=2", name)
	get.Dir = root
	if out, err := get.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", get, err, out)
	}
	archives, err := filepath.Glob(filepath.Join(root, name+"_*.deb"))
	if err != nil || len(archives) == 0 {
		return fmt.Errorf("%v left no file: %w", get, err)
	}
	if _, err := execute("dpkg", "-x", archives[0], root); err != nil {
		return err
	}
	return os.WriteFile(done, nil, 0o644)
}
