/* Leaves of tiles that lie one behind the other: two at a time where the CPU has SHA instructions
 * (sha256_pair.h), else one by one. */
#include "crypto/merkle.h"

#ifdef NX_HAVE_SHA256_PAIR
#include <pthread.h>

#include "crypto/sha256_pair.h"

#define BLOCK ((size_t)64)

static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* The leaf's prefix and what follows of the first block. */
static void begin_block(const uint8_t *bytes, uint8_t out[BLOCK]) {
  out[0] = 0;
  memcpy(out + 1, bytes, BLOCK - 1);
}

/* The rest of a message of `total` bytes, and its padding: one block or two. */
static size_t end_blocks(const uint8_t *rest, size_t size, uint64_t total, uint8_t out[2 * BLOCK]) {
  size_t n = size + 9 <= BLOCK ? 1 : 2;
  memset(out, 0, 2 * BLOCK);
  memcpy(out, rest, size);
  out[size] = 0x80;
  for (size_t i = 0; i < 8; i++)
    out[n * BLOCK - 1 - i] = (uint8_t)(total * 8 >> (8 * i));
  return n;
}

/* size >= BLOCK */
static void hash_pair(const uint8_t *first, const uint8_t *second, size_t size,
                      struct nx_hash out[2]) {
  uint32_t states[2][8];
  uint8_t a[2 * BLOCK], b[2 * BLOCK];
  size_t middle = (size - (BLOCK - 1)) / BLOCK, at = BLOCK - 1 + middle * BLOCK;
  memcpy(states[0], start, sizeof start);
  memcpy(states[1], start, sizeof start);
  begin_block(first, a);
  begin_block(second, b);
  nx_sha256_pair_blocks(states, a, b, 1);
  nx_sha256_pair_blocks(states, first + BLOCK - 1, second + BLOCK - 1, middle);
  size_t n = end_blocks(first + at, size - at, size + 1, a);
  end_blocks(second + at, size - at, size + 1, b);
  nx_sha256_pair_blocks(states, a, b, n);
  for (size_t i = 0; i < 16; i++)
    for (size_t k = 0; k < 4; k++)
      out[i / 8].bytes[i % 8 * 4 + k] = (uint8_t)(states[i / 8][i % 8] >> (24 - 8 * k));
}

/* Asked once: in a virtual machine the question is slow. */
static pthread_once_t ask_once = PTHREAD_ONCE_INIT;
static bool usable;

static void ask(void) {
  usable = nx_sha256_pair_usable();
}

/* Returns how many it hashed. */
static size_t hash_pairs(const uint8_t *bytes, size_t size, size_t n, struct nx_hash *leaves_out) {
  size_t i = 0;
  pthread_once(&ask_once, ask);
  if (usable && size >= BLOCK)
    for (; i + 2 <= n; i += 2)
      hash_pair(bytes + i * size, bytes + (i + 1) * size, size, leaves_out + i);
  return i;
}
#else
static size_t hash_pairs(const uint8_t *bytes, size_t size, size_t n, struct nx_hash *leaves_out) {
  (void)bytes, (void)size, (void)n, (void)leaves_out;
  return 0;
}
#endif

void nx_merkle_leaves(const uint8_t *bytes, size_t size, size_t n, struct nx_hash *leaves_out) {
  for (size_t i = hash_pairs(bytes, size, n, leaves_out); i < n; i++)
    leaves_out[i] = nx_merkle_leaf(nx_bytes(bytes + i * size, size));
}
