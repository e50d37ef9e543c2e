/* The C library's file calls, as the linker redirects them (--wrap): paths below /sim/ and
 * descriptors that came from them are the simulated disks', everything else is passed on. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/size.h"
#include "tests/sim/sim_disk.h"

#define FIRST_FD (1 << 24)
#define FDS 1024
#define MAPS 64

static struct open_file {
  bool used, append;
  int machine;
  struct sim_inode *inode; /* NULL: a folder */
  char folder[128];
  uint64_t at;
} files[FDS];

static struct sim_folder {
  int machine;
  char path[128];
  size_t next;
  struct dirent entry;
  bool used;
} folders[8];

static void *maps[MAPS];

#define WRAP(type, name, parameters)                                                               \
  type __real_##name parameters;                                                                   \
  type __wrap_##name parameters;                                                                   \
  type __wrap_##name parameters

static int answer(int r) {
  if (r >= 0)
    return r;
  errno = -r;
  return -1;
}

static struct open_file *file_of(int fd) {
  return fd >= FIRST_FD && fd < FIRST_FD + FDS ? &files[fd - FIRST_FD] : NULL;
}

static int open_folder(struct open_file *file, const char *path) {
  if (!sim_disk_is_folder(file->machine, path))
    return -ENOENT;
  snprintf(file->folder, sizeof file->folder, "%s", path);
  file->used = true;
  return FIRST_FD + (int)(file - files);
}

static int open_simulated(int machine, const char *path, int flags) {
  struct open_file *file = files;
  while (file < files + FDS && file->used)
    file++;
  if (file == files + FDS)
    return -EMFILE;
  *file = (struct open_file){.machine = machine, .append = flags & O_APPEND};
  if (sim_disk_is_dead((uint32_t)machine))
    return -EIO;
  if (flags & O_DIRECTORY)
    return open_folder(file, path);
  struct sim_inode *inode = sim_disk_find(machine, path);
  if (!inode && !(flags & O_CREAT))
    return -ENOENT;
  if (inode && (flags & O_EXCL))
    return -EEXIST;
  if (!inode)
    inode = sim_disk_make(machine, path);
  inode->references++;
  file->inode = inode;
  file->used = true;
  return FIRST_FD + (int)(file - files);
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...) {
  int machine = sim_disk_machine(path);
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return machine < 0 ? __real_open64(path, flags, mode)
                     : answer(open_simulated(machine, path, flags));
}

WRAP(int, close, (int fd)) {
  struct open_file *file = file_of(fd);
  if (!file)
    return __real_close(fd);
  sim_disk_unref(file->inode);
  *file = (struct open_file){0};
  return 0;
}

static ssize_t read_at(const struct open_file *file, void *out, size_t size, uint64_t at) {
  if (sim_disk_is_dead((uint32_t)file->machine))
    return answer(-EIO);
  if (at >= file->inode->size)
    return 0;
  size = NX_MIN(size, file->inode->size - at);
  memcpy(out, file->inode->now + at, size);
  return (ssize_t)size;
}

WRAP(ssize_t, read, (int fd, void *out, size_t size)) {
  struct open_file *file = file_of(fd);
  if (!file)
    return __real_read(fd, out, size);
  ssize_t n = read_at(file, out, size, file->at);
  file->at += n > 0 ? (uint64_t)n : 0;
  return n;
}

WRAP(ssize_t, pread64, (int fd, void *out, size_t size, off_t at)) {
  struct open_file *file = file_of(fd);
  return file ? read_at(file, out, size, (uint64_t)at) : __real_pread64(fd, out, size, at);
}

WRAP(ssize_t, write, (int fd, const void *data, size_t size)) {
  struct open_file *file = file_of(fd);
  if (!file)
    return __real_write(fd, data, size);
  int r = sim_disk_write(file->machine, file->inode, file->append ? file->inode->size : file->at,
                         data, size);
  if (r < 0)
    return answer(r);
  file->at += size;
  return (ssize_t)size;
}

static int sync_file(const struct open_file *file) {
  return answer(file->inode ? sim_disk_sync(file->machine, file->inode)
                            : sim_disk_sync_folder(file->machine, file->folder));
}

WRAP(int, fsync, (int fd)) {
  struct open_file *file = file_of(fd);
  return file ? sync_file(file) : __real_fsync(fd);
}

WRAP(int, fdatasync, (int fd)) {
  struct open_file *file = file_of(fd);
  return file ? sync_file(file) : __real_fdatasync(fd);
}

WRAP(int, ftruncate64, (int fd, off_t size)) {
  struct open_file *file = file_of(fd);
  return file ? answer(sim_disk_truncate(file->machine, file->inode, (uint64_t)size))
              : __real_ftruncate64(fd, size);
}

WRAP(int, rename, (const char *from, const char *to)) {
  int machine = sim_disk_machine(from);
  return machine < 0 ? __real_rename(from, to) : answer(sim_disk_rename(machine, from, to));
}

WRAP(int, link, (const char *from, const char *to)) {
  int machine = sim_disk_machine(from);
  return machine < 0 ? __real_link(from, to) : answer(sim_disk_link(machine, from, to));
}

WRAP(int, unlink, (const char *path)) {
  int machine = sim_disk_machine(path);
  return machine < 0 ? __real_unlink(path) : answer(sim_disk_unlink(machine, path));
}

WRAP(int, mkdir, (const char *path, mode_t mode)) {
  int machine = sim_disk_machine(path);
  return machine < 0 ? __real_mkdir(path, mode) : answer(sim_disk_make_folder(machine, path));
}

WRAP(int, rmdir, (const char *path)) {
  return sim_disk_machine(path) < 0 ? __real_rmdir(path) : 0; /* empty ones do not matter */
}

WRAP(int, fchmod, (int fd, mode_t mode)) {
  return file_of(fd) ? 0 : __real_fchmod(fd, mode);
}

static int describe(int machine, const char *path, struct stat *out) {
  struct sim_inode *inode = sim_disk_find(machine, path);
  bool folder = sim_disk_is_folder(machine, path);
  *out = (struct stat){.st_mode = folder ? S_IFDIR | 0700 : S_IFREG | 0600,
                       .st_size = inode ? (off_t)inode->size : 0};
  return inode || folder ? 0 : -ENOENT;
}

WRAP(int, stat64, (const char *path, struct stat *out)) {
  int machine = sim_disk_machine(path);
  return machine < 0 ? __real_stat64(path, out) : answer(describe(machine, path, out));
}

WRAP(int, lstat64, (const char *path, struct stat *out)) {
  int machine = sim_disk_machine(path);
  return machine < 0 ? __real_lstat64(path, out) : answer(describe(machine, path, out));
}

WRAP(int, fstat64, (int fd, struct stat *out)) {
  struct open_file *file = file_of(fd);
  if (!file)
    return __real_fstat64(fd, out);
  *out = (struct stat){.st_mode = S_IFREG | 0600, .st_size = (off_t)file->inode->size};
  return 0;
}

/* A private mapping is a copy; the spool's never outlives one sum. */
WRAP(void *, mmap64, (void *at, size_t size, int protection, int flags, int fd, off_t offset)) {
  struct open_file *file = file_of(fd);
  if (!file)
    return __real_mmap64(at, size, protection, flags, fd, offset);
  for (size_t i = 0; i < MAPS; i++)
    if (!maps[i]) {
      if (!(maps[i] = calloc(1, size)))
        abort();
      memcpy(maps[i], file->inode->now, NX_MIN(size, file->inode->size));
      return maps[i];
    }
  errno = ENOMEM;
  return MAP_FAILED;
}

static void **map_of(const void *bytes) {
  for (size_t i = 0; i < MAPS; i++)
    if (bytes && maps[i] == bytes)
      return &maps[i];
  return NULL;
}

WRAP(int, munmap, (void *bytes, size_t size)) {
  void **map = map_of(bytes);
  if (!map)
    return __real_munmap(bytes, size);
  free(*map);
  *map = NULL;
  return 0;
}

WRAP(int, madvise, (void *bytes, size_t size, int advice)) {
  return map_of(bytes) ? 0 : __real_madvise(bytes, size, advice);
}

WRAP(DIR *, opendir, (const char *path)) {
  int machine = sim_disk_machine(path);
  if (machine < 0)
    return __real_opendir(path);
  for (struct sim_folder *folder = folders; folder < folders + NX_ARRAY_LENGTH(folders); folder++)
    if (!folder->used && sim_disk_is_folder(machine, path)) {
      *folder = (struct sim_folder){.machine = machine, .used = true};
      snprintf(folder->path, sizeof folder->path, "%s", path);
      return (DIR *)(void *)folder;
    }
  errno = ENOENT;
  return NULL;
}

static struct sim_folder *folder_of(DIR *dir) {
  struct sim_folder *folder = (struct sim_folder *)(void *)dir;
  return folder >= folders && folder < folders + NX_ARRAY_LENGTH(folders) ? folder : NULL;
}

/* What is removed while it is listed moves the rest up, so removed names are not stepped over:
 * the next name is the first one after the last. */
WRAP(struct dirent *, readdir64, (DIR * dir)) {
  struct sim_folder *folder = folder_of(dir);
  if (!folder)
    return __real_readdir64(dir);
  const char *name = sim_disk_list(folder->machine, folder->path, folder->next);
  if (name && !strcmp(name, folder->entry.d_name))
    name = sim_disk_list(folder->machine, folder->path, ++folder->next);
  if (!name)
    return NULL;
  snprintf(folder->entry.d_name, sizeof folder->entry.d_name, "%s", name);
  return &folder->entry;
}

WRAP(int, closedir, (DIR * dir)) {
  struct sim_folder *folder = folder_of(dir);
  if (!folder)
    return __real_closedir(dir);
  folder->used = false;
  return 0;
}
