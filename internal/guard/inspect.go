package guard

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Instance is how an instance of Postfix logs and learns who its clients are.
type Instance struct {
	Directory string   // of its settings
	MailOwner string   // the user whose entries are its own
	Maillog   string   // the file that it logs to instead of syslog, "" if none
	Proxied   []string // services that a proxy tells who the client is: submission/inet
}

// Inspect asks postconf about all instances of Postfix (postmulti(1)). With an
// error come those that answered. It is an exec.ErrNotFound where there is no
// postconf.
func Inspect() ([]Instance, error) { return inspect(mainDirectory, postconf) }

func inspect(directory string, ask func(args ...string) (string, error)) (all []Instance, err error) {
	first, others, err := inspectOne(directory, ask)
	if err != nil {
		return nil, err
	}
	all = append(all, first)
	for _, directory := range others {
		next, _, err := inspectOne(directory, ask)
		if err != nil {
			return all, err
		}
		all = append(all, next)
	}
	return all, nil
}

// upstream ends the names of the settings by which a program believes what a
// proxy says about the client.
const upstream = "_upstream_proxy_protocol"

// inspectOne asks about the instance with its settings in this directory.
func inspectOne(directory string, ask func(args ...string) (string, error)) (i Instance, others []string, err error) {
	var output [3]string
	for n, args := range [][]string{
		{"-x", "mail_owner", "maillog_file", instanceDirectories, "smtpd" + upstream, "postscreen" + upstream},
		{"-F", "*/inet/command"},
		{"-x", "-P", "*/inet/smtpd" + upstream, "*/inet/postscreen" + upstream},
	} {
		if output[n], err = ask(append([]string{"-c", directory}, args...)...); err != nil {
			return Instance{}, nil, fmt.Errorf("asking postconf about %s: %w", directory, err)
		}
	}
	values := settings(output[0])
	i = Instance{
		Directory: directory, MailOwner: values["mail_owner"], Maillog: values["maillog_file"],
		Proxied: proxied(values, settings(output[1]), settings(output[2])),
	}
	return i, instances(output[0]), nil
}

// proxied returns the services that have the protocol on: by main.cf, or by an
// option in master.cf, which wins.
func proxied(global, commands, options map[string]string) (services []string) {
	for name, command := range commands {
		service := path.Dir(name) // submission/inet/command
		setting := strings.Fields(command + " -")[0] + upstream
		protocol, given := options[service+"/"+setting]
		if !given {
			protocol = global[setting]
		}
		if protocol != "" {
			services = append(services, service)
		}
	}
	slices.Sort(services)
	return services
}
