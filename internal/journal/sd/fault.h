#include <stdint.h>

enum {
	FAULT_NAMES = 16, // files that are told apart
	FAULT_NAME = 256, // bytes of a name, with the zero at its end
};

// faults is what one reader was spared.
struct faults {
	uint32_t count; // pages that could not be read
	uint32_t names;
	char name[FAULT_NAMES][FAULT_NAME]; // of the files
	struct faults *next;                // another reader of the same thread
};

// faults_watch lets the calling thread read on where a journal file cannot be
// read, until faults_unwatch is called in the same thread. It returns NULL and
// sets errno if that is not possible.
struct faults *faults_watch(void);
void faults_unwatch(struct faults *);
