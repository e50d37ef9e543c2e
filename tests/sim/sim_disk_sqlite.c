/* SQLite on the simulated disk: the run store's database, its write-ahead log and their syncs
 * go the same way as everybody else's. One connection at a time, so that locks are none and
 * the shared index of the log is memory of this process, as it is gone with a real one. */
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "tests/sim/sim_disk.h"

#define REGIONS 16

struct file {
  sqlite3_file base;
  int machine;
  struct sim_inode *inode;
  void *regions[REGIONS];
  char path[128];
};

static int code_of(int r, int otherwise) {
  return r == 0 ? SQLITE_OK : r == -ENOSPC ? SQLITE_FULL : otherwise;
}

static int unmap_index(sqlite3_file *base, int remove) {
  struct file *file = (struct file *)(void *)base;
  (void)remove;
  for (size_t i = 0; i < REGIONS; i++) {
    free(file->regions[i]);
    file->regions[i] = NULL;
  }
  return SQLITE_OK;
}

static int close_file(sqlite3_file *base) {
  struct file *file = (struct file *)(void *)base;
  unmap_index(base, 0);
  sim_disk_unref(file->inode);
  file->inode = NULL;
  return SQLITE_OK;
}

static int read_file(sqlite3_file *base, void *out, int size, sqlite3_int64 at) {
  const struct file *file = (const struct file *)(const void *)base;
  size_t there = 0, wanted = (size_t)size;
  if (sim_disk_is_dead((uint32_t)file->machine))
    return SQLITE_IOERR_READ;
  if ((uint64_t)at < file->inode->size)
    there = NX_MIN(wanted, file->inode->size - (size_t)at);
  if (there)
    memcpy(out, file->inode->now + at, there);
  memset((uint8_t *)out + there, 0, wanted - there);
  return there == wanted ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int write_file(sqlite3_file *base, const void *data, int size, sqlite3_int64 at) {
  const struct file *file = (const struct file *)(const void *)base;
  return code_of(sim_disk_write(file->machine, file->inode, (uint64_t)at, data, (size_t)size),
                 SQLITE_IOERR_WRITE);
}

static int truncate_file(sqlite3_file *base, sqlite3_int64 size) {
  const struct file *file = (const struct file *)(const void *)base;
  return code_of(sim_disk_truncate(file->machine, file->inode, (uint64_t)size),
                 SQLITE_IOERR_TRUNCATE);
}

/* As SQLite's own: a new file's name is made sure with its first sync. */
static int sync_file(sqlite3_file *base, int flags) {
  const struct file *file = (const struct file *)(const void *)base;
  char folder[sizeof file->path];
  (void)flags;
  int r = sim_disk_sync(file->machine, file->inode);
  memcpy(folder, file->path, sizeof folder);
  *strrchr(folder, '/') = 0;
  if (r == 0)
    r = sim_disk_sync_folder(file->machine, folder);
  return code_of(r, SQLITE_IOERR_FSYNC);
}

static int size_of_file(sqlite3_file *base, sqlite3_int64 *size_out) {
  *size_out = (sqlite3_int64)((const struct file *)(const void *)base)->inode->size;
  return SQLITE_OK;
}

static int lock(sqlite3_file *base, int level) {
  (void)base, (void)level;
  return SQLITE_OK;
}

static int check_reserved(sqlite3_file *base, int *out) {
  (void)base;
  *out = 0;
  return SQLITE_OK;
}

static int control(sqlite3_file *base, int operation, void *argument) {
  (void)base, (void)operation, (void)argument;
  return SQLITE_NOTFOUND;
}

static int sector_size(sqlite3_file *base) {
  (void)base;
  return 4096;
}

static int characteristics(sqlite3_file *base) {
  (void)base;
  return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int map_index(sqlite3_file *base, int region, int size, int extend, void volatile **out) {
  struct file *file = (struct file *)(void *)base;
  if (region >= REGIONS)
    return SQLITE_NOMEM;
  if (!file->regions[region] && extend)
    file->regions[region] = calloc(1, (size_t)size);
  *out = file->regions[region];
  return SQLITE_OK;
}

static int lock_index(sqlite3_file *base, int offset, int n, int flags) {
  (void)base, (void)offset, (void)n, (void)flags;
  return SQLITE_OK;
}

static void barrier(sqlite3_file *base) {
  (void)base;
}

static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = close_file,
                                           .xRead = read_file,
                                           .xWrite = write_file,
                                           .xTruncate = truncate_file,
                                           .xSync = sync_file,
                                           .xFileSize = size_of_file,
                                           .xLock = lock,
                                           .xUnlock = lock,
                                           .xCheckReservedLock = check_reserved,
                                           .xFileControl = control,
                                           .xSectorSize = sector_size,
                                           .xDeviceCharacteristics = characteristics,
                                           .xShmMap = map_index,
                                           .xShmLock = lock_index,
                                           .xShmBarrier = barrier,
                                           .xShmUnmap = unmap_index};

static int open_file(sqlite3_vfs *vfs, const char *path, sqlite3_file *base, int flags,
                     int *flags_out) {
  struct file *file = (struct file *)(void *)base;
  int machine = path ? sim_disk_machine(path) : -1;
  (void)vfs;
  *file = (struct file){.machine = machine};
  if (machine < 0 || strlen(path) >= sizeof file->path || sim_disk_is_dead((uint32_t)machine))
    return SQLITE_CANTOPEN;
  struct sim_inode *inode = sim_disk_find(machine, path);
  if (!inode && !(flags & SQLITE_OPEN_CREATE))
    return SQLITE_CANTOPEN;
  file->inode = inode ? inode : sim_disk_make(machine, path);
  file->inode->references++;
  strcpy(file->path, path);
  file->base.pMethods = &methods;
  if (flags_out)
    *flags_out = flags;
  return SQLITE_OK;
}

static int delete_file(sqlite3_vfs *vfs, const char *path, int sync) {
  (void)vfs, (void)sync;
  int r = sim_disk_unlink(sim_disk_machine(path), path);
  return r == -ENOENT ? SQLITE_IOERR_DELETE_NOENT : code_of(r, SQLITE_IOERR_DELETE);
}

static int is_there(sqlite3_vfs *vfs, const char *path, int flags, int *out) {
  (void)vfs, (void)flags;
  *out = sim_disk_find(sim_disk_machine(path), path) != NULL;
  return SQLITE_OK;
}

static int whole_path(sqlite3_vfs *vfs, const char *path, int size, char *out) {
  (void)vfs;
  sqlite3_snprintf(size, out, "%s", path);
  return SQLITE_OK;
}

/* SQLite draws once in a process's life, so that nothing may hang on it. */
static int randomness(sqlite3_vfs *vfs, int size, char *out) {
  (void)vfs;
  memset(out, 4, (size_t)size);
  return size;
}

static int pause_for(sqlite3_vfs *vfs, int microseconds) {
  (void)vfs;
  return microseconds;
}

static int what_time(sqlite3_vfs *vfs, double *out) {
  (void)vfs;
  *out = 2460000.5;
  return SQLITE_OK;
}

static int last_error(sqlite3_vfs *vfs, int size, char *out) {
  (void)vfs, (void)size, (void)out;
  return 0;
}

void sim_disk_register_sqlite(void) {
  static sqlite3_vfs vfs = {.iVersion = 1,
                            .szOsFile = sizeof(struct file),
                            .mxPathname = 120,
                            .zName = "sim",
                            .xOpen = open_file,
                            .xDelete = delete_file,
                            .xAccess = is_there,
                            .xFullPathname = whole_path,
                            .xRandomness = randomness,
                            .xSleep = pause_for,
                            .xCurrentTime = what_time,
                            .xGetLastError = last_error};
  if (sqlite3_vfs_register(&vfs, 1) != SQLITE_OK)
    abort();
  sqlite3_randomness(0, NULL);
}
