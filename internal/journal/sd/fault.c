//go:build cgo

// libsystemd maps the journal files. Where a mapped file was cut off since, or
// the disk fails, the kernel sends SIGBUS to whoever reads there. In C code that
// is the end of a Go process, which nothing in Go can prevent. journalctl(1) has
// a handler for that; whoever uses the library brings his own, and this is ours:
// it puts a page of zeros in the place of the one that cannot be read, and
// writes down which file it was of.
//
// Why this is sound:
//
//   - SIGBUS comes to the thread that read, at the instruction that read, which
//     is repeated when the handler returns. A reader keeps to one thread, so
//     what is written down for a reader is only touched by its own thread.
//   - The handler runs on the alternate stack that Go gives to every thread. It
//     needs about a kilobyte of the 32 that this has. Except for mmap, which is
//     a bare system call, it calls nothing but async-signal-safe functions, and
//     it takes no lock.
//   - Only pages of journal files are replaced, for readers only, and in their
//     thread. Everything else, a fault in the mapped state above all, goes to
//     the action that was there before, which is Go's: it makes a panic of it.
//     os/signal asks of those who install a handler to go about it like this.
//   - Zeros are no journal: there is no object that begins with its size zero,
//     so that libsystemd finds a damaged file, as after a crash in which pages
//     were not written. It has no other defence when its own tools use such a
//     handler. What zeros can do inside of a field, the reader looks for.
//   - One thing it can't mend: libsystemd asserts of some objects that they are
//     still what it has just found them to be, and aborts the process if a file
//     was cut off in between, once in tens of thousands of such cuts. That loses
//     nothing. What was read is committed together with how far, and the next
//     run finds the damage as it opens the file.
//   - The page stays until libsystemd unmaps it, and does not show what may be
//     written there again. The reader is closed and the process ends soon.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault.h"

static __thread struct faults *mine; // the readers of this thread

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; // never taken by the handler
static unsigned watching;                                // threads and their readers
static struct sigaction before;                          // Go's
static uintptr_t page;                                   // its size

static const char deleted[] = " (deleted)";

// mapping is a line of /proc/self/maps, as far as it was read:
// 7f0000000000-7f0000001000 r--s 00000000 fe:00 1234    /var/log/journal/…
struct mapping {
	enum { START, END, REST } part;
	uintptr_t start, end;
	bool path;                                  // it has one
	size_t length;                              // of the part after the last slash
	char name[FAULT_NAME + sizeof deleted - 1]; // that part, if there is room
};

static uintptr_t digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

static void take(struct mapping *m, char c)
{
	if (m->part == START && c == '-')
		m->part = END;
	else if (m->part == START)
		m->start = m->start << 4 | digit(c);
	else if (m->part == END && c == ' ')
		m->part = REST;
	else if (m->part == END)
		m->end = m->end << 4 | digit(c);
	else if (c == '/') {
		m->path = true;
		m->length = 0;
	} else if (m->length < sizeof m->name)
		m->name[m->length++] = c;
}

// find looks for the mapping that holds the address.
static bool find(uintptr_t at, struct mapping *m)
{
	char text[512];
	ssize_t n;
	bool found = false;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	memset(m, 0, sizeof *m);
	while (!found && (n = read(fd, text, sizeof text)) > 0) {
		for (ssize_t i = 0; i < n && !found; i++) {
			if (text[i] != '\n') {
				take(m, text[i]);
				continue;
			}
			found = m->start <= at && at < m->end;
			if (!found)
				memset(m, 0, sizeof *m);
		}
	}
	close(fd);
	return found;
}

static bool cut(struct mapping *m, const char *suffix)
{
	size_t length = strlen(suffix);
	if (m->length < length || memcmp(m->name + m->length - length, suffix, length) != 0)
		return false;
	m->length -= length;
	return true;
}

// is_journal reports whether the mapping is of a journal file, and cuts its name
// to that.
static bool is_journal(struct mapping *m)
{
	if (!m->path || m->length == sizeof m->name)
		return false;
	cut(m, deleted);
	size_t whole = m->length;
	bool is = cut(m, ".journal") || cut(m, ".journal~");
	m->length = whole;
	return is && whole < FAULT_NAME;
}

static void note(struct faults *f, const struct mapping *m)
{
	f->count++;
	for (uint32_t i = 0; i < f->names; i++)
		if (strlen(f->name[i]) == m->length && memcmp(f->name[i], m->name, m->length) == 0)
			return;
	if (f->names == FAULT_NAMES)
		return;
	memcpy(f->name[f->names], m->name, m->length); // the rest is zero
	f->names++;
}

// mend lets the thread read zeros where it could not read a journal.
static bool mend(uintptr_t at)
{
	struct mapping m;
	if (!find(at, &m) || !is_journal(&m))
		return false;
	void *start = (void *)(at & ~(page - 1));
	if (mmap(start, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return false;
	for (struct faults *f = mine; f; f = f->next)
		note(f, &m);
	return true;
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	int saved = errno;
	bool mended = mine && info->si_code == BUS_ADRERR && mend((uintptr_t)info->si_addr);
	errno = saved;
	if (mended)
		return;
	if (before.sa_flags & SA_SIGINFO)
		before.sa_sigaction(sig, info, context);
	else
		sigaction(sig, &before, NULL); // for when the instruction is repeated
}

struct faults *faults_watch(void)
{
	struct faults *f = calloc(1, sizeof *f);
	int failed = f ? 0 : -1;
	if (failed)
		return NULL;
	pthread_mutex_lock(&lock);
	if (watching == 0) {
		struct sigaction ours = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };
		sigfillset(&ours.sa_mask); // as Go does: nothing may interrupt it
		page = sysconf(_SC_PAGESIZE);
		failed = sigaction(SIGBUS, NULL, &before);
		if (!failed)
			failed = sigaction(SIGBUS, &ours, NULL);
	}
	if (!failed)
		watching++;
	pthread_mutex_unlock(&lock);
	if (failed) {
		free(f);
		return NULL;
	}
	f->next = mine;
	mine = f;
	return f;
}

void faults_unwatch(struct faults *f)
{
	for (struct faults **at = &mine; *at; at = &(*at)->next)
		if (*at == f) {
			*at = f->next;
			break;
		}
	pthread_mutex_lock(&lock);
	if (--watching == 0)
		sigaction(SIGBUS, &before, NULL);
	pthread_mutex_unlock(&lock);
	free(f);
}
