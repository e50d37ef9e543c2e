#include "node/verbs/model_choice.h"

#include "common/file.h"
#include "models/released.h"

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
    r = nx_model_load(plan, sealed, model_out, err);
  if (r == 0 && hash_out)
    *hash_out = nx_sha256(sealed.data, sealed.size);
  return r < 0 ? nx_error_prefix(err, r, "model %s", path) : 0;
}
