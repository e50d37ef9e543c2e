#include "node/session/protect.h"

#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/size.h"
#include "crypto/masked_upload.h"

static int allocate(size_t n_lanes, size_t n_aux, struct nx_encoded *out, struct nx_error *err) {
  *out = (struct nx_encoded){.n_lanes = n_lanes, .n_aux = n_aux};
  out->lanes = calloc(NX_MAX(n_lanes, (size_t)1), sizeof *out->lanes);
  out->aux = calloc(NX_MAX(n_aux, (size_t)1), sizeof *out->aux);
  if (out->lanes && out->aux)
    return 0;
  nx_encoded_finish(out);
  return nx_fail(err, NX_E_NOMEM, "out of memory for %zu values", n_lanes);
}

static int encode_values(const struct nx_quantize *quantize, const float *delta, float *residual,
                         size_t n, struct nx_rng *rng, struct nx_encoded *encoded,
                         struct nx_error *err) {
  if (!n)
    return 0;
  if (residual)
    return nx_quantize_encode_feedback(quantize, delta, residual, n, 1.0, rng, encoded->lanes,
                                       &encoded->report, err);
  return nx_quantize_encode(quantize, delta, n, 1.0, rng, encoded->lanes, &encoded->report, err);
}

int nx_encode(const struct nx_quantize *quantize, const float *delta, float *residual,
              size_t n_values, const uint64_t *aux, size_t n_aux, uint64_t seed, uint64_t stream,
              struct nx_encoded *encoded_out, struct nx_error *err) {
  struct nx_encoded encoded;
  struct nx_rng rng;
  int r = allocate(nx_quantize_lanes(quantize, n_values), n_aux, &encoded, err);
  if (r < 0)
    return nx_error_prefix(err, r, "encode update");
  memcpy(encoded.aux, aux, n_aux * sizeof *aux);
  nx_rng_init(&rng, seed, stream);
  r = encode_values(quantize, delta, residual, n_values, &rng, &encoded, err);
  if (r < 0) {
    nx_encoded_finish(&encoded);
    return nx_error_prefix(err, r, "encode update");
  }
  *encoded_out = encoded;
  return 0;
}

int nx_encode_lanes(const uint32_t *lanes, size_t n_lanes, const uint64_t *aux, size_t n_aux,
                    struct nx_encoded *encoded_out, struct nx_error *err) {
  int r = allocate(n_lanes, n_aux, encoded_out, err);
  if (r < 0)
    return nx_error_prefix(err, r, "encode update");
  memcpy(encoded_out->lanes, lanes, n_lanes * sizeof *lanes);
  memcpy(encoded_out->aux, aux, n_aux * sizeof *aux);
  return 0;
}

void nx_encoded_finish(struct nx_encoded *encoded) {
  if (encoded->lanes)
    explicit_bzero(encoded->lanes, encoded->n_lanes * sizeof *encoded->lanes);
  if (encoded->aux)
    explicit_bzero(encoded->aux, encoded->n_aux * sizeof *encoded->aux);
  free(encoded->lanes);
  free(encoded->aux);
  *encoded = (struct nx_encoded){0};
}

static int mask_and_spool(const struct nx_masked_upload *upload, const uint32_t *lanes,
                          const char *path, struct nx_protected *out, struct nx_error *err) {
  out->bytes = nx_upload_bytes(&upload->layout);
  _cleanup_free_ uint8_t *y = malloc(NX_MAX(out->bytes, (uint64_t)1));
  if (!y)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  int r = nx_masked_upload_from_lanes(upload, lanes, y, err);
  if (r == 0)
    r = nx_upload_root(&upload->layout, y, upload->pool, &out->root, err);
  return r < 0 ? r : nx_file_replace(path, nx_bytes(y, out->bytes), 0600, err);
}

int nx_protect(const struct nx_encoded *encoded, uint32_t ring_bits, const struct nx_mask *mask,
               const char *spool, struct nx_pool *pool, struct nx_protected *protected_out,
               struct nx_error *err) {
  const struct nx_masked_upload upload = {
      .layout = {.n_lanes = encoded->n_lanes, .ring_bits = ring_bits, .n_aux = encoded->n_aux},
      .aux = encoded->aux,
      .mask = mask,
      .pool = pool,
  };
  struct nx_protected out = {0};
  int r = nx_upload_layout_check(&upload.layout, err);
  if (r == 0)
    r = mask_and_spool(&upload, encoded->lanes, spool, &out, err);
  if (r < 0)
    return nx_error_prefix(err, r, "protect update");
  *protected_out = out;
  return 0;
}
