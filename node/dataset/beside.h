/* Beside: what a recording's reader opened, or looked for, in the folder of the file it was given:
 * samples, markers, a mask, a sidecar. A recording is all of them, for what names a data set as for
 * what may be taken from the cache. */
#pragma once

#include "crypto/hash.h"
#include "node/recordings/recording.h"

struct nx_beside_file {
  char *name; /* plain, of the same folder */
  bool there;
  struct nx_hash hash; /* of its bytes; zero when it is not there */
};

struct nx_beside {
  size_t n;
  struct nx_beside_file files[NX_RECORDING_BESIDE]; /* in the order in which they were asked for */
};

/* path: the recording's, with or without "#part". Reads each of the files. */
int nx_beside_take(const struct nx_recording *recording, const char *path,
                   struct nx_beside *beside_out, struct nx_error *err);
/* Whether the same files are there now, with the same bytes. */
bool nx_beside_same(const struct nx_beside *beside, const char *path);
/* Whether one of them was changed since (nx_clock_unix()). */
bool nx_beside_changed_since(const struct nx_beside *beside, const char *path, int64_t since);
/* The recording's hash: its file's own, when nothing was there beside it; else SHA-256 over
 * ("neurox recording v1", own, the others' hashes in their order). Names count for nothing. */
struct nx_hash nx_beside_hash(const struct nx_beside *beside, const struct nx_hash *own);
void nx_beside_finish(struct nx_beside *beside); /* zeroed is fine */
