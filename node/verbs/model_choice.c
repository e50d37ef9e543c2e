#include "node/verbs/model_choice.h"

#include "common/file.h"
#include "models/quantised.h"
#include "models/released.h"
#include "models/tensor/quantise.h"

#define MODEL_CAP ((size_t)4 << 30)

int nx_model_choose(const char *path, const struct nx_plan *plan, struct nx_model **model_out,
                    struct nx_hash *hash_out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer file = {.cap = MODEL_CAP}, room = {.cap = MODEL_CAP};
  struct nx_bytes sealed;
  int r = nx_file_read(path, MODEL_CAP, &file, err);
  if (r < 0)
    return r; /* names the path */
  r = nx_released_sealed(nx_buffer_view(&file), &room, &sealed, err);
  if (r == 0)
    r = nx_model_load_quantised(plan, sealed, model_out, err);
  if (r == 0 && hash_out)
    *hash_out = nx_sha256(sealed.data, sealed.size);
  return r < 0 ? nx_error_prefix(err, r, "model %s", path) : 0;
}

int nx_model_keep_in(struct nx_model **model, const char *weights, struct nx_error *err) {
  _cleanup_(nx_model_destroyp) struct nx_model *plain = NULL, *quantised = NULL;
  if (!weights)
    return 0;
  enum nx_storage storage = !strcmp(weights, "int8")  ? NX_STORAGE_INT8
                            : !strcmp(weights, "nf4") ? NX_STORAGE_NF4
                                                      : NX_STORAGE_FLOAT32;
  if (storage == NX_STORAGE_FLOAT32 && strcmp(weights, "float32") != 0)
    return nx_fail(err, NX_E_INVALID, "--weights %.32s: use float32, int8 or nf4", weights);
  int r = nx_model_merge(*model, &plain, err);
  if (r == 0 && storage == NX_STORAGE_FLOAT32)
    quantised = nx_steal(&plain);
  else if (r == 0)
    r = nx_model_quantise(plain, storage, &quantised, err);
  if (r < 0)
    return nx_error_prefix(err, r, "--weights %s", weights);
  nx_model_destroy(*model);
  *model = nx_steal(&quantised);
  return 0;
}
