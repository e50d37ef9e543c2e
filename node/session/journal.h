/* Journal: what a node must remember across a crash, so that it never votes twice, never
 * masks two vectors with the same keys, and never forgets a sealed round. The participant
 * says what to write; here it becomes durable before anything else happens.
 *
 *   "NXJRNL1\n", then per record: u32 size | body | 32-byte link
 *   link = H("SA1/journal" | link of the record before (zeros for the first) | body)
 *
 * The links tell a torn or edited tail from a whole one. A journal whose tail is torn
 * FAILS CLOSED: what its last record said is unknown, so the caller must treat the attempt
 * it belonged to as closed. Little-endian. One thread. */
#pragma once

#include <stdbool.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/error.h"

#define NX_JOURNAL_RECORD_CAP ((uint32_t)16 << 20) /* largest body, bytes */
#define NX_JOURNAL_TORN 1                          /* opened, but the tail was lost */

struct nx_journal;

/* Called for every whole record, oldest first; a negative return stops the opening. */
typedef int (*nx_journal_visit)(void *context, struct nx_bytes body, struct nx_error *err);

/* Opens or makes the file at `path` (0600). 0, or NX_JOURNAL_TORN: the tail that is not
 * whole was moved to PATH.torn, and the journal goes on behind the last whole record. So says
 * every opening until a record was written, and the tail is PATH.lost from then on.
 * NX_E_FORMAT: not a journal. */
int nx_journal_open(const char *path, nx_journal_visit visit, void *context,
                    struct nx_journal **journal_out, struct nx_error *err);
/* Returns when the record is on disk. After a failure every further append fails too. */
int nx_journal_append(struct nx_journal *journal, struct nx_bytes body, struct nx_error *err);
/* Puts a fresh journal with only this record in place of the old one, atomically: what was
 * said before is no longer needed. */
int nx_journal_restart(struct nx_journal *journal, struct nx_bytes body, struct nx_error *err);
void nx_journal_close(struct nx_journal *journal); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_journal *, nx_journal_close)
