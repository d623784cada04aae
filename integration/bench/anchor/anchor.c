// The anchor: what reading these entries costs a small C program.
//
//	anchor scan DIR MATCH...           next, MESSAGE and realtime of every entry
//	anchor after DIR CURSOR MATCH...   the same of those after the cursor
//	anchor seek DIR CURSOR MATCH...    is there anything after the cursor?
//
// A MATCH of + is a disjunction. It prints the number of entries and of bytes.

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-journal.h>

static int fail(const char *what, int r)
{
	fprintf(stderr, "anchor: %s: %s\n", what, strerror(-r));
	return 1;
}

int main(int argc, char **argv)
{
	sd_journal *j;
	int r, i = 3;
	const char *how, *cursor = NULL;
	uint64_t entries = 0, bytes = 0;

	if (argc < 4)
		return fail("usage", -22);
	how = argv[1];
	if ((r = sd_journal_open_directory(&j, argv[2], 0)) < 0)
		return fail("open", r);
	if (strcmp(how, "scan") != 0)
		cursor = argv[i++];
	for (; i < argc; i++) {
		r = strcmp(argv[i], "+") == 0 ? sd_journal_add_disjunction(j) : sd_journal_add_match(j, argv[i], 0);
		if (r < 0)
			return fail("match", r);
	}
	r = cursor ? sd_journal_seek_cursor(j, cursor) : sd_journal_seek_head(j);
	if (r < 0)
		return fail("seek", r);
	if (cursor) {
		if ((r = sd_journal_next(j)) < 0)
			return fail("next", r);
		if (sd_journal_test_cursor(j, cursor) <= 0)
			return fail("the cursor is of no entry", -2);
	}
	while ((r = sd_journal_next(j)) > 0) {
		const void *data;
		size_t length;
		uint64_t realtime;
		if ((r = sd_journal_get_data(j, "MESSAGE", &data, &length)) < 0)
			return fail("data", r);
		if ((r = sd_journal_get_realtime_usec(j, &realtime)) < 0)
			return fail("realtime", r);
		entries++;
		bytes += length;
		if (strcmp(how, "seek") == 0)
			break;
	}
	if (r < 0)
		return fail("next", r);
	printf("%lu %lu\n", (unsigned long)entries, (unsigned long)bytes);
	sd_journal_close(j);
	return 0;
}
