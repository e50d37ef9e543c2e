#include "crypto/masked_upload.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "common/size.h"
#include "crypto/lane_kernels.h"
#include "crypto/quantize_block.h"

struct job {
  const struct nx_masked_upload *upload;
  uint8_t *out;
  const uint32_t *encoded;                 /* either these lanes */
  const struct nx_quantize_blocks *blocks; /* or these values */
  uint32_t *lanes;                         /* a piece for every worker */
  float *floats;                           /* a block for every worker, only for the rotation */
  _Atomic size_t n_clamped;
  _Atomic int failure;
};

struct nx_upload_layout nx_masked_upload_layout(const struct nx_quantize *quantize, size_t n_values,
                                                size_t n_aux) {
  return (struct nx_upload_layout){
      .n_lanes = nx_quantize_lanes(quantize, n_values),
      .ring_bits = quantize->ring_bits,
      .n_aux = n_aux,
  };
}

/* 32-bit lanes need no packing where memory is little-endian: they are made in place. */
static uint32_t *in_place(const struct job *job, size_t at) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  uint8_t *out = job->out + 4 * at;
  if (job->upload->layout.ring_bits == 32 && (uintptr_t)out % sizeof(uint32_t) == 0)
    return (uint32_t *)(void *)out;
#endif
  (void)job, (void)at;
  return NULL;
}

/* What the piece after this one reads and writes, as far as it is in memory and not in scratch. */
static struct nx_mask_ahead next_piece(const struct job *job, size_t at) {
  const struct nx_upload_layout *layout = &job->upload->layout;
  struct nx_mask_ahead next = {0};
  at += NX_QUANTIZE_PIECE;
  if (at >= layout->n_lanes)
    return next;
  size_t n = NX_MIN(NX_QUANTIZE_PIECE, layout->n_lanes - at);
  next.at[1] = job->out + at / 8 * layout->ring_bits;
  next.size[1] = n / 8 * layout->ring_bits;
  if (!job->blocks) {
    next.at[0] = job->encoded + at;
    next.size[0] = n * sizeof *job->encoded;
  } else if (!job->floats && at < job->blocks->n) {
    next.at[0] = job->blocks->values + at;
    next.size[0] = NX_MIN(n, job->blocks->n - at) * sizeof *job->blocks->values;
  }
  return next;
}

/* One piece, lanes at..at+n of the upload, while it is in the cache. */
static void mask_piece(struct job *job, size_t index, size_t piece, const float *floats,
                       size_t worker) {
  const struct nx_upload_layout *layout = &job->upload->layout;
  size_t at = index * NX_QUANTIZE_BLOCK + piece * NX_QUANTIZE_PIECE;
  size_t n = NX_MIN(NX_QUANTIZE_PIECE, layout->n_lanes - at);
  uint32_t *direct = in_place(job, at);
  uint32_t *lanes = direct ? direct : job->lanes + worker * NX_QUANTIZE_PIECE;
  if (job->blocks)
    job->n_clamped += nx_quantize_piece(job->blocks, index, piece, floats, lanes);
  else
    memcpy(lanes, job->encoded + at, n * sizeof *lanes);
  const struct nx_mask_ahead next = next_piece(job, at);
  int r = nx_mask_apply_u32_ahead(job->upload->mask, lanes, at, n, &next, NULL);
  if (r < 0)
    job->failure = r;
  if (!direct)
    nx_lane_kernels()->pack(lanes, n, layout->ring_bits, job->out + at / 8 * layout->ring_bits);
}

static void mask_block(void *context, size_t index, size_t worker) {
  struct job *job = context;
  size_t n_left = job->upload->layout.n_lanes - index * NX_QUANTIZE_BLOCK;
  float *scratch = job->floats ? job->floats + worker * NX_QUANTIZE_BLOCK : NULL;
  const float *floats = job->blocks ? nx_quantize_block_floats(job->blocks, index, scratch) : NULL;
  for (size_t at = 0; at < NX_MIN(NX_QUANTIZE_BLOCK, n_left); at += NX_QUANTIZE_PIECE)
    mask_piece(job, index, at / NX_QUANTIZE_PIECE, floats, worker);
}

static int mask_blocks(struct job *job, struct nx_error *err) {
  struct nx_pool *pool = job->upload->pool;
  size_t n_blocks = (job->upload->layout.n_lanes + NX_QUANTIZE_BLOCK - 1) / NX_QUANTIZE_BLOCK;
  size_t n_workers = pool ? nx_pool_threads(pool) : 1, n = n_workers * NX_QUANTIZE_PIECE;
  bool rotate = job->blocks && job->blocks->q->rotate;
  _cleanup_free_ uint32_t *lanes = malloc(n * sizeof *lanes);
  _cleanup_free_ float *floats =
      rotate ? malloc(n_workers * NX_QUANTIZE_BLOCK * sizeof *floats) : NULL;
  if (!lanes || (rotate && !floats))
    return nx_fail(err, NX_E_NOMEM, "out of memory to mask an update");
  job->lanes = lanes;
  job->floats = floats;
  if (pool && n_blocks > 1)
    nx_pool_run(pool, n_blocks, mask_block, job);
  else
    for (size_t i = 0; i < n_blocks; i++)
      mask_block(job, i, 0);
  explicit_bzero(lanes, n * sizeof *lanes);
  if (floats)
    explicit_bzero(floats, n_workers * NX_QUANTIZE_BLOCK * sizeof *floats);
  return job->failure ? nx_fail(err, job->failure, "a mask could not be applied") : 0;
}

static int mask_aux(const struct job *job, struct nx_error *err) {
  const struct nx_masked_upload *upload = job->upload;
  size_t n = upload->layout.n_aux;
  _cleanup_free_ uint64_t *aux = calloc(n ? n : 1, sizeof *aux);
  uint8_t *out = job->out + nx_upload_bytes(&upload->layout) - 8 * n;
  if (!aux)
    return nx_fail(err, NX_E_NOMEM, "out of memory for %zu counters", n);
  if (n)
    memcpy(aux, upload->aux, n * sizeof *aux);
  int r = nx_mask_apply_u64(upload->mask, aux, 0, n, NULL, err);
  for (size_t i = 0; r == 0 && i < n; i++)
    nx_store_le64(out + 8 * i, aux[i]);
  explicit_bzero(aux, n * sizeof *aux);
  return r;
}

/* Up to eight bytes that the last block may leave unwritten. */
static void clear_padding(const struct job *job) {
  const struct nx_upload_layout *layout = &job->upload->layout;
  size_t end = nx_upload_bytes(layout) - 8 * layout->n_aux;
  memset(job->out + (end < 8 ? 0 : end - 8), 0, NX_MIN(end, (size_t)8));
}

static int run(struct job *job, struct nx_error *err) {
  clear_padding(job);
  int r = mask_blocks(job, err);
  if (r == 0)
    r = mask_aux(job, err);
  if (r == 0)
    return 0;
  explicit_bzero(job->out, nx_upload_bytes(&job->upload->layout)); /* may be in clear */
  return nx_error_prefix(err, r, "mask the update");
}

int nx_masked_upload_from_lanes(const struct nx_masked_upload *upload, const uint32_t *lanes,
                                uint8_t *out, struct nx_error *err) {
  struct job job = {.upload = upload, .encoded = lanes, .out = out};
  int r = nx_upload_layout_check(&upload->layout, err);
  return r < 0 ? r : run(&job, err);
}

int nx_masked_upload_from_values(const struct nx_masked_upload *upload,
                                 const struct nx_quantize *quantize, const float *values, size_t n,
                                 double weight, struct nx_rng *rng, uint8_t *out,
                                 struct nx_quantize_report *report, struct nx_error *err) {
  struct nx_quantize_blocks blocks;
  struct job job = {.upload = upload, .blocks = &blocks, .out = out};
  double norm = 0;
  int r = nx_upload_layout_check(&upload->layout, err);
  if (r == 0 && (upload->layout.n_lanes != nx_quantize_lanes(quantize, n) ||
                 upload->layout.ring_bits != quantize->ring_bits))
    r = nx_fail(err, NX_E_INVALID, "%zu values do not make this upload", n);
  if (r == 0)
    r = nx_quantize_blocks_init(&blocks, quantize, values, n, weight, rng, upload->pool, &norm,
                                err);
  if (r == 0)
    r = run(&job, err);
  if (r == 0 && report)
    *report = (struct nx_quantize_report){norm, job.n_clamped};
  return r;
}
