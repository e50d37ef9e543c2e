#include "node/dataset/preparing.h"

#include <stdatomic.h>

#include "common/clock.h"
#include "common/log.h"

#define EVERY (2 * NX_SECOND)

void nx_preparing_begin(struct nx_preparing *preparing, size_t total) {
  preparing->total = total;
  preparing->begun = nx_clock_monotonic();
  atomic_store(&preparing->told, preparing->begun);
}

void nx_preparing_tell(struct nx_preparing *preparing, bool cached) {
  size_t of_cache = atomic_fetch_add(&preparing->cached, cached) + cached;
  size_t done = atomic_fetch_add(&preparing->done, 1) + 1;
  int64_t now = nx_clock_monotonic(), told = atomic_load(&preparing->told);
  if (now - told >= EVERY && done < preparing->total &&
      atomic_compare_exchange_strong(&preparing->told, &told, now))
    NX_LOG(NX_LOG_INFO, "data.preparing", NX_U64("done", done), NX_U64("of", preparing->total),
           NX_U64("from_cache", of_cache));
}

void nx_preparing_end(const struct nx_preparing *preparing) {
  NX_LOG(NX_LOG_INFO, "data.prepared", NX_U64("recordings", preparing->done),
         NX_U64("from_cache", preparing->cached),
         NX_F64("seconds", 1e-9 * (double)(nx_clock_monotonic() - preparing->begun)));
}
