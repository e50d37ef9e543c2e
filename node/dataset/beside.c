#include "node/dataset/beside.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "node/dataset/manifest_hash.h"
#include "node/recordings/format.h"

static int open_file(const char *path, const char *name) {
  char file[NX_PATH_SIZE];
  int fd = -1;
  nx_recording_split_part(path, file);
  return nx_recording_open_beside(file, name, &fd, NULL) < 0 ? -1 : fd;
}

static int look(const char *path, struct nx_beside_file *file, struct nx_error *err) {
  _cleanup_fd_ int fd = open_file(path, file->name);
  memset(&file->hash, 0, sizeof file->hash);
  file->there = fd >= 0;
  return file->there ? nx_manifest_fd_hash(fd, file->name, &file->hash, err) : 0;
}

int nx_beside_take(const struct nx_recording *recording, const char *path,
                   struct nx_beside *beside_out, struct nx_error *err) {
  struct nx_beside beside = {0};
  const char *name;
  int r = 0;
  while (!r && (name = nx_recording_beside(recording, beside.n))) {
    struct nx_beside_file *file = &beside.files[beside.n];
    file->name = strdup(name);
    if (!file->name) {
      r = nx_fail(err, NX_E_NOMEM, "out of memory");
      break;
    }
    beside.n++;
    r = look(path, file, err);
  }
  if (r < 0)
    nx_beside_finish(&beside);
  else
    *beside_out = beside;
  return r;
}

bool nx_beside_same(const struct nx_beside *beside, const char *path) {
  for (size_t i = 0; i < beside->n; i++) {
    struct nx_beside_file now = beside->files[i];
    if (look(path, &now, NULL) < 0 || now.there != beside->files[i].there ||
        !nx_hash_equal(&now.hash, &beside->files[i].hash))
      return false;
  }
  return true;
}

bool nx_beside_changed_since(const struct nx_beside *beside, const char *path, int64_t since) {
  for (size_t i = 0; i < beside->n; i++) {
    struct stat status;
    _cleanup_fd_ int fd = open_file(path, beside->files[i].name);
    if ((fd >= 0) != beside->files[i].there)
      return true;
    if (fd >= 0 && (fstat(fd, &status) || status.st_ctim.tv_sec * NX_SECOND + status.st_ctim.tv_nsec >
                                              since))
      return true;
  }
  return false;
}

struct nx_hash nx_beside_hash(const struct nx_beside *beside, const struct nx_hash *own) {
  struct nx_sha256 sha;
  bool any = false;
  nx_sha256_begin(&sha, "neurox recording v1");
  nx_sha256_hash(&sha, own);
  for (size_t i = 0; i < beside->n; i++) {
    if (beside->files[i].there)
      nx_sha256_hash(&sha, &beside->files[i].hash);
    any |= beside->files[i].there;
  }
  return any ? nx_sha256_final(&sha) : *own;
}

void nx_beside_finish(struct nx_beside *beside) {
  for (size_t i = 0; i < beside->n; i++)
    free(beside->files[i].name);
  memset(beside, 0, sizeof *beside);
}
