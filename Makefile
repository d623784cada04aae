# smtpban
#
#   make                    build the program, its man pages and completions
#   sudo make install       install it, its units and its man pages below $(prefix)
#   sudo make uninstall     take that and the routes away again
#   make packages           pack it as .deb and .rpm, in build/packages
#   make demo               see it ban, without touching this machine
#   sudo make test          run every test, a real system with Postfix among them
#   sudo make bench         measure it beside C, ip, journalctl and fail2ban: a quarter of an hour
#   sudo make bench-quick   the same with a tenth of everything, in a minute
#   sudo make bench-reaction  see how many guesses the timer, watch and fail2ban let through
#   sudo make bench-activation  see what a start by the timer costs, systemd and the sandbox included
#   make bench-go           run the benchmarks of single packages
#   sudo make torture       run what must survive everything, at full length: hours
#   sudo make torture-kill  run a row of that
#   make torture-table      print what that found
#   make fuzz               read 10^8 mutated lines, then fuzz the parsers for FUZZTIME each
#   sudo make fixtures      let real mail servers write the parser's test data anew

prefix = /usr/local
sysconfdir = /etc
sbindir = $(prefix)/sbin
unitdir = $(prefix)/lib/systemd/system
sysusersdir = $(prefix)/lib/sysusers.d
tmpfilesdir = $(prefix)/lib/tmpfiles.d
catalogdir = $(prefix)/lib/systemd/catalog
docdir = $(prefix)/share/doc/smtpban
mandir = $(prefix)/share/man
bashdir = $(prefix)/share/bash-completion/completions
zshdir = $(prefix)/share/zsh/site-functions
fishdir = $(prefix)/share/fish/vendor_completions.d
protosdir = $(sysconfdir)/iproute2/rt_protos.d

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PACKAGE_VERSION ?= $(shell packaging/version 2>/dev/null || echo 0)

sources := go.mod go.sum $(shell find cmd internal man -type f ! -name '*_test.go' ! -path '*/testdata/*')
units := $(notdir $(wildcard units/*.service units/*.timer))
dropins := $(patsubst units/%,%,$(wildcard units/*.service.d/*.conf))
pages := $(patsubst man/%.md,build/man/%,$(wildcard man/*.md))
# All units have one page; the others' names lead to it.
aliases := $(addprefix build/man/,$(addsuffix .8,$(filter-out smtpban-block.service,$(units))))
completions := build/completion/bash build/completion/zsh build/completion/fish

.PHONY: all build man install uninstall packages demo test bench bench-quick bench-reaction bench-activation bench-go
.PHONY: torture torture-table fuzz fixtures clean
.DELETE_ON_ERROR:

# All that install needs: root's PATH often has no go.
all: build man $(completions)

build: bin/smtpban

# -buildvcs=false: the version is stamped here, and git refuses to answer root
# in somebody else's tree.
bin/smtpban: $(sources)
	CGO_ENABLED=1 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o $@ ./cmd/smtpban

man: $(pages) $(aliases)

build/man/%: man/%.md go.mod
	@mkdir -p $(@D)
	go tool github.com/cpuguy83/go-md2man/v2 -in $< -out $@

$(aliases): Makefile
	@mkdir -p $(@D)
	echo '.so man8/smtpban-block.service.8' >$@

build/completion/%: bin/smtpban
	@mkdir -p $(@D)
	bin/smtpban completion $* >$@

install: build man $(completions)
	install -D -m 0755 bin/smtpban $(DESTDIR)$(sbindir)/smtpban
	install -d $(DESTDIR)$(unitdir)
	for unit in $(units); do \
		sed 's|@sbindir@|$(sbindir)|' units/$$unit >$(DESTDIR)$(unitdir)/$$unit && \
		chmod 0644 $(DESTDIR)$(unitdir)/$$unit || exit; \
	done
	for dropin in $(dropins); do install -D -m 0644 units/$$dropin $(DESTDIR)$(unitdir)/$$dropin || exit; done
	install -D -m 0644 units/smtpban.sysusers $(DESTDIR)$(sysusersdir)/smtpban.conf
	install -D -m 0644 units/smtpban.tmpfiles $(DESTDIR)$(tmpfilesdir)/smtpban.conf
	install -D -m 0644 -t $(DESTDIR)$(catalogdir) units/smtpban.catalog
	install -D -m 0644 units/smtpban.rt_protos $(DESTDIR)$(protosdir)/smtpban.conf
	install -D -m 0644 -t $(DESTDIR)$(docdir)/networkd.conf.d units/10-smtpban.conf
	install -D -m 0644 -t $(DESTDIR)$(docdir) README.md
	for page in $(pages) $(aliases); do \
		install -D -m 0644 -t $(DESTDIR)$(mandir)/man$${page##*.} $$page || exit; \
	done
	install -D -m 0644 build/completion/bash $(DESTDIR)$(bashdir)/smtpban
	install -D -m 0644 build/completion/zsh $(DESTDIR)$(zshdir)/_smtpban
	install -D -m 0644 build/completion/fish $(DESTDIR)$(fishdir)/smtpban.fish
	install -d $(DESTDIR)$(sysconfdir)/smtpban/smtpban.d
	test -e $(DESTDIR)$(sysconfdir)/smtpban/smtpban.toml || \
		install -m 0644 internal/config/smtpban.toml $(DESTDIR)$(sysconfdir)/smtpban/smtpban.toml
ifeq ($(DESTDIR),)
	systemd-sysusers $(sysusersdir)/smtpban.conf
	systemd-tmpfiles --create $(tmpfilesdir)/smtpban.conf
	journalctl --update-catalog
	test ! -d /run/systemd/system || systemctl daemon-reload
	@echo
	@echo 'Installed. To see whom it would ban: smtpban block --dry-run'
	@echo 'To begin banning: systemctl enable --now smtpban-block.timer'
endif

uninstall:
# The leading "-": after half an uninstall the units are gone, and that is fine.
ifeq ($(DESTDIR),)
	-systemctl disable --now smtpban-block.timer smtpban-watch.service smtpban-report.timer smtpban-restore.service
	-systemctl stop $(filter-out %@.service,$(filter %.service,$(units))) 'smtpban-report-mail@*.service'
	-$(sbindir)/smtpban restore --undo
endif
	rm -f $(addprefix $(DESTDIR)$(unitdir)/,$(units))
	rm -rf $(addprefix $(DESTDIR)$(unitdir)/,$(dir $(dropins))) $(DESTDIR)$(docdir)
	rm -f $(DESTDIR)/etc/systemd/system/smtpban-report.service.wants/smtpban-report-mail@*.service
	rm -f $(DESTDIR)$(sbindir)/smtpban
	rm -f $(DESTDIR)$(sysusersdir)/smtpban.conf $(DESTDIR)$(tmpfilesdir)/smtpban.conf $(DESTDIR)$(protosdir)/smtpban.conf
	rm -f $(DESTDIR)$(catalogdir)/smtpban.catalog
	for page in $(notdir $(pages) $(aliases)); do rm -f $(DESTDIR)$(mandir)/man$${page##*.}/$$page; done
	rm -f $(DESTDIR)/var/lib/systemd/timers/stamp-smtpban-report.timer
	rm -f $(DESTDIR)$(bashdir)/smtpban $(DESTDIR)$(zshdir)/_smtpban $(DESTDIR)$(fishdir)/smtpban.fish
ifeq ($(DESTDIR),)
	journalctl --update-catalog
	test ! -d /run/systemd/system || systemctl daemon-reload
	@echo
	@echo 'Kept: the bans in /var/lib/smtpban, the configuration in $(sysconfdir)/smtpban, the user smtpban.'
endif

# Whoever publishes them sets MAINTAINER="NAME <ADDRESS>", too.
packages: build/packages/$(PACKAGE_VERSION)

build/packages/$(PACKAGE_VERSION): bin/smtpban $(pages) $(aliases) $(completions) Makefile README.md internal/config/smtpban.toml \
		$(wildcard packaging/* packaging/*/* units/* units/*/*)
	PACKAGE_VERSION='$(PACKAGE_VERSION)' packaging/build

demo:
	.ci/prerequisites
	$(MAKE) build
	integration/demo/demo.sh

# Run it as root: the tests that make network namespaces or boot a system skip,
# and say so, for others. The last line debootstraps Debian unless it is cached.
test:
	.ci/prerequisites
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "gofmt would change: $$unformatted"; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	CGO_ENABLED=0 go build -buildvcs=false ./...
	$(MAKE) build man
	go test -race $$(go list ./... | grep -v /integration/torture$$)
	go test ./integration/torture -count=1
	SMTPBAN_INTEGRATION=1 go test ./integration/ -count=1 -v -timeout 25m

# Goals, figures and their table: see integration/bench/README.md.
bench bench-quick:
	.ci/prerequisites
	$(MAKE) build
	go run ./integration/bench $(if $(filter bench-quick,$@),-quick) -seed $(or $(SEED),1)

bench-go:
	go test -run '^$$' -bench . -benchmem ./...

# In a booted Debian 12 and a 13 under attack: a quarter of an hour.
bench-reaction:
	.ci/prerequisites
	$(MAKE) build man
	CI=true SMTPBAN_INTEGRATION=1 SMTPBAN_REACTION=1 go test ./integration/ -count=1 -v -timeout 1h -run TestReaction

# In a booted Debian 12 and a 13: five minutes.
bench-activation:
	.ci/prerequisites
	$(MAKE) build man
	CI=true SMTPBAN_INTEGRATION=1 SMTPBAN_ACTIVATION=1 go test ./integration/ -count=1 -v -timeout 1h -run TestActivation

# The rows of the table in integration/README.md, each the test TestTorture... of that name:
# "make torture-kill" runs one of them, SEED and ROUNDS change it, and ROUND runs a
# single round again; LENGTH=90m and RATE=50, attempts a second, change that of watch.
# A run that was interrupted goes on where it was.
rows = kill failpoints powercut damage disk concurrent forged vacuum watch reboots addresses configurations month

ROW = $(rows)

torture:
	.ci/prerequisites
	$(MAKE) build man
	@failed=; for row in $(ROW); do \
		CI=true SMTPBAN_INTEGRATION=1 SMTPBAN_TORTURE=full \
		SMTPBAN_ROUNDS=$(ROUNDS) SMTPBAN_SEED=$(SEED) SMTPBAN_ROUND=$(ROUND) \
		SMTPBAN_LENGTH=$(LENGTH) SMTPBAN_RATE=$(RATE) \
		go test ./integration/... -count=1 -v -timeout 0 -run "(?i)^TestTorture$$row\$$" || failed="$$failed $$row"; \
	done; $(MAKE) -s torture-table; test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

torture-%:
	$(MAKE) torture ROW=$*

torture-table:
	@go run ./integration/torture/table $(rows)

# CI: a system that cannot be booted is a failure.
fixtures:
	.ci/prerequisites
	$(MAKE) build
	CI=true SMTPBAN_INTEGRATION=1 SMTPBAN_FIXTURES=$(CURDIR)/internal/postfix/testdata/captured \
		go test ./integration/ -count=1 -v -run TestFixtures
	go test ./internal/postfix/ -count=1 -run TestCaptured -update

FUZZTIME = 2m

fuzz:
	SMTPBAN_EXECUTIONS=100000000 go test ./internal/postfix/ -run Mutated -v -timeout 2h
	go test ./internal/postfix/ -run '^$$' -fuzz FuzzParse -fuzztime $(FUZZTIME) -fuzzminimizetime 100x
	go test ./internal/postfix/ -run '^$$' -fuzz FuzzRestore -fuzztime $(FUZZTIME) -fuzzminimizetime 100x
	go test ./internal/store/ -run '^$$' -fuzz FuzzImport -fuzztime $(FUZZTIME) -fuzzminimizetime 100x
	go test ./internal/foreign/ -run '^$$' -fuzz FuzzBans -fuzztime $(FUZZTIME) -fuzzminimizetime 100x

clean:
	rm -rf bin build
