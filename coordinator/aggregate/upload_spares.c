#include "coordinator/aggregate/upload_spares.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int path_of(const struct nx_upload_spares *spares, uint32_t number, char out[NX_PATH_SIZE],
                   struct nx_error *err) {
  char name[16];
  snprintf(name, sizeof name, "%u", number);
  return nx_path_join(out, spares->folder, name, err);
}

/* What is not there any more, since somebody cleared the folder, is no spare either. */
static void drop(struct nx_upload_spares *spares, size_t keep) {
  char path[NX_PATH_SIZE];
  for (; spares->n > keep; spares->n--)
    if (path_of(spares, spares->names[spares->n - 1], path, NULL) == 0)
      unlink(path);
}

int nx_upload_spares_init(struct nx_upload_spares *spares, const char *uploads,
                          struct nx_error *err) {
  char path[NX_PATH_SIZE];
  *spares = (struct nx_upload_spares){0};
  int r = nx_path_join(spares->folder, uploads, "spare", err);
  if (r < 0)
    return r;
  DIR *dir = opendir(spares->folder);
  if (!dir)
    return errno == ENOENT ? 0 : nx_fail_errno(err, errno, "open folder %s", spares->folder);
  for (struct dirent *entry; r == 0 && (entry = readdir(dir));)
    if (entry->d_name[0] != '.' &&
        (r = nx_path_join(path, spares->folder, entry->d_name, err)) == 0 && unlink(path))
      r = nx_fail_errno(err, errno, "remove %s", path);
  closedir(dir);
  return r;
}

static bool has_room(const struct nx_upload_spares *spares, size_t n) {
  struct statvfs disk;
  return statvfs(spares->folder, &disk) ||
         (uint64_t)disk.f_bavail * disk.f_frsize >= n * spares->size;
}

int nx_upload_spares_put(struct nx_upload_spares *spares, const char *path, struct nx_error *err) {
  char spare[NX_PATH_SIZE];
  struct stat status;
  if (stat(path, &status))
    return nx_fail_errno(err, errno, "look at %s", path);
  if ((uint64_t)status.st_size != spares->size)
    drop(spares, 0);
  spares->size = (uint64_t)status.st_size;
  bool wanted = spares->size > 0 && spares->n < NX_UPLOAD_SPARES_MOST &&
                has_room(spares, spares->n + 1) && path_of(spares, spares->next, spare, NULL) == 0;
  if (wanted && nx_folder_create(spares->folder, 0700, NULL) == 0 && !rename(path, spare)) {
    spares->names[spares->n++] = spares->next++;
    spares->n_put++;
    return 0;
  }
  return unlink(path) ? nx_fail_errno(err, errno, "remove %s", path) : 0;
}

bool nx_upload_spares_take(struct nx_upload_spares *spares, uint64_t size, const char *path) {
  char spare[NX_PATH_SIZE];
  if (size != spares->size)
    drop(spares, 0);
  while (spares->n)
    if (path_of(spares, spares->names[--spares->n], spare, NULL) == 0 && !rename(spare, path))
      return true;
  return false;
}

void nx_upload_spares_cut(struct nx_upload_spares *spares) {
  if (spares->n_put && spares->n > spares->n_put)
    drop(spares, spares->n_put);
  spares->n_put = 0;
}

void nx_upload_spares_make_room(struct nx_upload_spares *spares) {
  if (!has_room(spares, spares->n))
    drop(spares, 0);
}

void nx_upload_spares_clear(struct nx_upload_spares *spares) {
  drop(spares, 0);
  rmdir(spares->folder);
}
