/* libFuzzer: any bytes as a recording, opened part by part and read at its end. One program for
 * each reader (FUZZ_NAME is what the file is called); behind "\n--beside--\n" follows the file that
 * a header or the reader asks for: samples, markers, a mask, a sidecar. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/size.h"
#include "node/recordings/format.h"
#ifdef NEUROX_HDF5
#include "node/recordings/hdf5_format.h"
#endif

#ifndef FUZZ_NAME
#define FUZZ_NAME "recording"
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char mark[] = "\n--beside--\n";

static int memory_file(struct nx_bytes bytes) {
  int fd = memfd_create("fuzz", MFD_CLOEXEC);
  if (fd >= 0 && write(fd, bytes.data, bytes.size) != (ssize_t)bytes.size) {
    close(fd);
    fd = -1;
  }
  return fd;
}

static int beside(void *context, const char *name, int *fd_out, struct nx_error *err) {
  const struct nx_bytes *bytes = context;
  (void)name;
  if (!bytes->data)
    return nx_fail(err, NX_E_NOT_FOUND, "nothing beside it");
  *fd_out = memory_file(*bytes);
  return *fd_out >= 0 ? 0 : nx_fail(err, NX_E_IO, "no memory file");
}

static void read_all(struct nx_recording *recording) {
  static float out[4096];
  const struct nx_recording_info *info = nx_recording_info(recording);
  for (uint32_t c = 0; c < info->n_channels; c++) {
    size_t n = (size_t)NX_MIN(info->channels[c].n_samples, NX_ARRAY_LENGTH(out));
    nx_recording_read(recording, &c, 1, info->channels[c].n_samples - n, n, out, NULL);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct nx_bytes whole = nx_bytes(data, size), other = {0};
  const uint8_t *at = memmem(data, size, mark, sizeof mark - 1);
#ifdef NEUROX_HDF5
  static bool added;
  if (!added)
    nx_recording_add_hdf5();
  added = true;
#endif
  if (at) {
    whole.size = (size_t)(at - data);
    other = nx_bytes(at + sizeof mark - 1, size - whole.size - (sizeof mark - 1));
  }
  uint32_t n_parts = 1;
  for (uint32_t part = 0; part < NX_MIN(n_parts, 3U); part++) {
    struct nx_recording *recording = NULL;
    int fd = memory_file(whole);
    if (fd < 0 || nx_recording_open_fd(FUZZ_NAME, part, fd, beside, &other, &recording, NULL) < 0)
      return 0;
    n_parts = nx_recording_info(recording)->n_parts;
    read_all(recording);
    nx_recording_close(recording);
  }
  return 0;
}
