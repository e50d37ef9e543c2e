#include "crypto/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/size.h"
#include "crypto/lane_kernels.h"
#include "crypto/rotate.h"

static int ceil_log2(double x) {
  int exponent;
  return frexp(x, &exponent) == 0.5 ? exponent - 1 : exponent;
}

int32_t nx_quantize_limit(const struct nx_quantize *q) {
  return (int32_t)((UINT32_C(1) << (q->value_bits - 1)) - 1);
}

double nx_quantize_scale(const struct nx_quantize *q) {
  return ldexp(1.0, (int)q->value_bits - 1 - ceil_log2(q->value_range));
}

static int check_settings(const struct nx_quantize *q, struct nx_error *err) {
  if (q->ring_bits != 32 && q->ring_bits != 24 && q->ring_bits != 16 && q->ring_bits != 12)
    return nx_fail(err, NX_E_INVALID, "ring_bits %u: use 32, 24, 16 or 12", q->ring_bits);
  if (q->value_bits < 2 || q->value_bits >= q->ring_bits)
    return nx_fail(err, NX_E_INVALID, "value_bits %u: use 2 to %u in a ring of %u bits",
                   q->value_bits, q->ring_bits - 1, q->ring_bits);
  if (!(q->value_range >= 0x1p-60 && q->value_range <= 0x1p60))
    return nx_fail(err, NX_E_INVALID, "value_range %g: use a positive number", q->value_range);
  if (!(q->clip_norm > 0 && isfinite(q->clip_norm)))
    return nx_fail(err, NX_E_INVALID, "update_clip_norm %g: use a positive number", q->clip_norm);
  return 0;
}

int nx_quantize_check(const struct nx_quantize *q, uint32_t n_members, double margin,
                      struct nx_error *err) {
  int r = check_settings(q, err);
  if (r < 0)
    return r;
  if (!(margin >= 0 && isfinite(margin)))
    return nx_fail(err, NX_E_INVALID, "noise margin %g is not a size", margin);
  double most = (double)n_members * nx_quantize_limit(q) + margin;
  if (!(most < ldexp(1.0, (int)q->ring_bits - 1)))
    return nx_fail(err, NX_E_LIMIT,
                   "%u members with values of %u bits and a noise margin of %.0f can overflow a "
                   "ring of %u bits: take a wider ring or fewer value bits",
                   n_members, q->value_bits, margin, q->ring_bits);
  return 0;
}

static size_t power_of_two_from(size_t n) {
  size_t power = 1;
  while (power < n)
    power *= 2;
  return power;
}

size_t nx_quantize_lanes(const struct nx_quantize *q, size_t n) {
  size_t rest = n % NX_QUANTIZE_BLOCK;
  return q->rotate && rest ? n - rest + power_of_two_from(rest) : n;
}

/* Block by block, in order. */
static double l2_norm(const float *values, size_t n) {
  double sum = 0;
  for (size_t at = 0; at < n; at += NX_QUANTIZE_BLOCK)
    sum += nx_lane_kernels()->sum_of_squares(values + at, NX_MIN(NX_QUANTIZE_BLOCK, n - at));
  return sqrt(sum);
}

static int refuse_not_finite(const float *values, size_t n, struct nx_error *err) {
  size_t i = 0;
  while (i < n && isfinite(values[i]))
    i++;
  return nx_fail(err, NX_E_INVALID,
                 "component %zu of the update is not a finite number: nothing was encoded", i);
}

#define PIECE ((size_t)16384) /* of a block: rounding draws afresh for each */

struct blocks {
  const struct nx_quantize *q;
  const float *values;
  size_t n, n_lanes, n_blocks;
  double factor, limit;
  uint32_t modulo;
  uint64_t seed;
};

/* Checks the values, clips, draws the seed. */
static int blocks_init(struct blocks *blocks, const struct nx_quantize *q, const float *values,
                       size_t n, double weight, struct nx_rng *rng, double *norm_out,
                       struct nx_error *err) {
  int r = check_settings(q, err);
  if (r == 0 && !(weight >= 0 && weight <= 1))
    r = nx_fail(err, NX_E_INVALID, "weight %g is not in 0..1", weight);
  if (r < 0)
    return r;
  double norm = l2_norm(values, n);
  /* Squares of floats cannot overflow a double: not finite means a NaN or an infinity. */
  if (!isfinite(norm))
    return refuse_not_finite(values, n, err);
  double clip = norm > q->clip_norm ? q->clip_norm / norm : 1.0;
  *blocks = (struct blocks){
      .q = q,
      .values = values,
      .n = n,
      .n_lanes = nx_quantize_lanes(q, n),
      .n_blocks = (n + NX_QUANTIZE_BLOCK - 1) / NX_QUANTIZE_BLOCK,
      .factor = weight * clip * nx_quantize_scale(q),
      .limit = nx_quantize_limit(q),
      .modulo = (uint32_t)((UINT64_C(1) << q->ring_bits) - 1),
      .seed = nx_rng_u64(rng),
  };
  *norm_out = norm;
  return 0;
}

static size_t block_lanes(const struct blocks *blocks, size_t index) {
  return NX_MIN(NX_QUANTIZE_BLOCK, blocks->n_lanes - index * NX_QUANTIZE_BLOCK);
}

/* The floats of a block, block_lanes() of them: rotated and padded in scratch when q rotates. */
static const float *block_floats(const struct blocks *blocks, size_t index, float *scratch) {
  size_t at = index * NX_QUANTIZE_BLOCK, n_lanes = block_lanes(blocks, index);
  if (!blocks->q->rotate)
    return blocks->values + at;
  size_t n = NX_MIN(n_lanes, blocks->n - at);
  memcpy(scratch, blocks->values + at, n * sizeof *scratch);
  memset(scratch + n, 0, (n_lanes - n) * sizeof *scratch);
  nx_rotate(scratch, n_lanes, blocks->q->rotation_seed, index);
  return scratch;
}

/* Encodes a piece of these floats (the block's last may be short); how many were clamped. */
static size_t encode_piece(const struct blocks *blocks, size_t index, size_t piece,
                           const float *floats, uint32_t *lanes_out) {
  size_t at = piece * PIECE;
  struct nx_rounding rounding;
  const struct nx_encode_call call = {
      .values = floats + at,
      .lanes = lanes_out,
      .n = NX_MIN(PIECE, block_lanes(blocks, index) - at),
      .factor = blocks->factor,
      .limit = blocks->limit,
      .modulo = blocks->modulo,
  };
  nx_rounding_init(&rounding, blocks->seed, index * (NX_QUANTIZE_BLOCK / PIECE) + piece);
  return nx_lane_kernels()->encode(&call, &rounding);
}

/* A block of floats for every worker. */
static int allocate_scratch(const struct nx_quantize *q, struct nx_pool *pool, float **scratch_out,
                            struct nx_error *err) {
  size_t n = (pool ? nx_pool_threads(pool) : 1) * NX_QUANTIZE_BLOCK;
  if (q->rotate && !(*scratch_out = malloc(n * sizeof **scratch_out)))
    return nx_fail(err, NX_E_NOMEM, "out of memory to rotate");
  return 0;
}

int nx_quantize_encode(const struct nx_quantize *q, const float *values, size_t n, double weight,
                       struct nx_rng *rng, uint32_t *lanes_out, struct nx_quantize_report *report,
                       struct nx_error *err) {
  struct blocks blocks = {0};
  _cleanup_free_ float *scratch = NULL;
  double norm = 0;
  size_t n_clamped = 0;
  int r = blocks_init(&blocks, q, values, n, weight, rng, &norm, err);
  if (r == 0)
    r = allocate_scratch(q, NULL, &scratch, err);
  if (r < 0)
    return r;
  for (size_t i = 0; i < blocks.n_blocks; i++) {
    const float *floats = block_floats(&blocks, i, scratch);
    uint32_t *lanes = lanes_out + i * NX_QUANTIZE_BLOCK;
    for (size_t at = 0; at < block_lanes(&blocks, i); at += PIECE)
      n_clamped += encode_piece(&blocks, i, at / PIECE, floats, lanes + at);
  }
  if (report)
    *report = (struct nx_quantize_report){norm, n_clamped};
  return 0;
}

static void for_each(struct nx_pool *pool, size_t n,
                     void (*task)(void *context, size_t index, size_t worker), void *context) {
  if (pool && n > 1)
    nx_pool_run(pool, n, task, context);
  else
    for (size_t i = 0; i < n; i++)
      task(context, i, 0);
}

struct decode_job {
  const struct nx_quantize *q;
  const uint32_t *lanes;
  size_t n, n_lanes;
  double divisor;
  float *values, *scratch;
};

static void decode_block(void *context, size_t index, size_t worker) {
  const struct decode_job *job = context;
  size_t at = index * NX_QUANTIZE_BLOCK;
  size_t n = NX_MIN(NX_QUANTIZE_BLOCK, job->n - at);
  const struct nx_lane_kernels *kernels = nx_lane_kernels();
  if (!job->q->rotate) {
    kernels->decode(job->lanes + at, n, job->q->ring_bits, job->divisor, job->values + at);
    return;
  }
  size_t n_lanes = NX_MIN(NX_QUANTIZE_BLOCK, job->n_lanes - at);
  float *scratch = job->scratch + worker * NX_QUANTIZE_BLOCK;
  kernels->decode(job->lanes + at, n_lanes, job->q->ring_bits, job->divisor, scratch);
  nx_rotate_back(scratch, n_lanes, job->q->rotation_seed, index);
  memcpy(job->values + at, scratch, n * sizeof *scratch);
}

int nx_quantize_decode(const struct nx_quantize *q, const uint32_t *lanes, size_t n,
                       double weight_sum, struct nx_pool *pool, float *values_out,
                       struct nx_error *err) {
  _cleanup_free_ float *scratch = NULL;
  int r = check_settings(q, err);
  if (r == 0)
    r = allocate_scratch(q, pool, &scratch, err);
  if (r < 0)
    return r;
  struct decode_job job = {
      .q = q,
      .lanes = lanes,
      .n = n,
      .n_lanes = nx_quantize_lanes(q, n),
      .divisor = nx_quantize_scale(q) * weight_sum,
      .values = values_out,
      .scratch = scratch,
  };
  for_each(pool, (n + NX_QUANTIZE_BLOCK - 1) / NX_QUANTIZE_BLOCK, decode_block, &job);
  return 0;
}
