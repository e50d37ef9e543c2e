/* Size: checked arithmetic for every allocation whose size comes from input. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* True and the product, or false when it would overflow. */
static inline bool nx_size_mul(size_t a, size_t b, size_t *product) {
  return !__builtin_mul_overflow(a, b, product);
}

static inline bool nx_size_add(size_t a, size_t b, size_t *sum) {
  return !__builtin_add_overflow(a, b, sum);
}

#define NX_ARRAY_LENGTH(array) (sizeof(array) / sizeof *(array))
#define NX_MIN(a, b) ((a) < (b) ? (a) : (b))
#define NX_MAX(a, b) ((a) > (b) ? (a) : (b))
