/* Shares: Shamir's scheme (CACM 1979) over GF(2^8) mod 0x11B, byte by byte, on 32-byte
 * secrets. Coefficients are uniform, zero included; multiplication is table-free and
 * takes the same time for all values. x coordinates are member ids, 1..255, public.
 * Any t shares give the secret, t - 1 say nothing; a wrong share is not noticed here (the
 * protocol commits to every share by hash, and checks the result). Any thread. */
#pragma once

#include "crypto/secret.h"

#define NX_SHARES_MAX 255

/* shares_out[i] belongs to xs[i]. NX_E_INVALID unless 1 <= threshold <= n <= 255 and the
 * xs are distinct and not 0. shares_out should be nx_secret_alloc() memory. */
int nx_shares_split(const struct nx_secret *secret, uint32_t threshold, const uint8_t *xs, size_t n,
                    const struct nx_entropy *entropy, struct nx_secret *shares_out,
                    struct nx_error *err);
/* The secret from the first `threshold` of n shares; NX_E_LIMIT when n < threshold. */
int nx_shares_combine(uint32_t threshold, const uint8_t *xs, const struct nx_secret *shares,
                      size_t n, struct nx_secret *secret_out, struct nx_error *err);

/* The same in two steps, for many secrets shared among the same holders: the Lagrange
 * weights at 0 of the xs, computed once, and then one weighted sum a secret. */
struct nx_share_weights {
  size_t n;
  uint8_t xs[NX_SHARES_MAX];
  uint8_t weights[NX_SHARES_MAX];
};
int nx_share_weights_init(struct nx_share_weights *weights, const uint8_t *xs, size_t n,
                          struct nx_error *err);
void nx_shares_combine_weighted(const struct nx_share_weights *weights,
                                const struct nx_secret *shares, struct nx_secret *secret_out);

/* a * b in the field; constant time. For tests and benches. */
uint8_t nx_gf256_multiply(uint8_t a, uint8_t b);
