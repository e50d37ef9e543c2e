#include "models/import.h"

#include <math.h>

#include "common/size.h"
#include "models/quantised.h"
#include "models/tensor/safetensors.h"

/* Of the network's last part, which its objective decides. The general network's features are its
 * targets'. */
static bool is_of_objective(const struct nx_model *model, const char *name) {
  return (model->shape.network == NX_NETWORK_GENERAL && !strncmp(name, "features.", 9)) ||
         strstr(name, ".experts.load") || !strncmp(name, "head.", 5) ||
         !strncmp(name, "decoder.", 8) || !strncmp(name, "samples.", 8) ||
         !strncmp(name, "prototypes.", 11);
}

static const struct nx_safetensor *find(const struct nx_safetensors *file, const char *name) {
  for (size_t i = 0; i < nx_safetensors_count(file); i++)
    if (!strcmp(nx_safetensors_at(file, i)->name, name))
      return nx_safetensors_at(file, i);
  return NULL;
}

static int read_floats(const struct nx_safetensor *from, float *to, struct nx_error *err) {
  for (size_t i = 0; i < from->data.size / 4; i++) {
    uint32_t bits = nx_load_le32(from->data.data + 4 * i);
    memcpy(&to[i], &bits, sizeof bits);
    if (!isfinite(to[i]))
      return nx_fail(err, NX_E_FORMAT, "%.64s[%zu] is NaN or infinite", from->name, i);
  }
  return 0;
}

static int take(const struct nx_model *model, const struct nx_safetensors *file, const char *name,
                size_t n_dims, uint64_t rows, uint64_t columns, float *to,
                struct nx_import_report *report, struct nx_error *err) {
  const struct nx_safetensor *t = find(file, name);
  if (!t && is_of_objective(model, name)) {
    report->n_drawn++;
    return 0;
  }
  if (!t)
    return nx_fail(err, NX_E_FORMAT, "tensor %s of the plan's network is not in the file", name);
  if (strcmp(t->dtype, "F32") || t->n_dims != n_dims || t->dims[0] != rows ||
      (n_dims == 2 && t->dims[1] != columns))
    return nx_fail(err, NX_E_FORMAT, "tensor %s has another dtype or shape than the plan's network",
                   name);
  report->n_taken++;
  return read_floats(t, to, err);
}

/* The file's tensors that the plan's network does not have. */
static int pass_over(const struct nx_model *model, const struct nx_safetensors *file,
                     struct nx_import_report *report, struct nx_error *err) {
  for (size_t i = 0; i < nx_safetensors_count(file); i++) {
    const char *name = nx_safetensors_at(file, i)->name;
    bool feature =
        model->n_features && (!strcmp(name, "features.mean") || !strcmp(name, "features.sd"));
    if (feature || nx_model_find(model, name))
      continue;
    if (!is_of_objective(model, name))
      return nx_fail(err, NX_E_FORMAT, "tensor %.64s is not of the plan's network", name);
    report->n_dropped++;
  }
  return 0;
}

/* What tensors do not show: heads, seconds, tokenisers. */
static int check_metadata(const struct nx_model *model, const struct nx_safetensors *file,
                          struct nx_error *err) {
  static const char *const keys[] = {"format",        "network",       "heads",      "patches",
                                     "patch_seconds", "patch_samples", "tokenisers", "classes"};
  _cleanup_(nx_buffer_finish) struct nx_buffer own = {.cap = (size_t)4 << 30};
  _cleanup_(nx_safetensors_closep) struct nx_safetensors *plans = NULL;
  int r = nx_model_save(model, &own, err);
  if (!r)
    r = nx_safetensors_open(nx_buffer_view(&own), &plans, err);
  for (size_t i = 0; !r && i < NX_ARRAY_LENGTH(keys); i++) {
    const char *a = nx_safetensors_metadata(plans, keys[i]),
               *b = nx_safetensors_metadata(file, keys[i]);
    if (!b && !strcmp(keys[i], "classes"))
      continue; /* its prototypes are new ones */
    if (a && (!b || strcmp(a, b) != 0))
      r = nx_fail(err, NX_E_FORMAT, "its metadata say %s is \"%.64s\", the plan says \"%.64s\"",
                  keys[i], b ? b : "", a);
  }
  return r;
}

static int fill(struct nx_model *model, const struct nx_safetensors *file,
                struct nx_import_report *report, struct nx_error *err) {
  int r = check_metadata(model, file, err);
  for (size_t i = 0; !r && i < model->n_tensors; i++) {
    const struct nx_model_tensor *t = &model->tensors[i];
    r = take(model, file, t->name, t->n_dims, t->dims[0], t->dims[1], model->params + t->offset,
             report, err);
  }
  if (!r && model->n_features)
    r = take(model, file, "features.mean", 1, model->n_features, 1, model->feature_mean, report,
             err);
  if (!r && model->n_features)
    r = take(model, file, "features.sd", 1, model->n_features, 1, model->feature_sd, report, err);
  for (size_t i = 0; !r && i < model->n_features; i++)
    if (!(model->feature_sd[i] > 0))
      r = nx_fail(err, NX_E_FORMAT, "features.sd[%zu] is not positive", i);
  return r ? r : pass_over(model, file, report, err);
}

/* A quantised base is filled as numbers, and quantised again. */
static int fill_base(struct nx_model *model, const struct nx_safetensors *file,
                     struct nx_import_report *report, struct nx_error *err) {
  _cleanup_(nx_model_destroyp) struct nx_model *plain = NULL, *base = NULL;
  enum nx_storage storage = nx_model_storage(model);
  if (storage == NX_STORAGE_FLOAT32)
    return fill(model->base, file, report, err);
  int r = nx_model_dequantise(model->base, &plain, err);
  if (!r)
    r = fill(plain, file, report, err);
  if (!r)
    r = nx_model_quantise(plain, storage, &base, err);
  if (r < 0)
    return r;
  nx_model_destroy(model->base);
  model->base = nx_steal(&base);
  return 0;
}

int nx_model_import(const struct nx_plan *plan, struct nx_bytes bytes, struct nx_model **model_out,
                    struct nx_import_report *report_out, struct nx_error *err) {
  _cleanup_(nx_model_destroyp) struct nx_model *model = NULL;
  _cleanup_(nx_safetensors_closep) struct nx_safetensors *file = NULL;
  *report_out = (struct nx_import_report){0};
  int r = nx_safetensors_open(bytes, &file, err);
  if (!r)
    r = nx_model_create(plan, &model, err);
  if (!r && nx_safetensors_metadata(file, "adapters"))
    r = nx_fail(err, NX_E_FORMAT,
                "it is adapters over a frozen model: export it with --merged to go on from it");
  if (!r)
    r = model->base ? fill_base(model, file, report_out, err) : fill(model, file, report_out, err);
  if (!r && model->base) {
    memcpy(model->feature_mean, model->base->feature_mean, model->n_features * sizeof(float));
    memcpy(model->feature_sd, model->base->feature_sd, model->n_features * sizeof(float));
  }
  if (r < 0)
    return nx_error_prefix(err, r, "import");
  *model_out = nx_steal(&model);
  return 0;
}
