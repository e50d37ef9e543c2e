#include "node/session/protect.h"

#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/size.h"

static int encode(const struct nx_protect_job *job, uint32_t *lanes,
                  struct nx_quantize_report *report, struct nx_error *err) {
  struct nx_rng rng;
  nx_rng_init(&rng, job->rounding_seed, job->rounding_stream);
  if (!job->layout.n_lanes)
    return 0;
  return nx_quantize_encode(&job->quantize, job->delta, job->layout.n_lanes, 1.0, &rng, lanes,
                            report, err);
}

static int add_masks(const struct nx_protect_job *job, uint32_t *lanes, uint64_t *aux,
                     struct nx_error *err) {
  int r = nx_mask_apply_u32(job->mask, lanes, 0, job->layout.n_lanes, job->pool, err);
  if (r == 0)
    r = nx_mask_apply_u64(job->mask, aux, 0, job->layout.n_aux, job->pool, err);
  return r;
}

static int spool(const struct nx_protect_job *job, const uint32_t *lanes, const uint64_t *aux,
                 struct nx_protected *out, struct nx_error *err) {
  out->bytes = nx_upload_bytes(&job->layout);
  _cleanup_free_ uint8_t *y = malloc(NX_MAX(out->bytes, (uint64_t)1));
  if (!y)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  nx_upload_pack(&job->layout, lanes, aux, y, job->pool);
  int r = nx_upload_root(&job->layout, y, job->pool, &out->root, err);
  if (r < 0)
    return r;
  return nx_file_replace(job->spool, nx_bytes(y, out->bytes), 0600, err);
}

/* lanes and aux hold the update in clear until add_masks() is through. */
static int protect(const struct nx_protect_job *job, uint32_t *lanes, uint64_t *aux,
                   struct nx_protected *out, struct nx_error *err) {
  memcpy(aux, job->aux, job->layout.n_aux * sizeof *aux);
  int r = encode(job, lanes, &out->report, err);
  if (r == 0)
    r = add_masks(job, lanes, aux, err);
  if (r == 0)
    r = spool(job, lanes, aux, out, err);
  return r;
}

int nx_protect(const struct nx_protect_job *job, struct nx_protected *protected_out,
               struct nx_error *err) {
  struct nx_protected out = {0};
  size_t n_lanes = job->layout.n_lanes, n_aux = job->layout.n_aux;
  int r = nx_upload_layout_check(&job->layout, err);
  if (r < 0)
    return nx_error_prefix(err, r, "protect update");
  uint32_t *lanes = calloc(NX_MAX(n_lanes, (size_t)1), sizeof *lanes);
  uint64_t *aux = calloc(NX_MAX(n_aux, (size_t)1), sizeof *aux);
  if (lanes && aux)
    r = protect(job, lanes, aux, &out, err);
  else
    r = nx_fail(err, NX_E_NOMEM, "out of memory");
  if (lanes)
    explicit_bzero(lanes, n_lanes * sizeof *lanes);
  if (aux)
    explicit_bzero(aux, n_aux * sizeof *aux);
  free(lanes);
  free(aux);
  if (r < 0)
    return nx_error_prefix(err, r, "protect update");
  *protected_out = out;
  return 0;
}
