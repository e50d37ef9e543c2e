#include "common/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int nx_path_join(char out[NX_PATH_SIZE], const char *folder, const char *name,
                 struct nx_error *err) {
  size_t n = strlen(folder);
  const char *slash = n && folder[n - 1] == '/' ? "" : "/";
  if (snprintf(out, NX_PATH_SIZE, "%s%s%s", folder, slash, name) >= NX_PATH_SIZE)
    return nx_fail(err, NX_E_LIMIT, "path is too long: %.64s…/%.64s", folder, name);
  return 0;
}

bool nx_path_exists(const char *path) {
  struct stat status;
  return lstat(path, &status) == 0;
}

static int read_all(int fd, const char *path, size_t cap, struct nx_buffer *out,
                    struct nx_error *err) {
  for (size_t total = 0;;) {
    uint8_t chunk[16384];
    ssize_t n = read(fd, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return nx_fail_errno(err, errno, "read %s", path);
    if (n == 0)
      return 0;
    if ((total += (size_t)n) > cap)
      return nx_fail(err, NX_E_LIMIT, "read %s: larger than %zu bytes", path, cap);
    int r = nx_buffer_append(out, chunk, (size_t)n, err);
    explicit_bzero(chunk, (size_t)n);
    if (r < 0)
      return nx_error_prefix(err, r, "read %s", path);
  }
}

int nx_file_read(const char *path, size_t cap, struct nx_buffer *out, struct nx_error *err) {
  _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return nx_fail_errno(err, errno, "open %s", path);
  return read_all(fd, path, cap, out, err);
}

int nx_file_write_all(int fd, struct nx_bytes bytes, const char *path, struct nx_error *err) {
  while (bytes.size) {
    ssize_t n = write(fd, bytes.data, bytes.size);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return nx_fail_errno(err, errno, "write %s", path);
    bytes.data += n;
    bytes.size -= (size_t)n;
  }
  return 0;
}

int nx_file_sync_folder_of(const char *path, struct nx_error *err) {
  char folder[NX_PATH_SIZE];
  const char *slash = strrchr(path, '/');
  int n = slash ? (int)(slash - path) : 1;
  snprintf(folder, sizeof folder, "%.*s", n ? n : 1, slash ? path : ".");
  _cleanup_fd_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || fsync(fd))
    return nx_fail_errno(err, errno, "sync folder %s", folder);
  return 0;
}

static int write_temporary(const char *temporary, struct nx_bytes bytes, mode_t mode,
                           struct nx_error *err) {
  unlink(temporary);
  _cleanup_fd_ int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0)
    return nx_fail_errno(err, errno, "create %s", temporary);
  int r = nx_file_write_all(fd, bytes, temporary, err);
  if (r == 0 && (fchmod(fd, mode) || fsync(fd)))
    r = nx_fail_errno(err, errno, "write %s", temporary);
  if (r < 0)
    unlink(temporary);
  return r;
}

static int put(const char *path, struct nx_bytes bytes, mode_t mode, bool replace,
               struct nx_error *err) {
  char temporary[NX_PATH_SIZE];
  if (snprintf(temporary, sizeof temporary, "%s.tmp-%ld", path, (long)getpid()) >=
      (int)sizeof temporary)
    return nx_fail(err, NX_E_LIMIT, "path is too long: %.64s…", path);
  int r = write_temporary(temporary, bytes, mode, err);
  if (r < 0)
    return r;
  int e = replace ? rename(temporary, path) : link(temporary, path);
  if (e) {
    e = errno;
    unlink(temporary);
    return nx_fail_errno(err, e, "create %s", path);
  }
  if (!replace)
    unlink(temporary);
  return nx_file_sync_folder_of(path, err);
}

int nx_file_replace(const char *path, struct nx_bytes bytes, mode_t mode, struct nx_error *err) {
  return put(path, bytes, mode, true, err);
}

int nx_file_create(const char *path, struct nx_bytes bytes, mode_t mode, struct nx_error *err) {
  return put(path, bytes, mode, false, err);
}

int nx_folder_create(const char *path, mode_t mode, struct nx_error *err) {
  struct stat status;
  if (mkdir(path, mode) == 0)
    return 0;
  int e = errno;
  if (e == EEXIST && stat(path, &status) == 0 && S_ISDIR(status.st_mode))
    return 0;
  return nx_fail_errno(err, e, "create folder %s", path);
}

size_t nx_folder_count(const char *path) {
  DIR *folder = opendir(path);
  size_t n = 0;
  for (struct dirent *entry; folder && (entry = readdir(folder));)
    n += entry->d_name[0] != '.';
  if (folder)
    closedir(folder);
  return n;
}

int nx_folder_lock(const char *path, int *fd_out, struct nx_error *err) {
  char name[NX_PATH_SIZE];
  int r = nx_path_join(name, path, ".lock", err);
  if (r < 0)
    return r;
  int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0)
    return nx_fail_errno(err, errno, "open %s", name);
  if (flock(fd, LOCK_EX | LOCK_NB)) {
    int e = errno;
    close(fd);
    if (e == EWOULDBLOCK)
      return nx_fail(err, NX_E_STATE, "another process is running on %s: stop it first", path);
    return nx_fail_errno(err, e, "lock %s", name);
  }
  *fd_out = fd;
  return 0;
}
