/* What the codec tests share: whatever a peer sends, a decoder answers with 0 or a code. */
#pragma once

#include <stdlib.h>

#include "common/arena.h"
#include "common/bytes.h"
#include "common/rng.h"
#include "tests/unit/cmocka_shim.h"

static inline void must(int r, const struct nx_error *err) {
  if (r < 0)
    fail_msg("%s", err->text);
}

static inline void fill_bytes(void *out, size_t size, unsigned start) {
  for (size_t i = 0; i < size; i++)
    ((uint8_t *)out)[i] = (uint8_t)(start + i);
}

/* Decodes bytes, forgetting the result; for tampered(). */
typedef int (*decode_function)(struct nx_bytes bytes, struct nx_arena *arena, struct nx_error *err);

/* Every truncation and every flipped bit, then bytes changed at random: no crash, no
 * sanitizer report, and a text with each refusal. Returns how many were refused. */
static inline size_t tampered(struct nx_bytes whole, decode_function decode) {
  _cleanup_(nx_arena_destroyp) struct nx_arena *arena = NULL;
  struct nx_error err = {0};
  size_t refused = 0;
  must(nx_arena_create((size_t)4 << 20, &arena, &err), &err);
  for (size_t i = 0; i < whole.size * 9 + 2000; i++) {
    size_t size = i < whole.size ? i : whole.size;
    uint8_t *copy = malloc(size ? size : 1); /* exact, so that one byte too far is seen */
    struct nx_rng rng;
    memcpy(copy, whole.data, size);
    nx_rng_init(&rng, i, 1);
    if (i >= whole.size && i < whole.size * 9)
      copy[(i - whole.size) / 8] ^= (uint8_t)(1u << ((i - whole.size) % 8));
    for (int k = 0; i >= whole.size * 9 && size && k < 4; k++)
      copy[nx_rng_below(&rng, size)] = (uint8_t)nx_rng_u64(&rng);
    err = (struct nx_error){0};
    int r = decode(nx_bytes(copy, size), arena, &err);
    if (r < 0) {
      assert_int_equal(r, err.code);
      assert_int_not_equal(err.text[0], 0);
      refused++;
    }
    free(copy);
    nx_arena_reset(arena);
  }
  return refused;
}
