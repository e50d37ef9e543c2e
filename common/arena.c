#include "common/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"

#define ALIGNMENT 64
#define FIRST_BLOCK ((size_t)64 << 10)

struct block {
  struct block *previous;
  size_t size, used; /* both count bytes of data */
  _Alignas(ALIGNMENT) uint8_t data[];
};

struct nx_arena {
  struct block *last;
  size_t cap, allocated, used;
};

int nx_arena_create(size_t cap, struct nx_arena **arena_out, struct nx_error *err) {
  struct nx_arena *arena = calloc(1, sizeof *arena);
  if (!arena)
    return nx_fail(err, NX_E_NOMEM, "out of memory for an arena");
  arena->cap = cap;
  *arena_out = arena;
  return 0;
}

static struct block *add_block(struct nx_arena *arena, size_t need) {
  size_t size = arena->last ? NX_MAX(need, arena->last->size * 2) : NX_MAX(need, FIRST_BLOCK);
  if (arena->cap && size > arena->cap - arena->allocated)
    size = arena->cap - arena->allocated;
  size_t total;
  if (size < need || !nx_size_add(sizeof(struct block), size, &total) ||
      !nx_size_add(total, ALIGNMENT - 1, &total))
    return NULL;
  struct block *block = aligned_alloc(ALIGNMENT, total & ~(size_t)(ALIGNMENT - 1));
  if (!block)
    return NULL;
  block->previous = arena->last;
  block->size = size;
  block->used = 0;
  arena->last = block;
  arena->allocated += size;
  return block;
}

void *nx_arena_take(struct nx_arena *arena, size_t n, size_t size) {
  size_t bytes;
  if (!nx_size_mul(n, size, &bytes) || !nx_size_add(bytes, ALIGNMENT - 1, &bytes))
    return NULL;
  bytes &= ~(size_t)(ALIGNMENT - 1);
  struct block *block = arena->last;
  if (!block || block->size - block->used < bytes)
    block = add_block(arena, bytes);
  if (!block)
    return NULL;
  void *memory = block->data + block->used;
  block->used += bytes;
  arena->used += bytes;
  return memory;
}

void *nx_arena_alloc(struct nx_arena *arena, size_t n, size_t size) {
  void *memory = nx_arena_take(arena, n, size);
  return memory ? memset(memory, 0, n * size) : NULL;
}

void nx_arena_reset(struct nx_arena *arena) {
  struct block *keep = arena->last;
  if (!keep)
    return;
  for (struct block *block = keep->previous, *previous; block; block = previous) {
    previous = block->previous;
    arena->allocated -= block->size;
    free(block);
  }
  keep->previous = NULL;
  keep->used = 0;
  arena->used = 0;
}

void nx_arena_wipe(struct nx_arena *arena) {
  for (struct block *block = arena->last; block; block = block->previous)
    explicit_bzero(block->data, block->used);
  nx_arena_reset(arena);
}

size_t nx_arena_used(const struct nx_arena *arena) {
  return arena->used;
}

void nx_arena_destroy(struct nx_arena *arena) {
  if (!arena)
    return;
  for (struct block *block = arena->last, *previous; block; block = previous) {
    previous = block->previous;
    free(block);
  }
  free(arena);
}
