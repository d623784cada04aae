//go:build cgo

// Of each entry a few fields are wanted. sd_journal_get_data(3) walks over all
// fields of the entry for each of them, and each call from Go costs a lock, a copy
// of the name and the way into C and back. Here one call goes to the next entry and
// takes all that is wanted in one walk.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

#include "fields.h"

static struct {
	int (*next)(void *);
	void (*restart)(void *);
	int (*enumerate)(void *, const void **, size_t *);
	int (*realtime)(void *, uint64_t *);
	int (*monotonic)(void *, uint64_t *, uint8_t boot[16]);
} library;

int fields_library(void)
{
	void *loaded = dlopen("libsystemd.so.0", RTLD_LAZY | RTLD_NOLOAD);
	if (!loaded)
		return 0;
	library.next = dlsym(loaded, "sd_journal_next");
	library.restart = dlsym(loaded, "sd_journal_restart_data");
	library.enumerate = dlsym(loaded, "sd_journal_enumerate_data");
	library.realtime = dlsym(loaded, "sd_journal_get_realtime_usec");
	library.monotonic = dlsym(loaded, "sd_journal_get_monotonic_usec");
	dlclose(loaded); // whoever loaded it keeps it
	return library.next && library.restart && library.enumerate && library.realtime && library.monotonic;
}

// field is one that is wanted.
struct field {
	const char *name; // with the =
	uint32_t name_length;
	uint32_t room;
	char *value;
	uint32_t *length; // 0 until it is found
};

#define FIELD(from, to) { from "=", sizeof from, sizeof f->to, f->to, &f->to##_length }

static bool has_name(const struct field *want, const char *data, size_t length)
{
	return length > want->name_length && *data == *want->name && memcmp(data, want->name, want->name_length) == 0;
}

// copy takes a value, unless it is longer than usual or has zeros in it: see
// Reader.field. What was copied is looked at, since a file may be cut off meanwhile.
static bool copy(const struct field *want, const char *data, size_t length)
{
	data += want->name_length;
	length -= want->name_length;
	if (length > want->room)
		return false;
	memcpy(want->value, data, length);
	*want->length = length;
	return !memchr(want->value, 0, length);
}

// read_fields reads the entry on which the journal stands. Of a field that is there
// several times the first counts, as it does for sd_journal_get_data.
static bool read_fields(void *journal, struct fields *f)
{
	const struct field wanted[] = { FIELD("SYSLOG_IDENTIFIER", tag), FIELD("SYSLOG_PID", pid), FIELD("MESSAGE", message) };
	const unsigned all = sizeof wanted / sizeof *wanted;
	const void *data;
	size_t length;
	uint8_t boot[16];

	f->tag_length = f->pid_length = f->message_length = 0;
	library.restart(journal);
	for (unsigned found = 0; found < all;) {
		if (library.enumerate(journal, &data, &length) <= 0)
			return false;
		for (unsigned i = 0; i < all; i++) {
			if (*wanted[i].length > 0 || !has_name(&wanted[i], data, length))
				continue;
			if (!copy(&wanted[i], data, length))
				return false;
			found++;
			break;
		}
	}
	return library.realtime(journal, &f->realtime) >= 0 && library.monotonic(journal, &f->monotonic, boot) >= 0;
}

int fields_next(void *journal, struct fields *f)
{
	int r = library.next(journal);
	f->whole = r > 0 && read_fields(journal, f);
	return r;
}
