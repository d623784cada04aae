package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
)

// SSHPeers returns the addresses from which users are logged in, as logind knows
// them. sessions is its directory /run/systemd/sessions, with a file for each
// session. A mere connection has no session: that takes a user whom PAM let in.
//
// Those files are what sd-login(3) reads, so their lines stay. Asking loginctl,
// which asks logind over D-Bus, would start a process at every run.
func SSHPeers(sessions fs.FS) ([]netip.Addr, error) {
	entries, err := fs.ReadDir(sessions, ".")
	if errors.Is(err, fs.ErrNotExist) { // no logind
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for login sessions: %w", err)
	}
	var peers []netip.Addr
	for _, entry := range entries {
		// Beside the files there are FIFOs, which would block a reader, and
		// files still being written, whose names begin with a dot.
		if !entry.Type().IsRegular() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		text, err := fs.ReadFile(sessions, entry.Name())
		if errors.Is(err, fs.ErrNotExist) { // ended meanwhile
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading a login session: %w", err)
		}
		if a, ok := sessionPeer(string(text)); ok && !slices.Contains(peers, a) {
			peers = append(peers, a)
		}
	}
	return peers, nil
}

// sessionPeer returns from where the user of a session came in. A host name says
// nothing: sshd gives one only with UseDNS=yes, and who owns the address could
// have chosen it.
func sessionPeer(text string) (netip.Addr, bool) {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		fields[name] = strings.Trim(value, `"`)
	}
	switch {
	case fields["REMOTE"] != "1":
		return netip.Addr{}, false
	case !slices.Contains([]string{"active", "online"}, fields["STATE"]): // closing: he is gone, only programs of his still run
		return netip.Addr{}, false
	case !slices.Contains([]string{"user", "user-early", "user-light", "user-early-light"}, fields["CLASS"]):
		return netip.Addr{}, false // neither cron's, nor a greeter's, nor one whose home is still locked
	}
	a, err := netip.ParseAddr(fields["REMOTE_HOST"])
	return a.Unmap().WithZone(""), err == nil
}
