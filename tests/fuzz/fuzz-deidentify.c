/* libFuzzer: any bytes as an EDF, BDF or BrainVision file (first byte odd: a .vhdr, its markers
 * behind a NUL) of which a clean copy is made. What is copied of an EDF has the samples' size, and
 * a name that the header had is not in the copy's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "node/recordings/deidentify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(const char *path, const uint8_t *data, size_t size) {
  FILE *out = fopen(path, "w");
  if (!out || fwrite(data, 1, size, out) != size || fclose(out))
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char in[128], out[128], part[128];
  struct nx_deidentify_options options = {0};
  struct nx_deidentify_counts counts;
  static const char *const parts[] = {"vhdr", "eeg", "vmrk"};
  if (size < 2)
    return 0;
  bool vision = data[0] & 1;
  options.annotations = (enum nx_annotation_rule)(data[0] >> 1 & 1 ? 2 : 0);
  snprintf(part, sizeof part, "/dev/shm/nx-fuzz-clean-%ld", (long)getpid());
  snprintf(in, sizeof in, "%s.%s", part, vision ? "vhdr" : "edf");
  snprintf(out, sizeof out, "%s-out.%s", part, vision ? "vhdr" : "edf");
  const uint8_t *stop = vision ? memchr(data + 1, 0, size - 1) : NULL;
  size_t n = stop ? (size_t)(stop - data) - 1 : size - 1;
  put(in, data + 1, n);
  for (int i = 1; vision && i < 3; i++) {
    snprintf(in, sizeof in, "%s.%s", part, parts[i]);
    put(in, stop ? stop + 1 : data, stop ? size - n - 2 : 0);
  }
  snprintf(in, sizeof in, "%s.%s", part, vision ? "vhdr" : "edf");
  if (nx_deidentify(in, out, &options, &counts, NULL) == 0 && !vision) {
    struct nx_buffer copy = {0};
    static const char clean[] = "X X X X ";
    if (nx_file_read(out, 1 << 26, &copy, NULL) == 0 &&
        (copy.size < 256 || memcmp(copy.data + 8, clean, sizeof clean - 1) != 0))
      abort();
    nx_buffer_finish(&copy);
  }
  unlink(out);
  for (int i = 0; i < 3; i++) {
    snprintf(out, sizeof out, "%s-out.%s", part, parts[i]);
    unlink(out);
  }
  return 0;
}
