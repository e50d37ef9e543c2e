/* Arena: allocations that live exactly as long as one round, step or message.
 * Owned by one thread. Memory is aligned to 64 bytes and, unless taken raw, zeroed. */
#pragma once

#include <stddef.h>

#include "common/cleanup.h"
#include "common/error.h"

struct nx_arena;

/* cap: most bytes the arena may ever hold, 0 for no cap. */
int nx_arena_create(size_t cap, struct nx_arena **arena_out, struct nx_error *err);
/* NULL on exhaustion or when n * size overflows; valid until reset or destroy. */
void *nx_arena_alloc(struct nx_arena *arena, size_t n, size_t size);
/* The same without zeroing, for large arrays that are written before they are read. */
void *nx_arena_take(struct nx_arena *arena, size_t n, size_t size);
/* Forgets every allocation, keeps the largest block for reuse. */
void nx_arena_reset(struct nx_arena *arena);
/* The same, after zeroing every byte that was handed out: for arenas that held secrets. */
void nx_arena_wipe(struct nx_arena *arena);
size_t nx_arena_used(const struct nx_arena *arena);
void nx_arena_destroy(struct nx_arena *arena); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_arena *, nx_arena_destroy)
