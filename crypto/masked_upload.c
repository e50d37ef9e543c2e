#include "crypto/masked_upload.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "common/size.h"
#include "crypto/lane_kernels.h"

#define PIECE NX_MASK_TILE
#define BLOCK (4 * PIECE) /* one task of the pool */

struct job {
  const struct nx_masked_upload *upload;
  uint8_t *out;
  const uint32_t *encoded;
  uint32_t *lanes; /* a piece for every worker */
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

/* What the piece after this one reads and writes. */
static struct nx_mask_ahead next_piece(const struct job *job, size_t at) {
  const struct nx_upload_layout *layout = &job->upload->layout;
  at += PIECE;
  if (at >= layout->n_lanes)
    return (struct nx_mask_ahead){0};
  size_t n = NX_MIN(PIECE, layout->n_lanes - at);
  return (struct nx_mask_ahead){
      {job->encoded + at, job->out + at / 8 * layout->ring_bits},
      {n * sizeof *job->encoded, n / 8 * layout->ring_bits},
  };
}

/* One piece, lanes at.. of the upload, while it is in the cache. */
static void mask_piece(struct job *job, size_t at, size_t worker) {
  const struct nx_upload_layout *layout = &job->upload->layout;
  size_t n = NX_MIN(PIECE, layout->n_lanes - at);
  uint32_t *direct = in_place(job, at);
  uint32_t *lanes = direct ? direct : job->lanes + worker * PIECE;
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
  size_t end = NX_MIN((index + 1) * BLOCK, job->upload->layout.n_lanes);
  for (size_t at = index * BLOCK; at < end; at += PIECE)
    mask_piece(job, at, worker);
}

static int mask_blocks(struct job *job, struct nx_error *err) {
  struct nx_pool *pool = job->upload->pool;
  size_t n_blocks = (job->upload->layout.n_lanes + BLOCK - 1) / BLOCK;
  size_t n = (pool ? nx_pool_threads(pool) : 1) * PIECE;
  job->lanes = malloc(n * sizeof *job->lanes);
  if (!job->lanes)
    return nx_fail(err, NX_E_NOMEM, "out of memory to mask an update");
  if (pool && n_blocks > 1)
    nx_pool_run(pool, n_blocks, mask_block, job);
  else
    for (size_t i = 0; i < n_blocks; i++)
      mask_block(job, i, 0);
  explicit_bzero(job->lanes, n * sizeof *job->lanes);
  free(job->lanes);
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

int nx_masked_upload_from_lanes(const struct nx_masked_upload *upload, const uint32_t *lanes,
                                uint8_t *out, struct nx_error *err) {
  struct job job = {.upload = upload, .encoded = lanes, .out = out};
  int r = nx_upload_layout_check(&upload->layout, err);
  if (r < 0)
    return r;
  clear_padding(&job);
  r = mask_blocks(&job, err);
  if (r == 0)
    r = mask_aux(&job, err);
  if (r == 0)
    return 0;
  explicit_bzero(out, nx_upload_bytes(&upload->layout)); /* may be in clear */
  return nx_error_prefix(err, r, "mask the update");
}
