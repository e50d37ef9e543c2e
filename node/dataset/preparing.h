/* Preparing: says in the log how far reading and preprocessing of a data set is, every few seconds
 * where it takes longer than that, and once at the end. Counts, no names. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nx_preparing {
  size_t total;
  _Atomic size_t done, cached;
  int64_t begun;
  _Atomic int64_t told; /* nx_clock_monotonic() */
};

void nx_preparing_begin(struct nx_preparing *preparing, size_t total);
/* One more is done, found in the cache or computed. Any thread. */
void nx_preparing_tell(struct nx_preparing *preparing, bool cached);
void nx_preparing_end(const struct nx_preparing *preparing);
