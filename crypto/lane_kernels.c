/* Compiled as it is (the reference), with -DNX_LANES_AVX2 and with -DNX_LANES_AVX512, each with
 * the flags of its instruction set. */
#include "crypto/lane_kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "common/bytes.h"

#if defined NX_LANES_AVX512 || defined NX_LANES_AVX2
#include <immintrin.h>
#endif

#define GENERATORS 8
#define RUN 24
#define PARTIALS 16 /* enough additions in flight to cover their latency */
#define STREAMS 4
/* Added to a number of at most 31 bits, it leaves that number, to the nearest 2^-19, in the low
 * bits of the double: an integer part of 32 bits above a fraction of 19. */
#define FIXED_POINT 0x1.8p33
#define FRACTION_MASK ((UINT64_C(1) << NX_ROUNDING_BITS) - 1)
#define TOP_SHIFT (64 - NX_ROUNDING_BITS)
#define MIDDLE_SHIFT 22

static inline void add_squares(const float *values, double partial[PARTIALS]) {
  for (size_t j = 0; j < PARTIALS; j++)
    partial[j] += (double)values[j] * (double)values[j];
}

/* STREAMS places of the values in turn: a processor fetches ahead for each, and from memory this
 * takes half the time of going through them once. */
static double sum_of_squares(const float *values, size_t n) {
  double partial[PARTIALS] = {0};
  const size_t stream = n / STREAMS / PARTIALS * PARTIALS;
  size_t i = 0;
  for (; i < stream; i += PARTIALS)
    for (size_t k = 0; k < STREAMS; k++)
      add_squares(values + k * stream + i, partial);
  for (i = STREAMS * stream; i + PARTIALS <= n; i += PARTIALS)
    add_squares(values + i, partial);
  for (size_t j = 0; i < n; i++, j++)
    partial[j] += (double)values[i] * (double)values[i];
  for (size_t half = PARTIALS / 2; half > 0; half /= 2)
    for (size_t j = 0; j < half; j++)
      partial[j] += partial[j + half];
  return partial[0];
}

static inline uint64_t rotate_left(uint64_t x, int k) {
  return x << k | x >> (64 - k);
}

static inline void next_numbers(struct nx_rounding *r, uint64_t out[GENERATORS]) {
  for (int j = 0; j < GENERATORS; j++) {
    uint64_t s0 = r->s[0][j], s1 = r->s[1][j], s2 = r->s[2][j], s3 = r->s[3][j];
    uint64_t t = s1 << 17;
    out[j] = rotate_left(s0 + s3, 23) + s0;
    s2 ^= s0;
    s3 ^= s1;
    s1 ^= s2;
    s0 ^= s3;
    s2 ^= t;
    r->s[0][j] = s0;
    r->s[1][j] = s1;
    r->s[2][j] = s2;
    r->s[3][j] = rotate_left(s3, 45);
  }
}

static inline size_t encode_value(const struct nx_encode_call *call, size_t i, uint64_t threshold) {
  double scaled = (double)call->values[i] * call->factor;
  size_t clamped = (scaled > call->limit) | (scaled < -call->limit);
  scaled = scaled < -call->limit ? -call->limit : scaled;
  scaled = scaled > call->limit ? call->limit : scaled;
  double sum = scaled + FIXED_POINT;
  uint64_t fixed;
  memcpy(&fixed, &sum, sizeof fixed);
  call->lanes[i] = (uint32_t)((fixed + threshold) >> NX_ROUNDING_BITS) & call->modulo;
  return clamped;
}

static inline uint64_t threshold_of(const uint64_t numbers[GENERATORS], size_t i) {
  uint64_t number = numbers[i % GENERATORS];
  if (i < GENERATORS)
    return number >> TOP_SHIFT;
  return (i < 2 * GENERATORS ? number >> MIDDLE_SHIFT : number) & FRACTION_MASK;
}

#ifdef NX_LANES_AVX2
/* A value up to which nothing needs to be clamped: at most limit / factor. */
static float no_clamp_below(const struct nx_encode_call *call) {
  if (!(call->factor > 0))
    return FLT_MAX;
  return nextafterf((float)fmin(call->limit / call->factor, (double)FLT_MAX), 0);
}
#endif

#ifdef NX_LANES_AVX512
static inline __m512i next_vector(__m512i s[4]) {
  __m512i out = _mm512_add_epi64(_mm512_rol_epi64(_mm512_add_epi64(s[0], s[3]), 23), s[0]);
  __m512i t = _mm512_slli_epi64(s[1], 17);
  s[2] = _mm512_xor_si512(s[2], s[0]);
  s[3] = _mm512_xor_si512(s[3], s[1]);
  s[1] = _mm512_xor_si512(s[1], s[2]);
  s[0] = _mm512_xor_si512(s[0], s[3]);
  s[2] = _mm512_xor_si512(s[2], t);
  s[3] = _mm512_rol_epi64(s[3], 45);
  return out;
}

struct encode_constants {
  __m512d factor, high, low;
  __m512i fraction;
  __m256i modulo;
};

static inline size_t encode_eight(const struct encode_constants *c, const float *values,
                                  __m512i thresholds, uint32_t *lanes) {
  __m512d scaled = _mm512_mul_pd(_mm512_cvtps_pd(_mm256_loadu_ps(values)), c->factor);
  __mmask8 clamped = _mm512_cmp_pd_mask(scaled, c->high, _CMP_GT_OQ) |
                     _mm512_cmp_pd_mask(scaled, c->low, _CMP_LT_OQ);
  scaled = _mm512_min_pd(_mm512_max_pd(scaled, c->low), c->high);
  __m512i fixed = _mm512_castpd_si512(_mm512_add_pd(scaled, _mm512_set1_pd(FIXED_POINT)));
  fixed = _mm512_srli_epi64(_mm512_add_epi64(fixed, thresholds), NX_ROUNDING_BITS);
  _mm256_storeu_si256((__m256i *)(void *)lanes,
                      _mm256_and_si256(_mm512_cvtepi64_epi32(fixed), c->modulo));
  return (size_t)__builtin_popcount(clamped);
}

/* Whole runs of 24; returns how many values it did. */
static size_t encode_runs(const struct nx_encode_call *call, struct nx_rounding *rounding,
                          size_t *n_clamped) {
  __m512i s[4];
  size_t i = 0, clamped = 0;
  const struct encode_constants c = {
      _mm512_set1_pd(call->factor), _mm512_set1_pd(call->limit), _mm512_set1_pd(-call->limit),
      _mm512_set1_epi64((int64_t)FRACTION_MASK), _mm256_set1_epi32((int32_t)call->modulo)};
  memcpy(s, rounding->s, sizeof s);
  for (; i + RUN <= call->n; i += RUN) {
    const float *values = call->values + i;
    uint32_t *lanes = call->lanes + i;
    __m512i numbers = next_vector(s);
    __m512i middle = _mm512_and_si512(_mm512_srli_epi64(numbers, MIDDLE_SHIFT), c.fraction);
    clamped += encode_eight(&c, values, _mm512_srli_epi64(numbers, TOP_SHIFT), lanes);
    clamped += encode_eight(&c, values + 8, middle, lanes + 8);
    clamped += encode_eight(&c, values + 16, _mm512_and_si512(numbers, c.fraction), lanes + 16);
  }
  memcpy(rounding->s, s, sizeof s);
  *n_clamped += clamped;
  return i;
}
#elif defined NX_LANES_AVX2
static inline __m256i rotate_vector(__m256i x, int k) {
  return _mm256_or_si256(_mm256_slli_epi64(x, k), _mm256_srli_epi64(x, 64 - k));
}

/* Four of the eight generators: words s[0..3] of one half. */
static inline __m256i next_vector(__m256i s[4]) {
  __m256i out = _mm256_add_epi64(rotate_vector(_mm256_add_epi64(s[0], s[3]), 23), s[0]);
  __m256i t = _mm256_slli_epi64(s[1], 17);
  s[2] = _mm256_xor_si256(s[2], s[0]);
  s[3] = _mm256_xor_si256(s[3], s[1]);
  s[1] = _mm256_xor_si256(s[1], s[2]);
  s[0] = _mm256_xor_si256(s[0], s[3]);
  s[2] = _mm256_xor_si256(s[2], t);
  s[3] = rotate_vector(s[3], 45);
  return out;
}

struct encode_constants {
  __m256d factor, high, low;
  __m256i fraction, modulo;
  __m256 no_clamp;
};

static inline __m256i encode_four(const struct encode_constants *c, const float *values,
                                  __m256i thresholds, bool clamp, size_t *n_clamped) {
  __m256d scaled = _mm256_mul_pd(_mm256_cvtps_pd(_mm_loadu_ps(values)), c->factor);
  if (clamp) {
    int beyond = _mm256_movemask_pd(_mm256_or_pd(_mm256_cmp_pd(scaled, c->high, _CMP_GT_OQ),
                                                 _mm256_cmp_pd(scaled, c->low, _CMP_LT_OQ)));
    *n_clamped += (size_t)__builtin_popcount((unsigned)beyond);
    scaled = _mm256_min_pd(_mm256_max_pd(scaled, c->low), c->high);
  }
  __m256i fixed = _mm256_castpd_si256(_mm256_add_pd(scaled, _mm256_set1_pd(FIXED_POINT)));
  return _mm256_srli_epi64(_mm256_add_epi64(fixed, thresholds), NX_ROUNDING_BITS);
}

/* The low halves of eight 64-bit numbers, in their order. */
static inline __m256i low_halves(__m256i a, __m256i b) {
  __m256i mixed = _mm256_castps_si256(
      _mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), _MM_SHUFFLE(2, 0, 2, 0)));
  return _mm256_permute4x64_epi64(mixed, _MM_SHUFFLE(3, 1, 2, 0));
}

static inline __m256i thresholds_of(const struct encode_constants *c, __m256i numbers, int part) {
  if (part == 0)
    return _mm256_srli_epi64(numbers, TOP_SHIFT);
  return _mm256_and_si256(part == 1 ? _mm256_srli_epi64(numbers, MIDDLE_SHIFT) : numbers,
                          c->fraction);
}

__attribute__((always_inline)) static inline void
encode_run(const struct encode_constants *c, const float *values, const __m256i numbers[2],
           uint32_t *lanes, bool clamp, size_t *n_clamped) {
#pragma GCC unroll 3
  for (int part = 0; part < 3; part++, values += 8, lanes += 8) {
    __m256i a = encode_four(c, values, thresholds_of(c, numbers[0], part), clamp, n_clamped);
    __m256i b = encode_four(c, values + 4, thresholds_of(c, numbers[1], part), clamp, n_clamped);
    _mm256_storeu_si256((__m256i *)(void *)lanes, _mm256_and_si256(low_halves(a, b), c->modulo));
  }
}

static inline bool any_beyond(const struct encode_constants *c, const float *values) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  __m256 most = _mm256_andnot_ps(sign, _mm256_loadu_ps(values));
  most = _mm256_max_ps(most, _mm256_andnot_ps(sign, _mm256_loadu_ps(values + 8)));
  most = _mm256_max_ps(most, _mm256_andnot_ps(sign, _mm256_loadu_ps(values + 16)));
  return _mm256_movemask_ps(_mm256_cmp_ps(most, c->no_clamp, _CMP_NLE_UQ)) != 0;
}

/* Whole runs of 24; returns how many values it did. Few of them need the clamp. */
static size_t encode_runs(const struct nx_encode_call *call, struct nx_rounding *rounding,
                          size_t *n_clamped) {
  __m256i s[2][4]; /* half, word */
  size_t i = 0, clamped = 0;
  const struct encode_constants c = {
      _mm256_set1_pd(call->factor),
      _mm256_set1_pd(call->limit),
      _mm256_set1_pd(-call->limit),
      _mm256_set1_epi64x((int64_t)FRACTION_MASK),
      _mm256_set1_epi32((int32_t)call->modulo),
      _mm256_set1_ps(no_clamp_below(call)),
  };
  for (int k = 0; k < 4; k++)
    for (int half = 0; half < 2; half++)
      memcpy(&s[half][k], &rounding->s[k][4 * half], sizeof s[half][k]);
  for (; i + RUN <= call->n; i += RUN) {
    const __m256i numbers[2] = {next_vector(s[0]), next_vector(s[1])};
    if (any_beyond(&c, call->values + i))
      encode_run(&c, call->values + i, numbers, call->lanes + i, true, &clamped);
    else
      encode_run(&c, call->values + i, numbers, call->lanes + i, false, &clamped);
  }
  for (int k = 0; k < 4; k++)
    for (int half = 0; half < 2; half++)
      memcpy(&rounding->s[k][4 * half], &s[half][k], sizeof s[half][k]);
  *n_clamped += clamped;
  return i;
}
#else
static size_t encode_runs(const struct nx_encode_call *call, struct nx_rounding *rounding,
                          size_t *n_clamped) {
  size_t i = 0;
  for (; i + RUN <= call->n; i += RUN) {
    uint64_t numbers[GENERATORS];
    next_numbers(rounding, numbers);
    for (size_t j = 0; j < RUN; j++)
      *n_clamped += encode_value(call, i + j, threshold_of(numbers, j));
  }
  return i;
}
#endif

static size_t encode(const struct nx_encode_call *call, struct nx_rounding *rounding) {
  size_t n_clamped = 0, i = encode_runs(call, rounding, &n_clamped);
  uint64_t numbers[GENERATORS];
  if (i < call->n)
    next_numbers(rounding, numbers);
  for (size_t j = 0; i < call->n; i++, j++)
    n_clamped += encode_value(call, i, threshold_of(numbers, j));
  return n_clamped;
}

static void decode(const uint32_t *lanes, size_t n, uint32_t ring_bits, double divisor,
                   float *out) {
  const uint32_t shift = 32 - ring_bits;
  for (size_t i = 0; i < n; i++)
    out[i] = (float)((double)((int32_t)(lanes[i] << shift) >> shift) / divisor);
}

/* Two levels at once: halves the passes over memory; the same sums as one level at a time. */
static void two_levels(float *x, size_t n, size_t h) {
  for (size_t i = 0; i < n; i += 4 * h)
    for (size_t j = i; j < i + h; j++) {
      float a = x[j] + x[j + h], b = x[j] - x[j + h];
      float c = x[j + 2 * h] + x[j + 3 * h], d = x[j + 2 * h] - x[j + 3 * h];
      x[j] = a + c;
      x[j + h] = b + d;
      x[j + 2 * h] = a - c;
      x[j + 3 * h] = b - d;
    }
}

static void one_level(float *x, size_t n, size_t h) {
  for (size_t i = 0; i < n; i += 2 * h)
    for (size_t j = i; j < i + h; j++) {
      float a = x[j] + x[j + h], b = x[j] - x[j + h];
      x[j] = a;
      x[j + h] = b;
    }
}

#define HADAMARD_CHUNK ((size_t)4096) /* 16 KiB: stays in the first-level cache */

static void levels(float *x, size_t n, size_t from) {
  size_t h = from;
  for (; 4 * h <= n; h *= 4)
    two_levels(x, n, h);
  if (2 * h <= n)
    one_level(x, n, h);
}

static void hadamard(float *x, size_t n) {
  size_t chunk = n < HADAMARD_CHUNK ? n : HADAMARD_CHUNK;
  for (size_t i = 0; i < n; i += chunk)
    levels(x + i, chunk, 1);
  levels(x, n, chunk);
}

/* The scalar ways, which the vector ones below leave their tails to. */
static void pack_scalar(const uint32_t *lanes, size_t n, uint32_t ring_bits, uint8_t *out) {
  uint64_t held = 0;
  uint32_t n_held = 0;
  for (size_t i = 0; i < n; i++) {
    held |= ((uint64_t)lanes[i] & ((UINT64_C(1) << ring_bits) - 1)) << n_held;
    for (n_held += ring_bits; n_held >= 8; n_held -= 8, held >>= 8)
      *out++ = (uint8_t)held;
  }
  if (n_held)
    *out = (uint8_t)held;
}

static void unpack_add_scalar(const uint8_t *packed, size_t n, uint32_t ring_bits, uint32_t *sums) {
  uint64_t held = 0;
  uint32_t n_held = 0;
  for (size_t i = 0; i < n; i++) {
    for (; n_held < ring_bits; n_held += 8)
      held |= (uint64_t)*packed++ << n_held;
    sums[i] += (uint32_t)(held & ((UINT64_C(1) << ring_bits) - 1));
    held >>= ring_bits;
    n_held -= ring_bits;
  }
}

static void pack32(const uint32_t *lanes, size_t n, uint8_t *out) {
  for (size_t i = 0; i < n; i++)
    nx_store_le32(out + 4 * i, lanes[i]);
}

static void unpack_add32(const uint8_t *packed, size_t n, uint32_t *sums) {
  for (size_t i = 0; i < n; i++)
    sums[i] += nx_load_le32(packed + 4 * i);
}

static void pack16(const uint32_t *lanes, size_t n, uint8_t *out) {
  for (size_t i = 0; i < n; i++) {
    out[2 * i] = (uint8_t)lanes[i];
    out[2 * i + 1] = (uint8_t)(lanes[i] >> 8);
  }
}

static void unpack_add16(const uint8_t *packed, size_t n, uint32_t *sums) {
  for (size_t i = 0; i < n; i++)
    sums[i] += (uint32_t)packed[2 * i] | (uint32_t)packed[2 * i + 1] << 8;
}

#ifdef NX_LANES_AVX512
/* Byte k of the result is byte (k / 3) * lane + k % 3 of the source: three bytes of every
 * lane-byte lane, close together; spread() is the way back, with zeros in between. */
static inline __m512i gather_order(int lane) {
  uint8_t order[64] = {0};
  for (int k = 0; k < 3 * (64 / lane); k++)
    order[k] = (uint8_t)(k / 3 * lane + k % 3);
  return _mm512_loadu_si512(order);
}

static inline __m512i spread_order(int lane) {
  uint8_t order[64] = {0};
  for (int k = 0; k < 64; k++)
    order[k] = k % lane < 3 ? (uint8_t)(k / lane * 3 + k % lane) : 63; /* 63: a zero byte */
  return _mm512_loadu_si512(order);
}

static size_t pack24(const uint32_t *lanes, size_t n, uint8_t *out) {
  const __m512i order = gather_order(4);
  size_t i = 0;
  for (; i + 16 <= n; i += 16)
    _mm512_mask_storeu_epi8(out + 3 * i, (__mmask64)0xffffffffffff,
                            _mm512_permutexvar_epi8(order, _mm512_loadu_si512(lanes + i)));
  return i;
}

static size_t unpack_add24(const uint8_t *packed, size_t n, uint32_t *sums) {
  const __m512i order = spread_order(4);
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    __m512i v = _mm512_maskz_loadu_epi8((__mmask64)0xffffffffffff, packed + 3 * i);
    v = _mm512_permutexvar_epi8(order, v);
    _mm512_storeu_si512(sums + i, _mm512_add_epi32(_mm512_loadu_si512(sums + i), v));
  }
  return i;
}

static size_t pack12(const uint32_t *lanes, size_t n, uint8_t *out) {
  const __m512i order = gather_order(8), low = _mm512_set1_epi64(0xfff),
                high = _mm512_set1_epi64(0xfff000);
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    __m512i v = _mm512_loadu_si512(lanes + i);
    v = _mm512_or_si512(_mm512_and_si512(v, low), _mm512_and_si512(_mm512_srli_epi64(v, 20), high));
    _mm512_mask_storeu_epi8(out + i / 2 * 3, (__mmask64)0xffffff,
                            _mm512_permutexvar_epi8(order, v));
  }
  return i;
}

static size_t unpack_add12(const uint8_t *packed, size_t n, uint32_t *sums) {
  const __m512i order = spread_order(8), low = _mm512_set1_epi64(0xfff),
                high = _mm512_set1_epi64(INT64_C(0xfff) << 32);
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    __m512i v = _mm512_maskz_loadu_epi8((__mmask64)0xffffff, packed + i / 2 * 3);
    v = _mm512_permutexvar_epi8(order, v);
    v = _mm512_or_si512(_mm512_and_si512(v, low), _mm512_and_si512(_mm512_slli_epi64(v, 20), high));
    _mm512_storeu_si512(sums + i, _mm512_add_epi32(_mm512_loadu_si512(sums + i), v));
  }
  return i;
}
#elif defined NX_LANES_AVX2
/* As above, in 16-byte pieces: stores and loads may run over the piece they are for, but never
 * over the end, so the last lanes are left to the scalar way. */
static inline __m128i load16(const void *at) {
  return _mm_loadu_si128(at);
}

static size_t pack24(const uint32_t *lanes, size_t n, uint8_t *out) {
  const __m128i order = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  size_t i = 0;
  for (; i + 6 <= n; i += 4)
    _mm_storeu_si128((__m128i *)(void *)(out + 3 * i), _mm_shuffle_epi8(load16(lanes + i), order));
  return i;
}

static size_t unpack_add24(const uint8_t *packed, size_t n, uint32_t *sums) {
  const __m128i order = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
  size_t i = 0;
  for (; i + 6 <= n; i += 4) {
    __m128i v = _mm_shuffle_epi8(load16(packed + 3 * i), order);
    _mm_storeu_si128((__m128i *)(void *)(sums + i), _mm_add_epi32(load16(sums + i), v));
  }
  return i;
}

/* Four lanes are six bytes. */
static size_t pack12(const uint32_t *lanes, size_t n, uint8_t *out) {
  const __m128i order = _mm_setr_epi8(0, 1, 2, 8, 9, 10, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
                low = _mm_set1_epi64x(0xfff), high = _mm_set1_epi64x(0xfff000);
  size_t i = 0;
  for (; i + 6 <= n; i += 4) {
    __m128i v = load16(lanes + i);
    v = _mm_or_si128(_mm_and_si128(v, low), _mm_and_si128(_mm_srli_epi64(v, 20), high));
    _mm_storel_epi64((__m128i *)(void *)(out + i / 2 * 3), _mm_shuffle_epi8(v, order));
  }
  return i;
}

static size_t unpack_add12(const uint8_t *packed, size_t n, uint32_t *sums) {
  const __m128i order = _mm_setr_epi8(0, 1, 2, -1, -1, -1, -1, -1, 3, 4, 5, -1, -1, -1, -1, -1),
                low = _mm_set1_epi64x(0xfff), high = _mm_set1_epi64x(INT64_C(0xfff) << 32);
  size_t i = 0;
  for (; i + 6 <= n; i += 4) {
    __m128i v = _mm_loadl_epi64((const __m128i *)(const void *)(packed + i / 2 * 3));
    v = _mm_shuffle_epi8(v, order);
    v = _mm_or_si128(_mm_and_si128(v, low), _mm_and_si128(_mm_slli_epi64(v, 20), high));
    _mm_storeu_si128((__m128i *)(void *)(sums + i), _mm_add_epi32(load16(sums + i), v));
  }
  return i;
}
#else
static size_t pack24(const uint32_t *lanes, size_t n, uint8_t *out) {
  (void)lanes, (void)n, (void)out;
  return 0;
}
static size_t unpack_add24(const uint8_t *packed, size_t n, uint32_t *sums) {
  (void)packed, (void)n, (void)sums;
  return 0;
}
#define pack12 pack24
#define unpack_add12 unpack_add24
#endif

static void pack(const uint32_t *lanes, size_t n, uint32_t ring_bits, uint8_t *out) {
  if (ring_bits == 32 || ring_bits == 16) {
    (ring_bits == 32 ? pack32 : pack16)(lanes, n, out);
    return;
  }
  size_t done = (ring_bits == 24 ? pack24 : pack12)(lanes, n, out);
  pack_scalar(lanes + done, n - done, ring_bits, out + done / 2 * ring_bits / 4);
}

static void unpack_add(const uint8_t *packed, size_t n, uint32_t ring_bits, uint32_t *sums) {
  if (ring_bits == 32 || ring_bits == 16) {
    (ring_bits == 32 ? unpack_add32 : unpack_add16)(packed, n, sums);
    return;
  }
  size_t done = (ring_bits == 24 ? unpack_add24 : unpack_add12)(packed, n, sums);
  unpack_add_scalar(packed + done / 2 * ring_bits / 4, n - done, ring_bits, sums + done);
}

#ifdef NX_LANES_AVX512
const struct nx_lane_kernels nx_lane_kernels_avx512 = {
    "avx512", sum_of_squares, encode, decode, hadamard, pack, unpack_add,
};
#elif defined NX_LANES_AVX2
const struct nx_lane_kernels nx_lane_kernels_avx2 = {
    "avx2", sum_of_squares, encode, decode, hadamard, pack, unpack_add,
};
#else
const struct nx_lane_kernels nx_lane_kernels_plain = {
    "plain", sum_of_squares, encode, decode, hadamard, pack, unpack_add,
};
#endif
