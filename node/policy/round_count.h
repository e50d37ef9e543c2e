/* Round count: how many rounds this site joined within any 24 hours, and the latest time its
 * clock ever showed; durable, in one small file. A sliding day has no midnight to wait for.
 *
 * A clock that is set back never frees room: times that lie ahead count as within the day, and
 * a clock more than ten minutes behind the latest it showed refuses rounds. One that is set
 * forward while the process runs frees none either: ages are then monotonic. One thread. */
#pragma once

#include "common/cleanup.h"
#include "common/file.h"

struct nx_round_count;

struct nx_now {            /* nanoseconds */
  int64_t wall, monotonic; /* wall: Unix time */
};
struct nx_now nx_now(void);

int nx_round_count_open(const char *path, struct nx_round_count **count_out, struct nx_error *err);
void nx_round_count_destroy(struct nx_round_count *count); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_round_count *, nx_round_count_destroy)

/* Rounds other than `round` that were joined in the 24 hours before now. */
uint32_t nx_round_count_recent(const struct nx_round_count *count, uint64_t round,
                               struct nx_now now);
/* NX_E_DENIED: the clock was set back. */
int nx_round_count_check_clock(const struct nx_round_count *count, struct nx_now now,
                               struct nx_error *err);
/* `round` is being joined; counts once. Durable when it returns. */
int nx_round_count_add(struct nx_round_count *count, uint64_t round, struct nx_now now,
                       struct nx_error *err);
