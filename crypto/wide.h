/* Wide: whole numbers of 384 bits, just enough arithmetic to tabulate a distribution to 128
 * bits without a library for it. Little-endian limbs; results are modulo 2^384, so two's
 * complement works for what says "signed". Not constant time: no secrets here. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define NX_WIDE_LIMBS 6
#define NX_WIDE_BITS 384

__extension__ typedef unsigned __int128 nx_u128;

struct nx_wide {
  uint64_t limb[NX_WIDE_LIMBS];
};

struct nx_wide nx_wide_power(unsigned exponent); /* 2^exponent, exponent < 384 */
struct nx_wide nx_wide_add(struct nx_wide a, struct nx_wide b);
struct nx_wide nx_wide_sub(struct nx_wide a, struct nx_wide b);
bool nx_wide_less(const struct nx_wide *a, const struct nx_wide *b); /* unsigned */
struct nx_wide nx_wide_mul_word(struct nx_wide a, uint64_t factor);
struct nx_wide nx_wide_shift_left(struct nx_wide a, unsigned bits);         /* < 384 */
struct nx_wide nx_wide_shift_right(struct nx_wide a, unsigned bits);        /* < 384 */
struct nx_wide nx_wide_shift_right_signed(struct nx_wide a, unsigned bits); /* rounds down */
struct nx_wide nx_wide_div_word_signed(struct nx_wide a, uint64_t divisor); /* towards zero */

/* Fixed point with 64 bits before the point and 320 behind it, unsigned. */
#define NX_WIDE_POINT 320
struct nx_wide nx_wide_mul_fixed(const struct nx_wide *a, const struct nx_wide *b);

/* part / whole as a fraction of 2^128, for many parts of one whole. whole > 0;
 * 0 <= part < whole; the result is the exact quotient or 1 less. */
struct nx_wide_ratio {
  struct nx_wide reciprocal; /* 2^704 / (whole << shift) */
  unsigned shift;            /* brings whole's highest bit to the top */
};
struct nx_wide_ratio nx_wide_ratio(const struct nx_wide *whole);
nx_u128 nx_wide_ratio_of(const struct nx_wide_ratio *ratio, const struct nx_wide *part);
