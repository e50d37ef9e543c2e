/* Safetensors: the file format of models (github.com/huggingface/safetensors), read from
 * bytes that nobody vouches for.
 *
 *     u64 LE  header size h, at most NX_SAFETENSORS_HEADER_CAP
 *     h bytes JSON {"__metadata__": {"key": "text", …},
 *                   "name": {"dtype": "F32", "shape": [64, 145], "data_offsets": [0, 37120]}, …}
 *     data    the tensors, back to back, little-endian
 *
 * Accepted are files whose tensors lie in the order of the header without gap or overlap. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/error.h"

#define NX_SAFETENSORS_HEADER_CAP ((size_t)1 << 20)
#define NX_SAFETENSORS_DIMS 8

/* ---- Writing: one header, tensor by tensor, then the data. ---- */

/* Appends text as a JSON string with its quotes. */
int nx_json_append_string(struct nx_buffer *out, const char *text, struct nx_error *err);

/* ---- Reading ---- */

struct nx_safetensor {
  const char *name;
  const char *dtype; /* "F32", … as written */
  size_t n_dims;
  uint64_t dims[NX_SAFETENSORS_DIMS];
  struct nx_bytes data; /* inside the bytes that were opened */
};

struct nx_safetensors;

/* Parses and checks the header; the bytes must outlive the result. NX_E_FORMAT says what is
 * wrong and where. */
int nx_safetensors_open(struct nx_bytes bytes, struct nx_safetensors **file_out,
                        struct nx_error *err);
size_t nx_safetensors_count(const struct nx_safetensors *file);
const struct nx_safetensor *nx_safetensors_at(const struct nx_safetensors *file, size_t index);
/* Value of a metadata key, or NULL. */
const char *nx_safetensors_metadata(const struct nx_safetensors *file, const char *key);
void nx_safetensors_close(struct nx_safetensors *file); /* NULL is fine */
NX_DEFINE_CLEANUP(struct nx_safetensors *, nx_safetensors_close)
