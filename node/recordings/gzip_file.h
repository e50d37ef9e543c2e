/* Gzip file: bytes of a file that may be gzipped (RFC 1952, of several members, too), by their
 * place in what it unpacks to. Bounded memory whatever the file's size; sums are checked at the end
 * of a member. Reads with pread alone, so that others may read through the same descriptor. */
#pragma once

#include <zlib.h>

#include "node/recordings/format.h"

struct nx_gzip_file {
  int fd; /* its own; -1: closed */
  bool packed;
  z_stream stream;
  uint8_t *in;
  uint64_t offset; /* of the packed bytes behind those in `in` */
  uint64_t at;     /* of what comes next, unpacked */
  bool ended;
};

/* fd stays the caller's. NX_E_NOMEM, NX_E_IO. */
int nx_gzip_open(int fd, struct nx_gzip_file *out, struct nx_error *err);
/* Size bytes at `at`. Forward from where the last read ended costs what lies between; back, all
 * from the beginning. NX_E_FORMAT: it ends before, or is damaged. */
int nx_gzip_read(struct nx_gzip_file *file, uint64_t at, void *out, size_t size,
                 struct nx_error *err);
void nx_gzip_finish(struct nx_gzip_file *file); /* .fd = -1 is fine */
