package guard

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// answering is a postconf that knows what it prints, by its arguments.
type answering map[string]string

func (a answering) ask(args ...string) (string, error) {
	output, known := a[strings.Join(args, " ")]
	if !known {
		return "", errors.New("fatal: open main.cf: no such file")
	}
	return output, nil
}

const (
	globals  = " -x mail_owner maillog_file multi_instance_directories smtpd_upstream_proxy_protocol postscreen_upstream_proxy_protocol"
	commands = " -F */inet/command"
	options  = " -x -P */inet/smtpd_upstream_proxy_protocol */inet/postscreen_upstream_proxy_protocol"
)

func TestInspectTellsHowEachInstanceLogsAndLearnsItsClients(t *testing.T) {
	postconf := answering{
		"-c in" + globals: "mail_owner = postfix\nmaillog_file =\nmulti_instance_directories = out\n" +
			"smtpd_upstream_proxy_protocol =\npostscreen_upstream_proxy_protocol =\n",
		"-c in" + commands: "smtp/inet/command = postscreen\nsubmission/inet/command = smtpd -o smtpd_upstream_proxy_protocol=haproxy\n" +
			"192.0.2.1:10025/inet/command = smtpd -v\nother/inet/command =\n",
		"-c in" + options: "submission/inet/smtpd_upstream_proxy_protocol = haproxy\nsmtp/inet/postscreen_upstream_proxy_protocol = haproxy\n",
		"-c out" + globals: "mail_owner = other\nmaillog_file = /var/log/postfix.log\nmulti_instance_directories = more\n" +
			"smtpd_upstream_proxy_protocol = haproxy\npostscreen_upstream_proxy_protocol =\n",
		"-c out" + commands: "smtp/inet/command = smtpd\nsmtps/inet/command = smtpd -o smtpd_upstream_proxy_protocol=\nqmqp/inet/command = qmqpd\n",
		"-c out" + options:  "smtps/inet/smtpd_upstream_proxy_protocol =\n",
	}
	got, err := inspect("in", postconf.ask)
	if err != nil {
		t.Fatal(err)
	}
	want := []Instance{
		{Directory: "in", MailOwner: "postfix", Proxied: []string{"smtp/inet", "submission/inet"}},
		{Directory: "out", MailOwner: "other", Maillog: "/var/log/postfix.log", Proxied: []string{"smtp/inet"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestInspectTellsOfTheOtherInstancesWhereOneDoesNotAnswer(t *testing.T) {
	postconf := answering{
		"-c in" + globals:  "mail_owner = postfix\nmulti_instance_directories = gone\n",
		"-c in" + commands: "smtp/inet/command = smtpd\n",
		"-c in" + options:  "",
	}
	got, err := inspect("in", postconf.ask)
	want := []Instance{{Directory: "in", MailOwner: "postfix"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err == nil || err.Error() != "asking postconf about gone: fatal: open main.cf: no such file" {
		t.Errorf("error %v, want that of the other instance", err)
	}
}
