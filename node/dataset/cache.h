/* Cache: what was computed from recordings, by the hash of all it was computed from, in a folder of
 * the site's home:
 *
 *   HOME/cache/<sha256>   magic, key, size, payload, SHA-256 of all before (0600; the folder 0700)
 *             /people     hash of the list of those who withdrew when the entries were made
 *
 * An entry whose bytes do not hash to its last line, or which is another's, is removed and counts as
 * not there. When the folder grows beyond its cap, entries that were used longest ago go first. When
 * the list of people who withdrew is another one, all entries go: nothing computed from somebody
 * outlives their consent by more than that. Entries are for the very programs that wrote them.
 *
 * Whatever goes wrong in here costs time, never a run. Any thread, any number of processes. */
#pragma once

#include "common/bytes.h"
#include "common/cleanup.h"
#include "crypto/hash.h"

#define NX_CACHE_SPARE ((uint64_t)1 << 30) /* bytes of the disk that it leaves free */

struct nx_cache;

/* cap: bytes, above 0. reader: the other program that takes part (neurox-reader), or NULL.
 * withdrawn: of the list of people. */
int nx_cache_open(const char *folder, uint64_t cap, const char *reader,
                  const struct nx_hash *withdrawn, struct nx_cache **cache_out,
                  struct nx_error *err);
void nx_cache_close(struct nx_cache *cache); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_cache *, nx_cache_close)

/* Of the programs: belongs into every key. */
const struct nx_hash *nx_cache_programs(const struct nx_cache *cache);
/* The payload, which the caller finishes, and true; or false. */
bool nx_cache_get(struct nx_cache *cache, const struct nx_hash *key, struct nx_buffer *payload_out);
/* False: it is not kept (too large, no room, the disk refused), and what was there is as before. */
bool nx_cache_put(struct nx_cache *cache, const struct nx_hash *key, struct nx_bytes payload);
/* Removes all entries of a folder, when there is one; how many. */
size_t nx_cache_empty(const char *folder);
