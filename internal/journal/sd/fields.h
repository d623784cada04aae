#include <stdint.h>

// fields is what is wanted of an entry: values without the name, and their lengths.
struct fields {
	uint32_t whole; // not 0 if all of it was read
	uint32_t tag_length, pid_length, message_length;
	uint64_t realtime, monotonic;
	char tag[256], pid[16], message[8192];
};

// fields_library finds the functions of the libsystemd that is loaded. It returns
// 0 if that is not possible.
int fields_library(void);

// fields_next goes to the next entry, and returns what sd_journal_next(3) does. It
// reads that entry if it is whole, in the usual form and no longer than usual.
int fields_next(void *journal, struct fields *);
