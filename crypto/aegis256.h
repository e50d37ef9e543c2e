/* AEGIS-256 (RFC 10032) by plain arithmetic: what the fast kernels are held against, and what a
 * processor without AES instructions uses. Constant time: the S-box is computed, never looked up.
 * A few megabytes a second. Internal to crypto/, and to its tests. */
#pragma once

#include <stdint.h>

#define NX_AEGIS_BLOCK 16
#define NX_AEGIS_KEY_SIZE 32
#define NX_AEGIS_NONCE_SIZE 32
#define NX_AEGIS_STATES 6

/* The two constants, "the Fibonacci sequence modulo 256" (2.1). */
extern const uint8_t nx_aegis_c0[NX_AEGIS_BLOCK], nx_aegis_c1[NX_AEGIS_BLOCK];

struct nx_aegis256 {
  uint64_t s[NX_AEGIS_STATES][2]; /* blocks, as two little-endian words each */
};

/* AESRound(in, round key): ShiftRows, SubBytes, MixColumns, XOR (FIPS 197, 5.1). */
void nx_aes_round(const uint8_t in[NX_AEGIS_BLOCK], const uint8_t round_key[NX_AEGIS_BLOCK],
                  uint8_t out[NX_AEGIS_BLOCK]);

void nx_aegis256_init(struct nx_aegis256 *a, const uint8_t key[NX_AEGIS_KEY_SIZE],
                      const uint8_t nonce[NX_AEGIS_NONCE_SIZE]);
void nx_aegis256_update(struct nx_aegis256 *a, const uint64_t message[2]);
/* The block that is XORed with the next 16 bytes of a message; the state stays. */
void nx_aegis256_keystream(const struct nx_aegis256 *a, uint64_t out[2]);
