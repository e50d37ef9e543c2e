#include "node/residual.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/size.h"
#include "node/node_home.h"

#define MAGIC "NX-RESIDUAL-1\n\0"
#define MAGIC_SIZE 16
#define HEAD_SIZE (MAGIC_SIZE + NX_HASH_SIZE + 8 + 8)

static int size_of(size_t n, size_t *size_out, struct nx_error *err) {
  if (!nx_size_mul(n, sizeof(float), size_out) ||
      !nx_size_add(*size_out, HEAD_SIZE + NX_HASH_SIZE, size_out))
    return nx_fail(err, NX_E_LIMIT, "a residual of %zu values", n);
  return 0;
}

static void write_head(const struct nx_residual_key *key, size_t n, uint8_t head[HEAD_SIZE]) {
  memcpy(head, MAGIC, MAGIC_SIZE);
  memcpy(head + MAGIC_SIZE, key->plan.bytes, NX_HASH_SIZE);
  nx_store_le64(head + MAGIC_SIZE + NX_HASH_SIZE, key->first_round);
  nx_store_le64(head + MAGIC_SIZE + NX_HASH_SIZE + 8, n);
}

int nx_residual_save(const char *home, const struct nx_residual_key *key, const float *values,
                     size_t n, struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer file = {0};
  char path[NX_PATH_SIZE];
  uint8_t head[HEAD_SIZE];
  size_t size;
  int r = size_of(n, &size, err);
  if (r == 0)
    r = nx_path_join(path, home, NX_HOME_RESIDUAL, err);
  file.cap = size;
  if (r == 0)
    r = nx_buffer_reserve(&file, size, err);
  if (r < 0)
    return r;
  write_head(key, n, head);
  memcpy(file.data, head, sizeof head);
  for (size_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, &values[i], sizeof bits);
    nx_store_le32(file.data + sizeof head + 4 * i, bits);
  }
  struct nx_hash hash = nx_sha256(file.data, size - NX_HASH_SIZE);
  memcpy(file.data + size - NX_HASH_SIZE, hash.bytes, NX_HASH_SIZE);
  file.size = size;
  return nx_file_replace(path, nx_buffer_view(&file), 0600, err);
}

int nx_residual_load(const char *home, const struct nx_residual_key *key, float *values, size_t n,
                     struct nx_error *err) {
  _cleanup_(nx_buffer_finish) struct nx_buffer file = {0};
  char path[NX_PATH_SIZE];
  uint8_t head[HEAD_SIZE];
  size_t size;
  int r = size_of(n, &size, err);
  if (r == 0)
    r = nx_path_join(path, home, NX_HOME_RESIDUAL, err);
  if (r < 0 || !nx_path_exists(path))
    return r;
  file.cap = size;
  r = nx_file_read(path, size, &file, err);
  if (r == NX_E_LIMIT)
    return 0;
  if (r < 0)
    return r;
  write_head(key, n, head);
  if (file.size >= sizeof head && memcmp(file.data, head, sizeof head))
    return 0;
  struct nx_hash hash = {0};
  if (file.size == size)
    hash = nx_sha256(file.data, size - NX_HASH_SIZE);
  if (file.size != size || memcmp(file.data + size - NX_HASH_SIZE, hash.bytes, NX_HASH_SIZE))
    return nx_fail(err, NX_E_FORMAT, "%s is damaged", path);
  for (size_t i = 0; i < n; i++) {
    uint32_t bits = nx_load_le32(file.data + sizeof head + 4 * i);
    memcpy(&values[i], &bits, sizeof bits);
  }
  return 1;
}

int nx_residual_forget(const char *home, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  int r = nx_path_join(path, home, NX_HOME_RESIDUAL, err);
  if (r < 0)
    return r;
  if (unlink(path) < 0 && errno != ENOENT)
    return nx_fail(err, NX_E_IO, "%s cannot be removed: %s", path, strerror(errno));
  return nx_file_sync_folder_of(path, err);
}
