/* Model registry: the folder of blobs (models, opened sums, plans) that nodes fetch, each
 * under the SHA-256 of its bytes. What is written is on disk when the call returns, whole
 * or not at all; what is read is hashed again, so bit rot is found here and not at a node.
 *
 *   blobs/<64 hex digits>
 *
 * Any thread; several processes may share the folder. */
#pragma once

#include "common/bytes.h"
#include "common/file.h"
#include "crypto/hash.h"

#define NX_BLOB_CAP ((size_t)1 << 30) /* largest blob, bytes */

struct nx_model_registry {
  char folder[NX_PATH_SIZE];
};

/* Makes the folder (0700) when it is missing. Nothing to release. */
int nx_model_registry_init(struct nx_model_registry *registry, const char *folder,
                           struct nx_error *err);
/* Keeps the bytes and tells their hash; a blob that is there already is left alone. */
int nx_model_registry_put(struct nx_model_registry *registry, struct nx_bytes bytes,
                          struct nx_hash *hash_out, struct nx_error *err);
/* Appends the whole blob. NX_E_NOT_FOUND, or NX_E_FORMAT when the file was changed. */
int nx_model_registry_get(const struct nx_model_registry *registry, const struct nx_hash *hash,
                          struct nx_buffer *out, struct nx_error *err);

/* Reading piece by piece, for sending: the whole file is verified once at open. */
struct nx_blob_file {
  int fd;
  uint64_t size;
};
int nx_model_registry_open(const struct nx_model_registry *registry, const struct nx_hash *hash,
                           struct nx_blob_file *file_out, struct nx_error *err);
/* Fills out with size bytes at offset; NX_E_FORMAT when the file is shorter. */
int nx_blob_file_read(const struct nx_blob_file *file, uint64_t offset, void *out, size_t size,
                      struct nx_error *err);
void nx_blob_file_close(struct nx_blob_file *file);
