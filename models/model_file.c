/* The canonical bytes of a model: nx_model_save() and nx_model_load(). */
#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/size.h"
#include "models/model.h"
#include "models/quantised.h"
#include "models/tensor/quantise.h"
#include "models/tensor/safetensors.h"

#define FORMAT "neurox-model/1"
#define LINE 256

static int append_format(struct nx_buffer *out, struct nx_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int append_format(struct nx_buffer *out, struct nx_error *err, const char *format, ...) {
  char line[LINE];
  va_list words;
  va_start(words, format);
  int length = vsnprintf(line, sizeof line, format, words);
  va_end(words);
  assert(length >= 0 && (size_t)length < sizeof line);
  return nx_buffer_append(out, line, (size_t)length, err);
}

static const char *objective_name(enum nx_plan_objective objective) {
  return objective == NX_OBJECTIVE_RECONSTRUCTION ? "reconstruction"
         : objective == NX_OBJECTIVE_NEXT_PATCH   ? "next-patch"
         : objective == NX_OBJECTIVE_REGRESSION   ? "regression"
                                                  : "classification";
}

/* The general network's own: "eeg:64:0.5:quadratic:0.5:1" for each tokeniser. */
static int append_tokenisers(struct nx_buffer *out, const struct nx_model_shape *s,
                             struct nx_error *err) {
  int r = append_format(out, err, "\"patches\":\"%u\",\"experts\":\"%u\",\"tokenisers\":\"",
                        s->patches, s->experts);
  for (uint32_t i = 0; !r && i < s->n_tokenisers; i++) {
    const struct nx_model_tokeniser *k = &s->tokenisers[i];
    r = append_format(out, err, "%s%s:%u:%.9g:%s:%.9g:%.9g", i ? " " : "",
                      nx_tokeniser_name(k->kind), k->patch_samples, k->patch_seconds,
                      k->loss == NX_TOKEN_LOSS_POISSON ? "poisson" : "quadratic",
                      k->frequency_weight, k->frequency_power);
  }
  if (!r)
    r = append_format(out, err,
                      "\",\"mask_fraction\":\"%.9g\",\"mask_correlation\":\"%.9g\","
                      "\"mask_radius_mm\":\"%.9g\"}",
                      s->mask_fraction, s->mask_correlation, s->mask_radius_mm);
  return r;
}

/* What a window may be of; weight and temperature of the loss. */
static int append_prototypes(struct nx_buffer *out, const struct nx_model_shape *s,
                             struct nx_error *err) {
  int r = append_format(out, err, "\"classes\":");
  if (!r)
    r = nx_json_append_string(out, s->classes, err);
  return r ? r
           : append_format(out, err, ",\"contrast\":\"%.9g:%.9g\",", s->contrast_weight,
                           s->temperature);
}

static int append_metadata(struct nx_buffer *out, const struct nx_model *model,
                           struct nx_error *err) {
  const struct nx_model_shape *s = &model->shape;
  int r = append_format(out, err, "{\"__metadata__\":{\"format\":\"" FORMAT "\",\"plan\":");
  if (!r)
    r = nx_json_append_string(out, model->plan_name, err);
  if (!r)
    r = append_format(out, err,
                      ",\"network\":\"%s\",\"objective\":\"%s\",\"width\":\"%u\","
                      "\"blocks\":\"%u\",\"queries\":\"%u\",\"heads\":\"%u\",",
                      s->network == NX_NETWORK_GENERAL ? "general" : "nano",
                      objective_name(s->objective), s->width, s->blocks, s->queries, s->heads);
  if (!r && s->balance > 0)
    r = append_format(out, err, "\"expert_balance\":\"%.9g\",", s->balance);
  if (!r && s->n_classes)
    r = append_prototypes(out, s, err);
  if (!r && s->adapters.rank)
    r = append_format(out, err, "\"adapters\":\"%u:%.9g%s%s%s\",", s->adapters.rank,
                      s->adapters.alpha, s->adapters.attention ? ":attention" : "",
                      s->adapters.feed_forward ? ":feed_forward" : "",
                      s->adapters.head ? ":head" : "");
  if (!r && nx_model_storage(model) != NX_STORAGE_FLOAT32)
    r = append_format(out, err, "\"%s\":\"%s\",", model->base ? "base" : "weights",
                      nx_storage_name(nx_model_storage(model)));
  if (!r && s->network == NX_NETWORK_GENERAL) {
    r = append_format(out, err, "\"feed_forward\":\"%u\",", s->feed_forward);
    return r ? r : append_tokenisers(out, s, err);
  }
  if (!r)
    r = append_format(out, err,
                      "\"feed_forward\":\"%u\",\"patches\":\"%u\",\"patch_samples\":\"%u\","
                      "\"bins\":\"%u\",\"stats\":\"%u\",\"patch_seconds\":\"%.9g\"}",
                      s->feed_forward, s->patches, s->patch_samples, s->bins, s->stats,
                      s->patch_seconds);
  return r;
}

/* Model tensors, then the two buffers, as (table entry, first value). */
static struct nx_model_tensor feature_entry(const struct nx_model *model, bool sd, float **values) {
  struct nx_model_tensor buffer = {.n_dims = 1,
                                   .dims = {(uint32_t)model->n_features, 1},
                                   .offset = model->n_params + (sd ? model->n_features : 0),
                                   .size = model->n_features};
  strcpy(buffer.name, sd ? "features.sd" : "features.mean");
  *values = sd ? model->feature_sd : model->feature_mean;
  return buffer;
}

static size_t n_feature_entries(const struct nx_model *model) {
  return model->n_features ? 2 : 0;
}

static const char *dtype_of(const struct nx_model_tensor *t) {
  return t->storage == NX_STORAGE_INT8 ? "I8" : t->storage == NX_STORAGE_NF4 ? "U8" : "F32";
}

/* Of a row in the file: two codes of NF4 are a byte. */
static uint32_t columns_of(const struct nx_model_tensor *t) {
  return t->storage == NX_STORAGE_NF4 ? t->dims[1] / 2 : t->dims[1];
}

/* Of the frozen model under adapters: "base.…", behind everything else. */
static struct nx_model_tensor base_entry(const struct nx_model *model, size_t i, float **values) {
  struct nx_model_tensor t = model->base->tensors[i];
  char name[sizeof t.name];
  *values = model->base->params + t.offset;
  t.offset += model->n_params + 2 * model->n_features;
  int n = snprintf(name, sizeof name, "base.%s", t.name);
  assert(n > 0 && (size_t)n < sizeof name);
  memcpy(t.name, name, sizeof name);
  return t;
}

static struct nx_model_tensor entry_of(const struct nx_model *model, size_t i, float **values) {
  size_t features = model->n_tensors + n_feature_entries(model);
  if (i >= features)
    return base_entry(model, i - features, values);
  if (i >= model->n_tensors)
    return feature_entry(model, i > model->n_tensors, values);
  *values = model->params + model->tensors[i].offset;
  return model->tensors[i];
}

static size_t n_entries(const struct nx_model *model) {
  return model->n_tensors + n_feature_entries(model) + (model->base ? model->base->n_tensors : 0);
}

static int append_header(struct nx_buffer *out, const struct nx_model *model,
                         struct nx_error *err) {
  int r = append_metadata(out, model, err);
  for (size_t i = 0; !r && i < n_entries(model); i++) {
    float *values;
    struct nx_model_tensor t = entry_of(model, i, &values);
    char shape[32];
    if (t.n_dims == 2)
      snprintf(shape, sizeof shape, "%u,%u", t.dims[0], columns_of(&t));
    else
      snprintf(shape, sizeof shape, "%u", t.dims[0]);
    r = append_format(out, err,
                      ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                      t.name, dtype_of(&t), shape, t.offset * 4, (t.offset + t.size) * 4);
  }
  if (!r)
    r = nx_buffer_append(out, "}", 1, err);
  while (!r && out->size % 8)
    r = nx_buffer_append(out, " ", 1, err);
  return r;
}

static int append_values(struct nx_buffer *out, const float *values, size_t n, const char *name,
                         struct nx_error *err) {
  int r = 0;
  for (size_t i = 0; !r && i < n; i++) {
    uint32_t bits;
    uint8_t bytes[4];
    memcpy(&bits, &values[i], sizeof bits);
    nx_store_le32(bytes, bits);
    if (!isfinite(values[i]))
      return nx_fail(err, NX_E_INVALID, "%s[%zu] is NaN or infinite: training diverged", name, i);
    r = nx_buffer_append(out, bytes, sizeof bytes, err);
  }
  return r;
}

int nx_model_save(const struct nx_model *model, struct nx_buffer *out, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer header = {0};
  int r = append_header(&header, model, err);
  if (!r)
    r = nx_buffer_reserve(out,
                          8 + header.size +
                              4 * (model->n_params + 2 * model->n_features +
                                   (model->base ? model->base->n_params : 0)),
                          err);
  if (!r)
    r = nx_buffer_append_u64(out, header.size, err);
  if (!r)
    r = nx_buffer_append(out, header.data, header.size, err);
  for (size_t i = 0; !r && i < n_entries(model); i++) {
    float *values;
    struct nx_model_tensor t = entry_of(model, i, &values);
    if (t.storage == NX_STORAGE_FLOAT32)
      r = append_values(out, values, t.size, t.name, err);
    else
      r = nx_buffer_append(out, values, t.size * sizeof *values, err);
  }
  return r < 0 ? nx_error_prefix(err, r, "save model") : 0;
}

/* The header must be the one we would write: says which tensor is the first that is not. */
static int check_header(const struct nx_model *model, const struct nx_safetensors *file,
                        struct nx_bytes header, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer expected = {0};
  const char *format = nx_safetensors_metadata(file, "format");
  if (!format || strcmp(format, FORMAT))
    return nx_fail(err, NX_E_FORMAT, "metadata format is \"%.32s\", not " FORMAT,
                   format ? format : "");
  for (size_t i = 0; i < NX_MAX(n_entries(model), nx_safetensors_count(file)); i++) {
    if (i >= n_entries(model))
      return nx_fail(err, NX_E_FORMAT, "tensor %.64s does not belong to the plan's model",
                     nx_safetensors_at(file, i)->name);
    float *values;
    struct nx_model_tensor t = entry_of(model, i, &values);
    if (i >= nx_safetensors_count(file))
      return nx_fail(err, NX_E_FORMAT, "tensor %s is missing", t.name);
    const struct nx_safetensor *found = nx_safetensors_at(file, i);
    if (strcmp(found->name, t.name))
      return nx_fail(err, NX_E_FORMAT, "tensor %zu is %.64s, the plan's model has %s there", i,
                     found->name, t.name);
    if (strcmp(found->dtype, dtype_of(&t)) || found->n_dims != t.n_dims ||
        found->dims[0] != t.dims[0] || (t.n_dims == 2 && found->dims[1] != columns_of(&t)))
      return nx_fail(err, NX_E_FORMAT, "tensor %s has another dtype or shape than the plan's model",
                     t.name);
  }
  int r = append_header(&expected, model, err);
  if (r < 0)
    return r;
  if (nx_safetensors_metadata(file, "neurox_participation"))
    return nx_fail(err, NX_E_FORMAT,
                   "it was exported with the list of its sites, for other tools; export it with "
                   "--as-sealed to use it here");
  if (header.size != expected.size || memcmp(header.data, expected.data, header.size))
    return nx_fail(err, NX_E_FORMAT,
                   "metadata differ from the plan's, or the header is not in "
                   "canonical form");
  return 0;
}

static int read_values(const struct nx_safetensor *from, float *values, struct nx_error *err) {
  for (size_t i = 0; i < from->data.size / 4; i++) {
    uint32_t bits = nx_load_le32(from->data.data + 4 * i);
    memcpy(&values[i], &bits, sizeof bits);
    if (!isfinite(values[i]))
      return nx_fail(err, NX_E_FORMAT, "%s[%zu] is NaN or infinite", from->name, i);
  }
  return 0;
}

static int read_model(struct nx_model *model, struct nx_bytes bytes, struct nx_error *err) {
  _cleanup_(nx_safetensors_closep) struct nx_safetensors *file = NULL;
  int r = nx_safetensors_open(bytes, &file, err);
  if (r < 0)
    return r;
  r = check_header(model, file, nx_bytes(bytes.data + 8, (size_t)nx_load_le64(bytes.data)), err);
  for (size_t i = 0; !r && i < n_entries(model); i++) {
    float *values;
    struct nx_model_tensor t = entry_of(model, i, &values);
    const struct nx_safetensor *from = nx_safetensors_at(file, i);
    if (t.storage == NX_STORAGE_FLOAT32)
      r = read_values(from, values, err);
    else
      memcpy(values, from->data.data, from->data.size); /* any code is a level */
  }
  for (size_t i = 0; !r && i < model->n_features; i++)
    if (!(model->feature_sd[i] > 0))
      r = nx_fail(err, NX_E_FORMAT, "features.sd[%zu] is not positive", i);
  return r;
}

/* What the file's metadata say its weights are kept in, when that is not float32. */
static enum nx_storage weights_of(struct nx_bytes bytes) {
  _cleanup_(nx_safetensors_closep) struct nx_safetensors *file = NULL;
  const char *weights = NULL;
  if (nx_safetensors_open(bytes, &file, NULL) == 0)
    weights = nx_safetensors_metadata(file, "weights");
  for (int i = NX_STORAGE_INT8; weights && i <= NX_STORAGE_NF4; i++)
    if (!strcmp(weights, nx_storage_name((enum nx_storage)i)))
      return (enum nx_storage)i;
  return NX_STORAGE_FLOAT32;
}

int nx_model_load_quantised(const struct nx_plan *plan, struct nx_bytes bytes,
                            struct nx_model **model_out, struct nx_error *err) {
  _cleanup_(nx_model_destroyp) struct nx_model *model = NULL, *plain = NULL, *quantised = NULL;
  enum nx_storage storage = weights_of(bytes);
  if (storage == NX_STORAGE_FLOAT32)
    return nx_model_load(plan, bytes, model_out, err);
  int r = nx_model_create(plan, &model, err);
  if (!r)
    r = nx_model_merge(model, &plain, err);
  if (!r)
    r = nx_model_quantise(plain, storage, &quantised, err);
  if (!r)
    r = read_model(quantised, bytes, err);
  if (r < 0)
    return nx_error_prefix(err, r, "load model");
  *model_out = nx_steal(&quantised);
  return 0;
}

int nx_model_load(const struct nx_plan *plan, struct nx_bytes bytes, struct nx_model **model_out,
                  struct nx_error *err) {
  _cleanup_(nx_model_destroyp) struct nx_model *model = NULL;
  int r = nx_model_create(plan, &model, err);
  if (!r)
    r = read_model(model, bytes, err);
  if (r < 0)
    return nx_error_prefix(err, r, "load model");
  *model_out = nx_steal(&model);
  return 0;
}
