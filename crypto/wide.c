#include "crypto/wide.h"

#include <string.h>

struct nx_wide nx_wide_power(unsigned exponent) {
  struct nx_wide a = {{0}};
  a.limb[exponent / 64] = (uint64_t)1 << exponent % 64;
  return a;
}

struct nx_wide nx_wide_add(struct nx_wide a, struct nx_wide b) {
  nx_u128 carry = 0;
  for (int i = 0; i < NX_WIDE_LIMBS; i++) {
    carry += (nx_u128)a.limb[i] + b.limb[i];
    a.limb[i] = (uint64_t)carry;
    carry >>= 64;
  }
  return a;
}

struct nx_wide nx_wide_sub(struct nx_wide a, struct nx_wide b) {
  uint64_t borrow = 0;
  for (int i = 0; i < NX_WIDE_LIMBS; i++) {
    nx_u128 difference = (nx_u128)a.limb[i] - b.limb[i] - borrow;
    a.limb[i] = (uint64_t)difference;
    borrow = (uint64_t)(difference >> 64) & 1;
  }
  return a;
}

bool nx_wide_less(const struct nx_wide *a, const struct nx_wide *b) {
  for (int i = NX_WIDE_LIMBS; i-- > 0;)
    if (a->limb[i] != b->limb[i])
      return a->limb[i] < b->limb[i];
  return false;
}

struct nx_wide nx_wide_mul_word(struct nx_wide a, uint64_t factor) {
  nx_u128 carry = 0;
  for (int i = 0; i < NX_WIDE_LIMBS; i++) {
    carry += (nx_u128)a.limb[i] * factor;
    a.limb[i] = (uint64_t)carry;
    carry >>= 64;
  }
  return a;
}

struct nx_wide nx_wide_shift_left(struct nx_wide a, unsigned bits) {
  struct nx_wide out = {{0}};
  unsigned limbs = bits / 64, rest = bits % 64;
  for (unsigned i = limbs; i < NX_WIDE_LIMBS; i++) {
    out.limb[i] = a.limb[i - limbs] << rest;
    if (rest && i > limbs)
      out.limb[i] |= a.limb[i - limbs - 1] >> (64 - rest);
  }
  return out;
}

static struct nx_wide shift_right(struct nx_wide a, unsigned bits, uint64_t fill) {
  struct nx_wide out;
  unsigned limbs = bits / 64, rest = bits % 64;
  for (unsigned i = 0; i < NX_WIDE_LIMBS; i++) {
    uint64_t low = i + limbs < NX_WIDE_LIMBS ? a.limb[i + limbs] : fill;
    uint64_t high = i + limbs + 1 < NX_WIDE_LIMBS ? a.limb[i + limbs + 1] : fill;
    out.limb[i] = rest ? low >> rest | high << (64 - rest) : low;
  }
  return out;
}

static bool is_negative(const struct nx_wide *a) {
  return a->limb[NX_WIDE_LIMBS - 1] >> 63;
}

struct nx_wide nx_wide_shift_right(struct nx_wide a, unsigned bits) {
  return shift_right(a, bits, 0);
}

struct nx_wide nx_wide_shift_right_signed(struct nx_wide a, unsigned bits) {
  return shift_right(a, bits, is_negative(&a) ? UINT64_MAX : 0);
}

struct nx_wide nx_wide_div_word_signed(struct nx_wide a, uint64_t divisor) {
  const struct nx_wide zero = {{0}};
  bool negative = is_negative(&a);
  if (negative)
    a = nx_wide_sub(zero, a);
  nx_u128 rest = 0;
  for (int i = NX_WIDE_LIMBS; i-- > 0;) {
    rest = rest << 64 | a.limb[i];
    a.limb[i] = (uint64_t)(rest / divisor);
    rest %= divisor;
  }
  return negative ? nx_wide_sub(zero, a) : a;
}

static void product(const struct nx_wide *a, const struct nx_wide *b,
                    uint64_t out[2 * NX_WIDE_LIMBS]) {
  memset(out, 0, 2 * NX_WIDE_LIMBS * sizeof *out);
  for (int i = 0; i < NX_WIDE_LIMBS; i++) {
    uint64_t carry = 0;
    for (int j = 0; j < NX_WIDE_LIMBS; j++) {
      nx_u128 sum = (nx_u128)a->limb[i] * b->limb[j] + out[i + j] + carry;
      out[i + j] = (uint64_t)sum;
      carry = (uint64_t)(sum >> 64);
    }
    out[i + NX_WIDE_LIMBS] = carry;
  }
}

struct nx_wide nx_wide_mul_fixed(const struct nx_wide *a, const struct nx_wide *b) {
  uint64_t whole[2 * NX_WIDE_LIMBS];
  struct nx_wide out;
  product(a, b, whole);
  memcpy(out.limb, whole + NX_WIDE_POINT / 64, sizeof out.limb);
  return out;
}

struct nx_wide_ratio nx_wide_ratio(const struct nx_wide *whole) {
  struct nx_wide_ratio ratio = {.shift = 0};
  struct nx_wide divisor = *whole;
  while (!is_negative(&divisor)) { /* its highest bit */
    divisor = nx_wide_shift_left(divisor, 1);
    ratio.shift++;
  }
  /* Long division of 2^704 = 2^382 * 2^322, one bit of the quotient at a time. */
  struct nx_wide rest = nx_wide_power(NX_WIDE_BITS - 2);
  for (int i = 0; i < NX_WIDE_POINT + 2; i++) {
    bool carry = is_negative(&rest);
    rest = nx_wide_shift_left(rest, 1);
    ratio.reciprocal = nx_wide_shift_left(ratio.reciprocal, 1);
    if (carry || !nx_wide_less(&rest, &divisor)) {
      rest = nx_wide_sub(rest, divisor);
      ratio.reciprocal.limb[0] |= 1;
    }
  }
  return ratio;
}

nx_u128 nx_wide_ratio_of(const struct nx_wide_ratio *ratio, const struct nx_wide *part) {
  uint64_t whole[2 * NX_WIDE_LIMBS];
  struct nx_wide shifted = nx_wide_shift_left(*part, ratio->shift);
  product(&shifted, &ratio->reciprocal, whole);
  return (nx_u128)whole[10] << 64 | whole[9]; /* bits 576 and up of 704 */
}
