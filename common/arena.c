#include "common/arena.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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
  struct block *rewound; /* the largest that rewinding emptied, or NULL */
  size_t cap, allocated, used, peak;
  bool hollow;
};

int nx_arena_create(size_t cap, struct nx_arena **arena_out, struct nx_error *err) {
  struct nx_arena *arena = calloc(1, sizeof *arena);
  if (!arena)
    return nx_fail(err, NX_E_NOMEM, "out of memory for an arena");
  arena->cap = cap;
  *arena_out = arena;
  return 0;
}

int nx_arena_create_hollow(struct nx_arena **arena_out, struct nx_error *err) {
  int r = nx_arena_create(0, arena_out, err);
  if (!r)
    (*arena_out)->hollow = true;
  return r;
}

/* Of a block with its data. */
static size_t size_of(const struct block *block) {
  return (sizeof *block + block->size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

static struct block *get_block(const struct nx_arena *arena, size_t total) {
  if (!arena->hollow)
    return aligned_alloc(ALIGNMENT, total);
  void *space =
      mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return space == MAP_FAILED ? NULL : space;
}

static void drop(struct nx_arena *arena, struct block *block) {
  if (!block)
    return;
  arena->allocated -= block->size;
  if (arena->hollow)
    munmap(block, size_of(block));
  else
    free(block);
}

/* Keeps the larger of the block and what is kept already. */
static void keep_rewound(struct nx_arena *arena, struct block *block) {
  struct block *other = arena->rewound;
  bool larger = !other || block->size > other->size;
  arena->rewound = larger ? block : other;
  drop(arena, larger ? other : block);
}

static struct block *push(struct nx_arena *arena, struct block *block) {
  block->previous = arena->last;
  block->used = 0;
  return arena->last = block;
}

static struct block *add_block(struct nx_arena *arena, size_t need) {
  struct block *rewound = arena->rewound;
  arena->rewound = NULL;
  if (rewound && rewound->size >= need)
    return push(arena, rewound);
  size_t largest = NX_MAX(arena->last ? arena->last->size : 0, rewound ? rewound->size : 0);
  drop(arena, rewound);
  size_t size = NX_MAX(need, largest ? largest * 2 : FIRST_BLOCK);
  if (arena->cap && size > arena->cap - arena->allocated)
    size = arena->cap - arena->allocated;
  size_t total;
  if (size < need || !nx_size_add(sizeof(struct block), size, &total) ||
      !nx_size_add(total, ALIGNMENT - 1, &total))
    return NULL;
  struct block *block = get_block(arena, total & ~(size_t)(ALIGNMENT - 1));
  if (!block)
    return NULL;
  block->size = size;
  arena->allocated += size;
  return push(arena, block);
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
  arena->peak = NX_MAX(arena->peak, arena->used);
  return memory;
}

void *nx_arena_alloc(struct nx_arena *arena, size_t n, size_t size) {
  void *memory = nx_arena_take(arena, n, size);
  return memory ? memset(memory, 0, n * size) : NULL;
}

struct nx_arena_mark nx_arena_mark(const struct nx_arena *arena) {
  return (struct nx_arena_mark){arena->last, arena->last ? arena->last->used : 0, arena->used};
}

void nx_arena_rewind(struct nx_arena *arena, const struct nx_arena_mark *mark) {
  while (arena->last != mark->block) {
    struct block *block = arena->last;
    arena->last = block->previous;
    keep_rewound(arena, block);
  }
  if (arena->last)
    arena->last->used = mark->block_used;
  arena->used = mark->used;
}

void nx_arena_reset(struct nx_arena *arena) {
  const struct nx_arena_mark empty = {0};
  nx_arena_rewind(arena, &empty);
  if (arena->rewound)
    push(arena, nx_steal(&arena->rewound));
  arena->peak = 0;
}

void nx_arena_wipe(struct nx_arena *arena) {
  for (struct block *block = arena->last; block; block = block->previous)
    explicit_bzero(block->data, block->used);
  nx_arena_reset(arena);
}

size_t nx_arena_used(const struct nx_arena *arena) {
  return arena->used;
}

size_t nx_arena_peak(const struct nx_arena *arena) {
  return arena->peak;
}

void nx_arena_destroy(struct nx_arena *arena) {
  if (!arena)
    return;
  nx_arena_reset(arena);
  drop(arena, arena->last);
  free(arena);
}
