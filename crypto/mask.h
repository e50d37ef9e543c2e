/* Mask: adds and removes pseudorandom masks over lanes in Z_2^32 and Z_2^64.
 *
 *   y_u = x_u + PRG(self_u) + sum_{v>u} PRG(pair_uv) - sum_{v<u} PRG(pair_uv)
 *
 * A mask is a list of (key, sign): a node's self key and its pair keys, or, at the
 * coordinator and in a spot check, what has to be taken off a sum. Its form is the plan's
 * (aggregation.mask_cipher, narrow_keystream). PRG is AES-256-CTR or AEGIS-256 (RFC 10032 as a
 * stream cipher, cut as crypto/prg_aegis.h says). Of AES: u32
 * lane i is keystream bytes 4i.. of stream 0 (IV 0), u64 lane i bytes 8i.. of stream 1
 * (high half of the big-endian IV = 1), both little-endian, so any lane can be reached
 * directly. Lanes mod 2^w with w < 32 are the low w bits of u32 lanes. For w <= 16 a plan may
 * have half of the keystream made (narrow_keystream): lane i is then masked by bytes
 * 2i..2i+1 of stream 0, and is a number below 2^16.
 *
 * Tiles of 64 KiB stay in the second-level cache while all keys are looped over them, and
 * blocks of tiles go to a worker pool: memory is O(threads), time n_keys * bytes / rate.
 * Kernels of AES-256-CTR: OpenSSL's EVP (default and oracle) and two fused ones, byte-identical:
 * VAES with AVX-512, and VAES with AVX2 alone. Of AEGIS-256: plain arithmetic (the oracle), AES-NI,
 * VAES. The fastest that the processor has is used, unless NEUROX_MASK_KERNEL names another
 * (evp, vaes256, vaes512; aegis-plain, aegis-aesni, aegis-vaes256). */
#pragma once

#include <stdbool.h>

#include "common/pool.h"
#include "crypto/agreement.h"
#include "crypto/hash.h"
#include "crypto/secret.h"

struct nx_mask; /* keys in guarded memory; add keys from one thread, then const */

enum nx_mask_cipher { NX_MASK_AES_256_CTR, NX_MASK_AEGIS_256 }; /* as on the wire */

struct nx_mask_form {
  enum nx_mask_cipher cipher;
  uint32_t keystream_bits; /* 32 or 16: what a u32 lane takes of a key's stream */
};
#define NX_MASK_USUAL ((struct nx_mask_form){NX_MASK_AES_256_CTR, 32})

/* Room for `capacity` keys. NX_E_INVALID: there is no such form. */
int nx_mask_create(size_t capacity, struct nx_mask_form form, struct nx_mask **mask_out,
                   struct nx_error *err);
struct nx_mask_form nx_mask_form(const struct nx_mask *mask);
void nx_mask_destroy(struct nx_mask *mask); /* wipes; NULL is fine */
NX_DEFINE_CLEANUP(struct nx_mask *, nx_mask_destroy)
size_t nx_mask_keys(const struct nx_mask *mask);

/* The key's stream will be added (subtract = false) or subtracted. NX_E_LIMIT when full. */
int nx_mask_add_key(struct nx_mask *mask, const struct nx_secret *key, bool subtract,
                    struct nx_error *err);

/* Key i again, for the record that an auditor replays (crypto/replay.h). */
void nx_mask_get_key(const struct nx_mask *mask, size_t index, struct nx_secret *key_out,
                     bool *subtract_out);

/* The same with the keys of the protocol derived here. What a node puts on: its self key
 * and a pair key for every peer of U2. Signs as above, from the ids. */
int nx_mask_add_self(struct nx_mask *mask, const struct nx_hash *t2, uint32_t id,
                     const struct nx_secret *b, struct nx_error *err);
int nx_mask_add_pair(struct nx_mask *mask, const struct nx_hash *t2, uint32_t id,
                     const struct nx_secret *s_secret, uint32_t peer, const struct nx_point *s_peer,
                     struct nx_error *err);
/* What is taken off a sum: the self mask of a member of U3, and of every member that
 * dropped (U2 \ U3, s_secret recovered) the pair mask that survivor put on. */
int nx_mask_remove_self(struct nx_mask *mask, const struct nx_hash *t2, uint32_t id,
                        const struct nx_secret *b, struct nx_error *err);
int nx_mask_remove_pair(struct nx_mask *mask, const struct nx_hash *t2, uint32_t survivor,
                        const struct nx_point *s_survivor, uint32_t dropped,
                        const struct nx_secret *s_dropped, struct nx_error *err);

/* Many of these at once, on a pool (may be NULL): X25519 and key expansion dominate when a
 * sum has few lanes or many members dropped. NX_E_CRYPTO names the pair; the mask then holds
 * none of them. */
struct nx_mask_pair {
  uint32_t survivor;
  const struct nx_point *s_survivor;
  uint32_t dropped;
  const struct nx_secret *s_dropped;
};
int nx_mask_remove_pairs(struct nx_mask *mask, const struct nx_hash *t2,
                         const struct nx_mask_pair *pairs, size_t n, struct nx_pool *pool,
                         struct nx_error *err);

/* lanes[0..n) are lanes first..first+n of the vector. pool may be NULL (this thread only).
 * NX_E_CRYPTO or NX_E_NOMEM leave the lanes in no defined state: discard them. */
int nx_mask_apply_u32(const struct nx_mask *mask, uint32_t *lanes, uint64_t first, size_t n,
                      struct nx_pool *pool, struct nx_error *err);
int nx_mask_apply_u64(const struct nx_mask *mask, uint64_t *lanes, uint64_t first, size_t n,
                      struct nx_pool *pool, struct nx_error *err);
/* The same on one thread, of at most NX_MASK_TILE lanes; meanwhile two stretches of memory that
 * are wanted next come toward the cache (a hint; either may be empty). */
#define NX_MASK_TILE ((size_t)16384)
struct nx_mask_ahead {
  const void *at[2];
  size_t size[2]; /* bytes */
};
int nx_mask_apply_u32_ahead(const struct nx_mask *mask, uint32_t *lanes, uint64_t first, size_t n,
                            const struct nx_mask_ahead *ahead, struct nx_error *err);

/* "evp", "vaes256" …: what masks of that cipher made from now on will use. */
const char *nx_mask_kernel(enum nx_mask_cipher cipher);
/* Chooses by that name for its cipher ("auto": the fastest here, for both); NX_E_UNSUPPORTED when
 * this processor lacks it. Call before threads start. */
int nx_mask_kernel_select(const char *name, struct nx_error *err);
