/* libFuzzer: any bytes as an entry of the cache of preprocessed recordings. First byte 0: as the
 * file itself, seal and all; 1: as what a sealed entry holds, a recording of one modality; 2: as a
 * signal of many. What is taken must be whole: every array is read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/size.h"
#include "node/dataset/derived.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64];
static struct nx_derived derived;
static volatile double sink;

static void clear(void) {
  nx_cache_empty(folder);
  char path[128];
  snprintf(path, sizeof path, "%s/people", folder);
  unlink(path);
  rmdir(folder);
}

static void begin(void) {
  const struct nx_hash nobody = {0};
  if (derived.cache)
    return;
  snprintf(folder, sizeof folder, "/dev/shm/nx-fuzz-cache-%ld", (long)getpid());
  if (nx_cache_open(folder, (uint64_t)64 << 20, NULL, &nobody, &derived.cache, NULL) < 0)
    abort();
  derived.path = "/dev/shm/no-such-recording.edf";
  atexit(clear);
}

static void put_file(const uint8_t *data, size_t size) {
  char path[192], hex[NX_HASH_HEX_SIZE];
  nx_hash_hex(&derived.key, hex);
  snprintf(path, sizeof path, "%s/%s", folder, hex);
  FILE *out = fopen(path, "w");
  if (!out || fwrite(data, 1, size, out) != size || fclose(out))
    abort();
}

static void look(const void *values, size_t n) {
  const uint8_t *bytes = values;
  for (size_t i = 0; i < n; i++)
    sink += bytes[i];
}

static void look_at_recording(void) {
  struct nx_loaded loaded;
  if (!nx_derived_find(&derived, &loaded))
    return;
  look(loaded.x, loaded.n_channels * loaded.n_samples * sizeof *loaded.x);
  look(loaded.scale, loaded.n_channels * sizeof *loaded.scale);
  look(loaded.bad_window, loaded.bad_window ? loaded.n_windows * sizeof *loaded.bad_window : 0);
  nx_loaded_finish(&loaded);
}

static void look_at_signal(void) {
  struct nx_loaded_signal signal;
  if (!nx_derived_find_signal(&derived, &signal))
    return;
  for (size_t k = 0; k < signal.n_streams; k++) {
    const struct nx_loaded_stream *stream = &signal.streams[k];
    look(stream->x, signal.n_channels * stream->n_samples * sizeof *stream->x);
    look(stream->stats, signal.n_channels * NX_SIGNAL_STATS * sizeof *stream->stats);
    look(stream->bad_window,
         stream->bad_window ? stream->n_windows * sizeof *stream->bad_window : 0);
  }
  look(signal.positions, signal.n_channels * 3 * sizeof *signal.positions);
  look(signal.placed, signal.n_channels * sizeof *signal.placed);
  look(signal.behaviour,
       signal.n_behaviour * signal.n_behaviour_samples * sizeof *signal.behaviour);
  nx_loaded_signal_finish(&signal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  begin();
  if (size < 1)
    return 0;
  if (data[0] % 3 == 0)
    put_file(data + 1, size - 1);
  else if (!nx_cache_put(derived.cache, &derived.key, nx_bytes(data + 1, size - 1)))
    return 0;
  if (data[0] % 3 < 2)
    look_at_recording();
  else
    look_at_signal();
  return 0;
}
