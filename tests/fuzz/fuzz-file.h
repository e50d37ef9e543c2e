/* For parsers that take a path: the bytes as a file in memory. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Fills path (of 64 bytes); close the descriptor it returns. */
static inline int fuzz_file(const void *data, size_t size, char path[64]) {
  int fd = memfd_create("fuzz", MFD_CLOEXEC);
  if (fd < 0 || write(fd, data, size) != (ssize_t)size)
    abort();
  snprintf(path, 64, "/proc/self/fd/%d", fd);
  return fd;
}
