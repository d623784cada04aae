package main

import (
	"errors"
	"os/exec"
	"strings"

	"smtpban/internal/guard"
)

func (d *doctor) postfixSettings() finding {
	switch {
	case errors.Is(d.errInstances, exec.ErrNotFound):
		return warning("install smtpban where Postfix runs; if this is that system, see to it that postconf(1) is in the PATH or in /usr/sbin",
			"there is no postconf, so that nothing is known of Postfix's settings")
	case d.errInstances != nil:
		return fault("postfix check tells more; as long as postconf fails, smtpban goes by the settings as last seen", "%s", oneLine(d.errInstances))
	}
	var directories []string
	for _, i := range d.instances {
		directories = append(directories, i.Directory)
	}
	return ok("read from %s", some(directories))
}

// postfixLog finds out whether Postfix logs somewhere else than where we read.
func (d *doctor) postfixLog() finding {
	var f finding
	for _, i := range d.instances {
		if i.Maillog != "" {
			f.fail("postconf -c "+i.Directory+" -X maillog_file, then postfix reload: Postfix logs to the journal then",
				"%s has maillog_file = %s", i.Directory, i.Maillog)
		}
	}
	for _, unit := range []string{"postfix.service", "postfix@-.service"} {
		if space := d.units[unit]["LogNamespace"]; space != "" && d.cfg.Journal.Directory == "" {
			f.fail("take LogNamespace= out of the unit, or name that journal as directory in [journal]",
				"%s logs to the journal namespace %s", unit, space)
		}
	}
	if len(d.instances) == 0 {
		return f.or(skipped("Postfix's settings are not known"))
	}
	return f.or(ok("Postfix logs by syslog(3)"))
}

// proxyProtocol finds services that are told by a proxy who the client is. The
// packets are the proxy's, so that a route to the client keeps nobody out.
func (d *doctor) proxyProtocol() finding {
	if len(d.instances) == 0 {
		return skipped("Postfix's settings are not known")
	}
	var f finding
	for _, i := range d.instances {
		if len(i.Proxied) > 0 {
			f.fail("block clients of these services at the proxy; or let clients come without it, and take "+
				"*_upstream_proxy_protocol out of main.cf and master.cf (postconf -P)",
				"%s: %s are told by a proxy who the client is", i.Directory, strings.Join(i.Proxied, ", "))
		}
	}
	return f.or(ok("no service is told by a proxy who the client is"))
}

// otherOwners returns the instances whose entries do not count since another user
// writes them.
func (d *doctor) otherOwners() (others []guard.Instance) {
	for _, i := range d.instances {
		if i.MailOwner != d.instances[0].MailOwner {
			others = append(others, i)
		}
	}
	return others
}
