#include "tests/torture/torture.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* The program's definitions come before the C library's, for the libraries as well. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);

static enum torture_kind armed_kind;
static unsigned countdown;
static bool struck;
static long live;

void torture_arm(enum torture_kind kind, unsigned n) {
  armed_kind = kind;
  countdown = n;
  struck = false;
}

bool torture_disarm(void) {
  countdown = 0;
  return struck;
}

long torture_live(void) {
  return live;
}

static bool fails(enum torture_kind kind) {
  if (!countdown || armed_kind != kind || --countdown)
    return false;
  struck = true;
  errno = kind == TORTURE_MEMORY ? ENOMEM : ENOSPC;
  return true;
}

/* --- memory -------------------------------------------------------------------------------- */

static void *count(void *block) {
  live += block != NULL;
  return block;
}

void *malloc(size_t size) {
  return fails(TORTURE_MEMORY) ? NULL : count(__libc_malloc(size));
}

void *calloc(size_t n, size_t size) {
  return fails(TORTURE_MEMORY) ? NULL : count(__libc_calloc(n, size));
}

void *realloc(void *block, size_t size) {
  if (fails(TORTURE_MEMORY))
    return NULL;
  void *larger = __libc_realloc(block, size);
  live += (larger != NULL) - (block != NULL && (larger || !size));
  return larger;
}

void *aligned_alloc(size_t alignment, size_t size) {
  return fails(TORTURE_MEMORY) ? NULL : count(__libc_memalign(alignment, size));
}

int posix_memalign(void **out, size_t alignment, size_t size) {
  if (fails(TORTURE_MEMORY))
    return ENOMEM;
  *out = count(__libc_memalign(alignment, size));
  return *out ? 0 : ENOMEM;
}

void free(void *block) {
  live -= block != NULL;
  __libc_free(block);
}

/* --- files --------------------------------------------------------------------------------- */

#define REAL(type, name, parameters)                                                               \
  static type(*real) parameters;                                                                   \
  if (!real)                                                                                       \
  *(void **)(void *)&real = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size) {
  REAL(ssize_t, write, (int, const void *, size_t));
  return fails(TORTURE_WRITES) ? -1 : real(fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) {
  REAL(ssize_t, pwrite64, (int, const void *, size_t, off_t));
  return fails(TORTURE_WRITES) ? -1 : real(fd, data, size, at);
}

int fsync(int fd) {
  REAL(int, fsync, (int));
  return fails(TORTURE_WRITES) ? -1 : real(fd);
}

int fdatasync(int fd) {
  REAL(int, fdatasync, (int));
  return fails(TORTURE_WRITES) ? -1 : real(fd);
}

int ftruncate64(int fd, off_t size) {
  REAL(int, ftruncate64, (int, off_t));
  return fails(TORTURE_WRITES) ? -1 : real(fd, size);
}

int rename(const char *from, const char *to) {
  REAL(int, rename, (const char *, const char *));
  return fails(TORTURE_WRITES) ? -1 : real(from, to);
}

int link(const char *from, const char *to) {
  REAL(int, link, (const char *, const char *));
  return fails(TORTURE_WRITES) ? -1 : real(from, to);
}

int mkdir(const char *path, mode_t mode) {
  REAL(int, mkdir, (const char *, mode_t));
  return fails(TORTURE_WRITES) ? -1 : real(path, mode);
}

int open64(const char *path, int flags, ...) {
  REAL(int, open64, (const char *, int, ...));
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return flags & O_CREAT && fails(TORTURE_WRITES) ? -1 : real(path, flags, mode);
}
