/* Arena: allocations that live exactly as long as one round, step or message.
 * Owned by one thread. Memory is aligned to 64 bytes and, unless taken raw, zeroed. */
#pragma once

#include <stddef.h>

#include "common/cleanup.h"
#include "common/error.h"

struct nx_arena;

/* cap: most bytes the arena may ever hold, 0 for no cap. */
int nx_arena_create(size_t cap, struct nx_arena **arena_out, struct nx_error *err);
/* The same over address space alone: only what is written takes memory, so that a computation that
 * writes nothing can be asked how much it would take. */
int nx_arena_create_hollow(struct nx_arena **arena_out, struct nx_error *err);
/* NULL on exhaustion or when n * size overflows; valid until reset or destroy. */
void *nx_arena_alloc(struct nx_arena *arena, size_t n, size_t size);
/* The same without zeroing, for large arrays that are written before they are read. */
void *nx_arena_take(struct nx_arena *arena, size_t n, size_t size);
/* A place to go back to: rewinding forgets what was taken since, and keeps the room. Marks are used
 * like brackets, and none outlives a reset. */
struct nx_arena_mark {
  void *block;
  size_t block_used, used;
};
struct nx_arena_mark nx_arena_mark(const struct nx_arena *arena);
void nx_arena_rewind(struct nx_arena *arena, const struct nx_arena_mark *mark);
/* Forgets every allocation, keeps the largest block for reuse. */
void nx_arena_reset(struct nx_arena *arena);
/* The same, after zeroing every byte that was handed out: for arenas that held secrets. */
void nx_arena_wipe(struct nx_arena *arena);
size_t nx_arena_used(const struct nx_arena *arena);
/* The most that was in use at once since the arena was made or reset. */
size_t nx_arena_peak(const struct nx_arena *arena);
void nx_arena_destroy(struct nx_arena *arena); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_arena *, nx_arena_destroy)
