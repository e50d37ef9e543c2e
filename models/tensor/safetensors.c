#include "models/tensor/safetensors.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/size.h"

#define TENSORS_CAP 4096

struct nx_safetensors {
  cJSON *header; /* owns every name and text below */
  const cJSON *metadata;
  size_t n_tensors;
  struct nx_safetensor tensors[];
};

int nx_json_append_string(struct nx_buffer *out, const char *text, struct nx_error *err) {
  int r = nx_buffer_append(out, "\"", 1, err);
  for (const char *c = text; !r && *c; c++) {
    char escaped[8] = {*c, 0};
    if (*c == '"' || *c == '\\')
      snprintf(escaped, sizeof escaped, "\\%c", *c);
    else if ((unsigned char)*c < 0x20)
      snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)*c);
    r = nx_buffer_append(out, escaped, strlen(escaped), err);
  }
  return r ? r : nx_buffer_append(out, "\"", 1, err);
}

static size_t dtype_size(const char *dtype) {
  static const struct {
    const char *name;
    size_t size;
  } known[] = {{"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8}, {"I32", 4},
               {"I16", 2}, {"I8", 1},  {"U64", 8}, {"U32", 4},  {"U16", 2}, {"U8", 1}};
  for (size_t i = 0; i < NX_ARRAY_LENGTH(known); i++)
    if (!strcmp(dtype, known[i].name))
      return known[i].size;
  return 0;
}

/* A JSON number as a count; doubles hold every integer up to 2^53. */
static bool read_count(const cJSON *item, uint64_t *out) {
  if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= 0x1p53) ||
      item->valuedouble != floor(item->valuedouble))
    return false;
  *out = (uint64_t)item->valuedouble;
  return true;
}

static int read_shape(const cJSON *shape, struct nx_safetensor *tensor, uint64_t *values,
                      struct nx_error *err) {
  *values = 1;
  if (!cJSON_IsArray(shape) || cJSON_GetArraySize(shape) > NX_SAFETENSORS_DIMS)
    return nx_fail(err, NX_E_FORMAT, "shape is no list of at most %d sizes", NX_SAFETENSORS_DIMS);
  for (const cJSON *dim = shape->child; dim; dim = dim->next) {
    if (!read_count(dim, &tensor->dims[tensor->n_dims]) ||
        __builtin_mul_overflow(*values, tensor->dims[tensor->n_dims], values))
      return nx_fail(err, NX_E_FORMAT, "shape holds something that is no size");
    tensor->n_dims++;
  }
  return 0;
}

/* *end: where the tensor before this one ended, then where this one does. */
static int read_tensor(const cJSON *item, struct nx_bytes data, uint64_t *end,
                       struct nx_safetensor *tensor, struct nx_error *err) {
  const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype");
  const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
  uint64_t values, bytes, first, last;
  if (!cJSON_IsObject(item) || cJSON_GetArraySize(item) != 3 || !cJSON_IsString(dtype) ||
      !dtype_size(dtype->valuestring))
    return nx_fail(err, NX_E_FORMAT, "not exactly a known dtype, a shape and data_offsets");
  int r = read_shape(cJSON_GetObjectItemCaseSensitive(item, "shape"), tensor, &values, err);
  if (r < 0)
    return r;
  if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
      !read_count(offsets->child, &first) || !read_count(offsets->child->next, &last))
    return nx_fail(err, NX_E_FORMAT, "data_offsets is no pair of offsets");
  if (first != *end)
    return nx_fail(err, NX_E_FORMAT, "begins at %zu, but the tensor before it ends at %zu",
                   (size_t)first, (size_t)*end);
  if (last < first || last > data.size)
    return nx_fail(err, NX_E_FORMAT, "ends at %zu, the data at %zu: truncated?", (size_t)last,
                   data.size);
  if (__builtin_mul_overflow(values, dtype_size(dtype->valuestring), &bytes) ||
      bytes != last - first)
    return nx_fail(err, NX_E_FORMAT, "has %zu bytes, not what its shape and dtype need",
                   (size_t)(last - first));
  tensor->name = item->string;
  tensor->dtype = dtype->valuestring;
  tensor->data = nx_bytes(data.data + first, bytes);
  *end = last;
  return 0;
}

static bool metadata_is_text(const cJSON *metadata) {
  if (!cJSON_IsObject(metadata))
    return false;
  for (const cJSON *item = metadata->child; item; item = item->next)
    if (!cJSON_IsString(item))
      return false;
  return true;
}

/* Names go into error texts, which are one line. */
static bool name_is_plain(const char *name) {
  for (const char *c = name; *c; c++)
    if (*c <= 0x20 || *c > 0x7e)
      return false;
  return *name;
}

static int read_header(struct nx_safetensors *file, struct nx_bytes data, struct nx_error *err) {
  uint64_t end = 0;
  for (const cJSON *item = file->header->child; item; item = item->next) {
    if (!strcmp(item->string, "__metadata__")) {
      if (file->metadata || !metadata_is_text(item))
        return nx_fail(err, NX_E_FORMAT, "__metadata__ is given twice or holds more than texts");
      file->metadata = item;
      continue;
    }
    if (!name_is_plain(item->string))
      return nx_fail(err, NX_E_FORMAT, "tensor %zu has no plain ASCII name", file->n_tensors);
    for (size_t i = 0; i < file->n_tensors; i++)
      if (!strcmp(file->tensors[i].name, item->string))
        return nx_fail(err, NX_E_FORMAT, "tensor %.64s is given twice", item->string);
    int r = read_tensor(item, data, &end, &file->tensors[file->n_tensors], err);
    if (r < 0)
      return nx_error_prefix(err, r, "tensor %.64s", item->string);
    file->n_tensors++;
  }
  if (end != data.size)
    return nx_fail(err, NX_E_FORMAT, "%zu bytes are left over behind the last tensor",
                   data.size - (size_t)end);
  return 0;
}

int nx_safetensors_open(struct nx_bytes bytes, struct nx_safetensors **file_out,
                        struct nx_error *err) {
  struct nx_reader reader = nx_reader(bytes);
  uint64_t header_size = nx_reader_u64(&reader);
  if (reader.failed || header_size > NX_SAFETENSORS_HEADER_CAP || header_size > reader.rest.size)
    return nx_fail(err, NX_E_FORMAT, "no safetensors file, or one that is truncated");
  struct nx_bytes text = nx_reader_take(&reader, (size_t)header_size);
  const char *parsed = NULL;
  cJSON *header =
      cJSON_ParseWithLengthOpts((const char *)text.data, text.size, &parsed, /*terminated=*/0);
  size_t used = header && parsed ? (size_t)(parsed - (const char *)text.data) : 0;
  while (header && used < text.size && text.data[used] == ' ')
    used++;
  int n = cJSON_GetArraySize(header);
  if (!header || !cJSON_IsObject(header) || used != text.size || n > TENSORS_CAP) {
    cJSON_Delete(header);
    return nx_fail(err, NX_E_FORMAT, "the safetensors header is no JSON object of tensors");
  }
  _cleanup_(nx_safetensors_closep) struct nx_safetensors *file =
      calloc(1, sizeof *file + (size_t)n * sizeof file->tensors[0]);
  if (!file) {
    cJSON_Delete(header);
    return nx_fail(err, NX_E_NOMEM, "out of memory for a safetensors header");
  }
  file->header = header;
  int r = read_header(file, reader.rest, err);
  if (r < 0)
    return r;
  *file_out = nx_steal(&file);
  return 0;
}

size_t nx_safetensors_count(const struct nx_safetensors *file) {
  return file->n_tensors;
}

const struct nx_safetensor *nx_safetensors_at(const struct nx_safetensors *file, size_t index) {
  return &file->tensors[index];
}

const char *nx_safetensors_metadata(const struct nx_safetensors *file, const char *key) {
  return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(file->metadata, key));
}

void nx_safetensors_close(struct nx_safetensors *file) {
  if (!file)
    return;
  cJSON_Delete(file->header);
  free(file);
}
