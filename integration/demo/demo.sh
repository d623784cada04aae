#!/usr/bin/env bash
# Shows smtpban at work on what a real Postfix logged, without touching this
# machine: the log becomes a journal in a temporary directory, and the routes go
# into a network namespace that vanishes with this script.
#
#   integration/demo/demo.sh [CAPTURE]
#
# CAPTURE is the output of journalctl -o export, capture.export by default.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
capture=$(realpath "${1:-$here/capture.export}")

if [ -z "${SMTPBAN_DEMO_INSIDE-}" ]; then
	namespace=(unshare --net)
	[ "$(id -u)" -eq 0 ] || namespace+=(--map-root-user)
	if ! "${namespace[@]}" ip link set lo up; then
		echo "demo: no network namespace can be made here; run it as root" >&2
		exit 1
	fi
	SMTPBAN_DEMO_INSIDE=yes exec "${namespace[@]}" "$0" "$capture"
fi

exec 2>&1 # so that what is said stays in order

# step says what comes next; run shows a command and runs it.
step() { printf '\n# %s\n' "$1"; }
run() { printf '$ %s\n' "$1" && eval "$1"; }

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
PATH=$here/../../bin:/usr/sbin:/sbin:/usr/lib/systemd:$PATH
ln -s "$capture" capture.export
cp "$here/../../internal/config/smtpban.toml" .
mkdir journal
ip link set lo up

step "A journal is made of what Postfix logged."
run "systemd-journal-remote -o journal/log.journal - <capture.export"
run "journalctl -D journal -q -o cat -g 'LOGIN authentication failed' | sed -n 1,3p"

step "Who wrote such lines? The kernel tells. Those of another uid than Postfix's are forged."
run "journalctl -D journal -q -o export -t postfix/smtpd -t postfix/submission/smtpd \\
    -g 'authentication failed' | grep ^_UID= | sort | uniq -c | sort -nr | tee uids"
uid=$(awk -F = 'NR == 1 { print $2 }' uids)

# By the clock all bans would be over.
end=$(journalctl -D journal -q -o short-unix -n 1 | cut -d. -f1)
step "smtpban reads the log, as if it were the moment after its end."
run "demo='--config smtpban.toml --state demo.db --now @$((end + 1))'"
run "smtpban block -v -D journal --postfix-user $uid \$demo"

step "Who attacked, and what became of them. The forged lines accuse nobody."
run 'smtpban report $demo'

step "What the kernel holds now."
run 'ip -4 route show proto 213'
run 'ip -6 route show proto 213'

banned=$(smtpban list --no-legend $demo | awk 'NR == 1 { print $1 }')
step "One of them called the help desk."
run "smtpban unban $banned \$demo"
run 'ip -4 route show proto 213'

step "The log is read again: nothing is new, and nothing changes."
run "smtpban block -v -D journal --postfix-user $uid \$demo"
