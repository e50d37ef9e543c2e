/* Derived: preprocessed recordings in the cache (cache.h). What is found there is bit for bit what
 * loading the file anew would give, or it is not used: the key holds the file's hash, the plan's
 * pipeline, what the site and the BIDS tree say of the recording, and the programs; and the files
 * beside it are compared with those that were read. */
#pragma once

#include "node/dataset/cache.h"
#include "node/dataset/load.h"
#include "node/dataset/signal_load.h"

/* One recording that is wanted. */
struct nx_derived {
  struct nx_cache *cache; /* NULL: nothing is found or kept */
  const char *path;       /* as for loading, maybe with "#part" */
  int64_t since;          /* nx_clock_unix() before the file was hashed: what was changed later is
                           * not kept */
  struct nx_hash key;
};

/* file: hash of the file's bytes. options, plan, modality: as for loading; NX_MODALITIES for
 * nx_load_recording(). */
int nx_derived_want(struct nx_cache *cache, const char *path, int64_t since,
                    const struct nx_hash *file, const struct nx_load_options *options,
                    const struct nx_plan *plan, enum nx_modality modality,
                    struct nx_derived *out, struct nx_error *err);
bool nx_derived_find(const struct nx_derived *derived, struct nx_loaded *loaded_out);
void nx_derived_keep(const struct nx_derived *derived, struct nx_loaded *loaded);
bool nx_derived_find_signal(const struct nx_derived *derived, struct nx_loaded_signal *signal_out);
void nx_derived_keep_signal(const struct nx_derived *derived, struct nx_loaded_signal *signal);
