#include "node/recordings/mat5.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "common/size.h"

#define HEADER_SIZE 128
#define DEPTH_FIELDS 4096

enum type {
  TYPE_I8 = 1,
  TYPE_U8,
  TYPE_I16,
  TYPE_U16,
  TYPE_I32,
  TYPE_U32,
  TYPE_F32,
  TYPE_F64 = 9,
  TYPE_I64 = 12,
  TYPE_U64,
  TYPE_MATRIX,
  TYPE_COMPRESSED,
  TYPE_UTF8,
  TYPE_UTF16
};

struct element {
  unsigned type;
  struct nx_bytes data;
};

bool nx_mat_probe(const uint8_t *head, size_t size) {
  return size >= HEADER_SIZE && !memcmp(head, "MATLAB 5.0", 10) && head[126] == 'I' &&
         head[127] == 'M';
}

/* Takes the next element off rest. */
static bool next(struct nx_bytes *rest, struct element *element) {
  if (rest->size < 8)
    return false;
  uint32_t type = nx_load_le32(rest->data), size = nx_load_le32(rest->data + 4);
  if (type >> 16) { /* small: size and type in one word, data in the other */
    element->type = type & 0xffff;
    element->data = nx_bytes(rest->data + 4, type >> 16);
    *rest = nx_bytes(rest->data + 8, rest->size - 8);
    return element->data.size <= 4;
  }
  element->type = type;
  element->data = nx_bytes(rest->data + 8, size);
  if (size > rest->size - 8)
    return false;
  size_t step = 8 + (type == TYPE_COMPRESSED ? size : ((size_t)size + 7) / 8 * 8);
  step = NX_MIN(step, rest->size);
  *rest = nx_bytes(rest->data + step, rest->size - step);
  return true;
}

static bool parse_dims(const struct element *dims, struct nx_mat *mat) {
  mat->n_dims = dims->data.size / 4;
  mat->rows = mat->columns = 1;
  if (dims->type != TYPE_I32 || mat->n_dims < 2 || mat->n_dims > 16)
    return false;
  for (size_t i = 0; i < mat->n_dims; i++) {
    uint64_t n = nx_load_le32(dims->data.data + 4 * i);
    if (n > INT32_MAX || (i > 0 && __builtin_mul_overflow(mat->columns, n, &mat->columns)))
      return false;
    if (i == 0)
      mat->rows = n;
  }
  return mat->columns < UINT64_C(1) << 40;
}

/* The contents of a matrix element. */
static bool parse_matrix(struct nx_bytes bytes, struct nx_mat *mat) {
  struct element flags, dims, name;
  memset(mat, 0, sizeof *mat);
  if (!next(&bytes, &flags) || flags.type != TYPE_U32 || flags.data.size < 8 ||
      !next(&bytes, &dims) || !parse_dims(&dims, mat) || !next(&bytes, &name))
    return false;
  mat->class = nx_load_le32(flags.data.data) & 0xff;
  mat->complex = nx_load_le32(flags.data.data) >> 11 & 1;
  snprintf(mat->name, sizeof mat->name, "%.*s", (int)NX_MIN(name.data.size, (size_t)63),
           (const char *)name.data.data);
  mat->body = bytes;
  return true;
}

static int inflate_all(struct nx_bytes in, uint8_t **out, size_t *size_out, struct nx_error *err) {
  z_stream stream = {.next_in = (Bytef *)(uintptr_t)in.data, .avail_in = (uInt)in.size};
  size_t room = NX_MAX((size_t)65536, NX_MIN(4 * in.size, NX_MAT_MEMORY_CAP));
  uint8_t *bytes = malloc(room);
  int z = bytes ? inflateInit(&stream) : Z_MEM_ERROR;
  while (z == Z_OK) {
    if (stream.total_out == room) {
      uint8_t *grown = room < NX_MAT_MEMORY_CAP ? realloc(bytes, room *= 2) : NULL;
      if (!grown)
        break;
      bytes = grown;
    }
    stream.next_out = bytes + stream.total_out;
    stream.avail_out = (uInt)NX_MIN(room - stream.total_out, (size_t)1 << 30);
    z = inflate(&stream, Z_NO_FLUSH);
  }
  *size_out = stream.total_out;
  inflateEnd(&stream);
  *out = bytes;
  if (z == Z_STREAM_END)
    return 0;
  free(bytes);
  *out = NULL;
  return nx_fail(err, z == Z_OK || z == Z_MEM_ERROR ? NX_E_LIMIT : NX_E_FORMAT,
                 z == Z_OK || z == Z_MEM_ERROR ? "a variable is larger than 1 GiB: save it apart"
                                               : "a compressed variable is damaged: copy the file "
                                                 "again");
}

/* Reads and unpacks one top-level element of `size` bytes. */
static int load_variable(const struct nx_recording *recording, uint64_t at, unsigned type,
                         size_t size, struct nx_mat_file *file, struct nx_error *err) {
  _cleanup_free_ uint8_t *raw = malloc(size + 1);
  if (!raw)
    return nx_fail(err, NX_E_NOMEM, "a variable of %zu bytes: out of memory", size);
  int r = nx_recording_pread(recording, at, raw, size, err);
  if (r < 0)
    return r;
  struct nx_bytes body = nx_bytes(raw, size);
  uint8_t **memory = &file->memory[file->n];
  if (type == TYPE_COMPRESSED) {
    struct element inner;
    size_t inflated;
    r = inflate_all(body, memory, &inflated, err);
    if (r < 0)
      return r;
    body = nx_bytes(*memory, inflated);
    bool good = next(&body, &inner);
    if (!good || inner.type != TYPE_MATRIX)
      return good ? 0 : nx_fail(err, NX_E_FORMAT, "a compressed variable is damaged");
    body = inner.data;
  } else {
    *memory = nx_steal(&raw);
  }
  if (!parse_matrix(body, &file->variables[file->n]))
    return nx_fail(err, NX_E_FORMAT, "the variable at byte %llu is damaged: copy the file again",
                   (unsigned long long)at);
  file->n++;
  return 0;
}

int nx_mat_open(const struct nx_recording *recording, struct nx_mat_file *file,
                struct nx_error *err) {
  file->variables = calloc(NX_MAT_VARIABLES, sizeof *file->variables);
  file->memory = calloc(NX_MAT_VARIABLES, sizeof *file->memory);
  if (!file->variables || !file->memory)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  uint64_t at = HEADER_SIZE, held = 0;
  while (at + 8 <= recording->file_size && file->n < NX_MAT_VARIABLES) {
    uint8_t tag[8];
    int r = nx_recording_pread(recording, at, tag, sizeof tag, err);
    if (r < 0)
      return r;
    uint32_t type = nx_load_le32(tag), size = nx_load_le32(tag + 4);
    if (size > recording->file_size - at - 8)
      return nx_fail(err, NX_E_FORMAT, "the variable at byte %llu is cut off: copy the file again",
                     (unsigned long long)at);
    if ((held += size) > NX_MAT_MEMORY_CAP)
      return nx_fail(err, NX_E_LIMIT, "variables of more than 1 GiB: save the data apart");
    if (type == TYPE_MATRIX || type == TYPE_COMPRESSED) {
      r = load_variable(recording, at + 8, type, size, file, err);
      if (r < 0)
        return r;
    }
    at += 8 + (uint64_t)size;
  }
  return 0;
}

void nx_mat_finish(struct nx_mat_file *file) {
  for (size_t i = 0; file->memory && i < NX_MAT_VARIABLES; i++)
    free(file->memory[i]);
  free(file->memory);
  free(file->variables);
  memset(file, 0, sizeof *file);
}

const struct nx_mat *nx_mat_find(const struct nx_mat_file *file, const char *name) {
  for (size_t i = 0; i < file->n; i++)
    if (!strcmp(file->variables[i].name, name))
      return &file->variables[i];
  return NULL;
}

bool nx_mat_field(const struct nx_mat *mat, const char *name, uint64_t index,
                  struct nx_mat *field_out) {
  struct nx_bytes rest = mat->body;
  struct element length, names, value;
  if (mat->class != NX_MAT_STRUCT || index >= mat->rows * mat->columns || !next(&rest, &length) ||
      length.data.size < 4 || !next(&rest, &names))
    return false;
  size_t width = nx_load_le32(length.data.data), wanted = SIZE_MAX;
  size_t n = width ? names.data.size / width : 0;
  for (size_t i = 0; i < n && i < DEPTH_FIELDS; i++)
    if (strlen(name) < width && !strncmp((const char *)names.data.data + i * width, name, width) &&
        wanted == SIZE_MAX)
      wanted = i;
  if (wanted == SIZE_MAX)
    return false;
  for (uint64_t skip = index * n + wanted;; skip--) {
    if (!next(&rest, &value) || value.type != TYPE_MATRIX)
      return false;
    if (skip == 0)
      return value.data.size && parse_matrix(value.data, field_out);
  }
}

bool nx_mat_next_cell(struct nx_bytes *rest, struct nx_mat *cell_out) {
  struct element value;
  if (!next(rest, &value) || value.type != TYPE_MATRIX)
    return false;
  if (value.data.size)
    return parse_matrix(value.data, cell_out);
  memset(cell_out, 0, sizeof *cell_out);
  return true;
}

static size_t width_of(unsigned type) {
  switch (type) {
  case TYPE_I8:
  case TYPE_U8:
  case TYPE_UTF8:
    return 1;
  case TYPE_I16:
  case TYPE_U16:
  case TYPE_UTF16:
    return 2;
  case TYPE_I32:
  case TYPE_U32:
  case TYPE_F32:
    return 4;
  case TYPE_F64:
  case TYPE_I64:
  case TYPE_U64:
    return 8;
  default:
    return 0;
  }
}

bool nx_mat_numbers(const struct nx_mat *mat, unsigned *type_out, struct nx_bytes *data_out) {
  struct nx_bytes rest = mat->body;
  struct element part;
  uint64_t n;
  if (__builtin_mul_overflow(mat->rows, mat->columns, &n) || !next(&rest, &part) ||
      !width_of(part.type) || part.data.size / width_of(part.type) < n)
    return false;
  *type_out = part.type;
  *data_out = part.data;
  return true;
}

double nx_mat_value(unsigned type, const uint8_t *data, uint64_t index) {
  const uint8_t *p = data + index * width_of(type);
  float f32;
  double f64;
  switch (type) {
  case TYPE_I8:
    return (int8_t)*p;
  case TYPE_U8:
  case TYPE_UTF8:
    return *p;
  case TYPE_I16:
    return (int16_t)(p[0] | p[1] << 8);
  case TYPE_U16:
  case TYPE_UTF16:
    return (uint16_t)(p[0] | p[1] << 8);
  case TYPE_I32:
    return (int32_t)nx_load_le32(p);
  case TYPE_U32:
    return nx_load_le32(p);
  case TYPE_I64:
    return (double)(int64_t)nx_load_le64(p);
  case TYPE_U64:
    return (double)nx_load_le64(p);
  case TYPE_F32:
    memcpy(&f32, p, sizeof f32);
    return f32;
  case TYPE_F64:
    memcpy(&f64, p, sizeof f64);
    return f64;
  default:
    return NAN;
  }
}

/* Kinds that recordings come in have a loop of their own. */
#define VALUES(kind)                                                                               \
  for (size_t i = 0; i < n; i++, p += step * sizeof(kind)) {                                       \
    kind value;                                                                                    \
    memcpy(&value, p, sizeof value);                                                               \
    out[i] = (float)value;                                                                         \
  }

void nx_mat_values(unsigned type, const uint8_t *data, uint64_t index, uint64_t step, size_t n,
                   float *out) {
  const uint8_t *p = data + index * width_of(type);
  switch (type) {
  case TYPE_F64:
    VALUES(double)
    return;
  case TYPE_F32:
    VALUES(float)
    return;
  case TYPE_I16:
    VALUES(int16_t)
    return;
  case TYPE_U8:
    VALUES(uint8_t)
    return;
  default:
    for (size_t i = 0; i < n; i++)
      out[i] = (float)nx_mat_value(type, data, index + i * step);
  }
}

double nx_mat_scalar(const struct nx_mat *mat) {
  unsigned type;
  struct nx_bytes data;
  if (!nx_mat_is_number(mat) || mat->rows != 1 || mat->columns != 1 ||
      !nx_mat_numbers(mat, &type, &data))
    return NAN;
  return nx_mat_value(type, data.data, 0);
}

void nx_mat_text(const struct nx_mat *mat, char *out, size_t size) {
  unsigned type;
  struct nx_bytes data;
  size_t used = 0;
  out[0] = 0;
  if (mat->class != NX_MAT_CHAR || !nx_mat_numbers(mat, &type, &data))
    return;
  for (uint64_t i = 0; i < mat->rows * mat->columns && used + 4 < size; i++) {
    unsigned c = (unsigned)nx_mat_value(type, data.data, i) & 0xffff;
    if (c < 0x80 || type == TYPE_UTF8) {
      out[used++] = (char)c;
    } else if (c < 0x800) {
      out[used++] = (char)(0xc0 | c >> 6);
      out[used++] = (char)(0x80 | (c & 0x3f));
    } else {
      out[used++] = (char)(0xe0 | c >> 12);
      out[used++] = (char)(0x80 | (c >> 6 & 0x3f));
      out[used++] = (char)(0x80 | (c & 0x3f));
    }
  }
  out[used] = 0;
}
