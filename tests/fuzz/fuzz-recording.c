/* libFuzzer: any bytes as a recording of any format, opened and read to the end. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/size.h"
#include "node/recordings/recording.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static float out[4096];
  char path[32];
  _cleanup_fd_ int fd = memfd_create("fuzz", MFD_CLOEXEC);
  if (fd < 0 || write(fd, data, size) != (ssize_t)size)
    return 0;
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  _cleanup_(nx_recording_closep) struct nx_recording *recording = NULL;
  if (nx_recording_open(path, &recording, NULL) < 0)
    return 0;
  const struct nx_recording_info *info = nx_recording_info(recording);
  for (uint32_t c = 0; c < info->n_channels; c++) {
    size_t n = (size_t)NX_MIN(info->channels[c].n_samples, NX_ARRAY_LENGTH(out));
    nx_recording_read(recording, &c, 1, info->channels[c].n_samples - n, n, out, NULL);
  }
  return 0;
}
