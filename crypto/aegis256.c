#include "crypto/aegis256.h"

#include <stddef.h>
#include <string.h>

#include "common/bytes.h"
#include "crypto/gf256_words.h"

#define WORDS ((size_t)2 * NX_AEGIS_STATES)

const uint8_t nx_aegis_c0[NX_AEGIS_BLOCK] = {0x00, 0x01, 0x01, 0x02, 0x03, 0x05, 0x08, 0x0d,
                                             0x15, 0x22, 0x37, 0x59, 0x90, 0xe9, 0x79, 0x62};
const uint8_t nx_aegis_c1[NX_AEGIS_BLOCK] = {0xdb, 0x3d, 0x18, 0x55, 0x6d, 0xc2, 0x2f, 0xf1,
                                             0x20, 0x11, 0x31, 0x42, 0x73, 0xb5, 0x28, 0xdd};

/* Element by element. */
static inline uint64_t multiply(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  for (int bit = 0; bit < 8; bit++, a = nx_gf256_times_x(a)) {
    uint64_t set = b >> bit & NX_GF256_LOW_BITS;
    product ^= a & ((set << 8) - set); /* every byte 0x00 or 0xff */
  }
  return product;
}

/* v^254: the inverse, and 0 of 0. */
static inline uint64_t invert(uint64_t v) {
  uint64_t v2 = multiply(v, v), v3 = multiply(v2, v), v6 = multiply(v3, v3);
  uint64_t v12 = multiply(v6, v6), v15 = multiply(v12, v3), v240 = v15;
  for (int i = 0; i < 4; i++)
    v240 = multiply(v240, v240);
  return multiply(multiply(v240, v12), v2);
}

static inline uint64_t rotate_bytes_left(uint64_t v, int by) {
  uint64_t low = NX_GF256_LOW_BITS * (0xffu >> (8 - by));
  return (v << by & ~low) | (v >> (8 - by) & low);
}

static inline uint64_t substitute(uint64_t v) {
  uint64_t inverse = invert(v), out = inverse ^ NX_GF256_LOW_BITS * 0x63;
  for (int by = 1; by <= 4; by++)
    out ^= rotate_bytes_left(inverse, by);
  return out;
}

/* Row r of column c comes from column c + r. */
static void shift_rows(const uint64_t in[2], uint64_t out[2]) {
  out[0] = out[1] = 0;
  for (unsigned i = 0; i < NX_AEGIS_BLOCK; i++) {
    unsigned from = (i + 4 * (i % 4)) % NX_AEGIS_BLOCK;
    out[i / 8] |= (in[from / 8] >> 8 * (from % 8) & 0xff) << 8 * (i % 8);
  }
}

/* Two columns a word; rotating one by a byte brings its next row to each place. */
static uint64_t mix_columns(uint64_t v) {
  const uint64_t lowest = UINT64_C(0x000000ff000000ff), lower = UINT64_C(0x0000ffff0000ffff);
  uint64_t by1 = (v >> 8 & ~(lowest << 24)) | (v & lowest) << 24;
  uint64_t by2 = (v >> 16 & lower) | (v & lower) << 16;
  uint64_t by3 = (by1 >> 16 & lower) | (by1 & lower) << 16;
  return nx_gf256_times_x(v ^ by1) ^ by1 ^ by2 ^ by3;
}

/* out = AESRound(in, key) of n blocks. */
static void rounds(const uint64_t (*in)[2], const uint64_t (*key)[2], size_t n,
                   uint64_t (*out)[2]) {
  uint64_t shifted[NX_AEGIS_STATES][2];
  for (size_t i = 0; i < n; i++)
    shift_rows(in[i], shifted[i]);
  for (size_t i = 0; i < 2 * n; i++)
    shifted[i / 2][i % 2] = substitute(shifted[i / 2][i % 2]);
  for (size_t i = 0; i < 2 * n; i++)
    out[i / 2][i % 2] = mix_columns(shifted[i / 2][i % 2]) ^ key[i / 2][i % 2];
}

static void load(const uint8_t in[NX_AEGIS_BLOCK], uint64_t out[2]) {
  out[0] = nx_load_le64(in);
  out[1] = nx_load_le64(in + 8);
}

void nx_aes_round(const uint8_t in[NX_AEGIS_BLOCK], const uint8_t round_key[NX_AEGIS_BLOCK],
                  uint8_t out[NX_AEGIS_BLOCK]) {
  uint64_t block[1][2], key[1][2];
  load(in, block[0]);
  load(round_key, key[0]);
  rounds((const uint64_t(*)[2])block, (const uint64_t(*)[2])key, 1, block);
  nx_store_le64(out, block[0][0]);
  nx_store_le64(out + 8, block[0][1]);
}

/* S'0 = AESRound(S5, S0 ^ M), S'i = AESRound(S(i - 1), Si) (4.2). */
void nx_aegis256_update(struct nx_aegis256 *a, const uint64_t message[2]) {
  uint64_t before[NX_AEGIS_STATES][2];
  memcpy(before[0], a->s[NX_AEGIS_STATES - 1], sizeof before[0]);
  memcpy(before[1], a->s[0], (NX_AEGIS_STATES - 1) * sizeof before[0]);
  a->s[0][0] ^= message[0];
  a->s[0][1] ^= message[1];
  rounds((const uint64_t(*)[2])before, (const uint64_t(*)[2])a->s, NX_AEGIS_STATES, a->s);
}

void nx_aegis256_init(struct nx_aegis256 *a, const uint8_t key[NX_AEGIS_KEY_SIZE],
                      const uint8_t nonce[NX_AEGIS_NONCE_SIZE]) {
  uint64_t words[4][2], c[2][2]; /* k0, k1, k0 ^ n0, k1 ^ n1 */
  load(nx_aegis_c0, c[0]);
  load(nx_aegis_c1, c[1]);
  for (int i = 0; i < 2; i++) {
    load(key + NX_AEGIS_BLOCK * i, words[i]);
    load(nonce + NX_AEGIS_BLOCK * i, words[2 + i]);
  }
  for (int w = 0; w < 2; w++) {
    words[2][w] ^= words[0][w];
    words[3][w] ^= words[1][w];
    a->s[0][w] = words[2][w];
    a->s[1][w] = words[3][w];
    a->s[2][w] = c[1][w];
    a->s[3][w] = c[0][w];
    a->s[4][w] = words[0][w] ^ c[0][w];
    a->s[5][w] = words[1][w] ^ c[1][w];
  }
  for (int i = 0; i < 16; i++)
    nx_aegis256_update(a, words[i % 4]);
  explicit_bzero(words, sizeof words);
}

void nx_aegis256_keystream(const struct nx_aegis256 *a, uint64_t out[2]) {
  for (int w = 0; w < 2; w++)
    out[w] = a->s[1][w] ^ a->s[4][w] ^ a->s[5][w] ^ (a->s[2][w] & a->s[3][w]);
}
