#include "coordinator/store/model_registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/size.h"

int nx_model_registry_init(struct nx_model_registry *registry, const char *folder,
                           struct nx_error *err) {
  if (snprintf(registry->folder, sizeof registry->folder, "%s", folder) >=
      (int)sizeof registry->folder)
    return nx_fail(err, NX_E_LIMIT, "path is too long: %.64s…", folder);
  return nx_folder_create(folder, 0700, err);
}

static int path_of(const struct nx_model_registry *registry, const struct nx_hash *hash,
                   char out[NX_PATH_SIZE], struct nx_error *err) {
  char name[NX_HASH_HEX_SIZE];
  nx_hash_hex(hash, name);
  return nx_path_join(out, registry->folder, name, err);
}

int nx_model_registry_put(struct nx_model_registry *registry, struct nx_bytes bytes,
                          struct nx_hash *hash_out, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  *hash_out = nx_sha256(bytes.data, bytes.size);
  int r = path_of(registry, hash_out, path, err);
  if (r < 0)
    return r;
  if (bytes.size > NX_BLOB_CAP)
    return nx_fail(err, NX_E_LIMIT, "blob of %zu bytes is larger than %zu", bytes.size,
                   NX_BLOB_CAP);
  struct nx_blob_file present;
  if (nx_model_registry_open(registry, hash_out, &present, NULL) == 0) {
    nx_blob_file_close(&present);
    return 0;
  }
  return nx_file_replace(path, bytes, 0600, err);
}

int nx_model_registry_get(const struct nx_model_registry *registry, const struct nx_hash *hash,
                          struct nx_buffer *out, struct nx_error *err) {
  struct nx_blob_file file;
  int r = nx_model_registry_open(registry, hash, &file, err);
  if (r < 0)
    return r;
  if ((r = nx_buffer_reserve(out, (size_t)file.size, err)) == 0 &&
      (r = nx_blob_file_read(&file, 0, out->data + out->size, (size_t)file.size, err)) == 0)
    out->size += (size_t)file.size;
  nx_blob_file_close(&file);
  return r;
}

static int verify(const struct nx_blob_file *file, const struct nx_hash *hash, const char *path,
                  struct nx_error *err) {
  struct nx_sha256 sha;
  uint8_t piece[16384];
  nx_sha256_init(&sha);
  for (uint64_t at = 0; at < file->size; at += sizeof piece) {
    size_t n = (size_t)NX_MIN(file->size - at, sizeof piece);
    int r = nx_blob_file_read(file, at, piece, n, err);
    if (r < 0)
      return nx_error_prefix(err, r, "read %s", path);
    nx_sha256_update(&sha, piece, n);
  }
  struct nx_hash found = nx_sha256_final(&sha);
  if (!nx_hash_equal(&found, hash))
    return nx_fail(err, NX_E_FORMAT, "%s was changed: its bytes do not have its hash", path);
  return 0;
}

int nx_model_registry_open(const struct nx_model_registry *registry, const struct nx_hash *hash,
                           struct nx_blob_file *file_out, struct nx_error *err) {
  char path[NX_PATH_SIZE];
  struct stat status;
  int r = path_of(registry, hash, path, err);
  if (r < 0)
    return r;
  _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 || fstat(fd, &status))
    return nx_fail_errno(err, errno, "open %s", path);
  struct nx_blob_file file = {.fd = fd, .size = (uint64_t)status.st_size};
  if (file.size > NX_BLOB_CAP)
    return nx_fail(err, NX_E_LIMIT, "%s is larger than %zu bytes", path, NX_BLOB_CAP);
  if ((r = verify(&file, hash, path, err)) < 0)
    return r;
  *file_out = file;
  fd = -1;
  return 0;
}

int nx_blob_file_read(const struct nx_blob_file *file, uint64_t offset, void *out, size_t size,
                      struct nx_error *err) {
  uint8_t *to = out;
  while (size) {
    ssize_t n = pread(file->fd, to, size, (off_t)offset);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return nx_fail_errno(err, errno, "read blob");
    if (n == 0)
      return nx_fail(err, NX_E_FORMAT, "blob is shorter than it was");
    to += n, offset += (uint64_t)n, size -= (size_t)n;
  }
  return 0;
}

void nx_blob_file_close(struct nx_blob_file *file) {
  if (file->fd >= 0)
    close(file->fd);
  file->fd = -1;
}
