/* HDF5: SNIRF 1.1, NWB 2 and MAT 7.3, opened, read and closed alike. */
#include "node/recordings/hdf5_format.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "node/recordings/hdf5_series.h"
#include "node/recordings/identity.h"

#define CHUNK ((size_t)1 << 18) /* values a read */

static const char mat_mark[] = "MATLAB 7.3 MAT-file";

static bool probe_hdf5(const char *path, const uint8_t *head, size_t size) {
  (void)path;
  return size >= sizeof mat_mark &&
         (!memcmp(head, "\x89HDF\r\n\x1a\n", 8) || !memcmp(head, mat_mark, sizeof mat_mark - 1));
}

static int open_hdf5(struct nx_recording *recording, struct nx_error *err) {
  uint8_t head[sizeof mat_mark];
  struct nx_hdf5 *h = calloc(1, sizeof *h);
  if (!h)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  h->file = -1;
  recording->state = h;
  int r = nx_recording_pread(recording, 0, head, sizeof head, err);
  if (!r)
    r = nx_hdf5_open(recording, &h->file, err);
  if (r < 0)
    return r;
  if (!memcmp(head, mat_mark, sizeof mat_mark - 1))
    return nx_hdf5_open_mat(recording, err);
  if (nx_hdf5_has(h->file, "nirs") || nx_hdf5_has(h->file, "nirs1"))
    return nx_hdf5_open_snirf(recording, err);
  if (H5Aexists(h->file, "nwb_version") > 0)
    return nx_hdf5_open_nwb(recording, err);
  return nx_fail(err, NX_E_UNSUPPORTED,
                 "HDF5, but neither SNIRF, NWB nor MAT 7.3: export it as one of them");
}

/* ---- reading --------------------------------------------------------------------------------- */

static int need_chunk(struct nx_hdf5 *h, size_t values, struct nx_error *err) {
  if (values <= h->chunk_values)
    return 0;
  free(h->chunk);
  h->chunk = reallocarray(NULL, values, sizeof *h->chunk);
  h->chunk_values = h->chunk ? values : 0;
  return h->chunk ? 0 : nx_fail(err, NX_E_NOMEM, "out of memory");
}

/* Rows from .. from + n of one column block [first, first + width) → chunk. */
static int read_block(struct nx_hdf5 *h, const struct nx_hdf5_series *s, uint64_t from, size_t n,
                      size_t first, size_t width, struct nx_error *err) {
  hsize_t at[2] = {from, first}, count[2] = {n, width};
  if (s->transposed) {
    at[0] = first;
    at[1] = from;
    count[0] = width;
    count[1] = n;
  }
  int rank = s->vector ? 1 : 2;
  hid_t space = H5Dget_space(s->data), memory = H5Screate_simple(rank, count, NULL);
  bool good = space >= 0 && memory >= 0 &&
              H5Sselect_hyperslab(space, H5S_SELECT_SET, at, NULL, count, NULL) >= 0 &&
              H5Dread(s->data, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, h->chunk) >= 0;
  if (space >= 0)
    H5Sclose(space);
  if (memory >= 0)
    H5Sclose(memory);
  return good ? 0
              : nx_fail(err, NX_E_FORMAT, "samples %llu on cannot be unpacked: copy the file again",
                        (unsigned long long)from);
}

/* Samples first .. of the wanted columns, out[n_wanted][n] with stride n; outside of the dataset
 * is NaN. low .. high: the block of columns that holds them all. */
static int read_series(struct nx_hdf5 *h, const struct nx_hdf5_series *s, const uint32_t *wanted,
                       size_t n_wanted, uint64_t first, size_t n, float *out,
                       struct nx_error *err) {
  size_t low = SIZE_MAX, high = 0;
  for (size_t c = 0; c < n_wanted; c++) {
    low = NX_MIN(low, wanted[c] - s->first_channel);
    high = NX_MAX(high, wanted[c] - s->first_channel + 1);
  }
  size_t width = high - low, most = NX_MAX(CHUNK / width, (size_t)1);
  for (size_t done = 0, now; done < n; done += now) {
    int64_t from = (int64_t)(first + done) + s->lead;
    now = NX_MIN(most, n - done);
    if (from < 0 && -from < (int64_t)now)
      now = (size_t)-from; /* the part before the dataset, apart */
    bool inside = from >= 0 && (uint64_t)from < s->n_samples;
    if (inside)
      now = (size_t)NX_MIN((uint64_t)now, s->n_samples - (uint64_t)from);
    int r = inside ? need_chunk(h, now * width, err) : 0;
    if (!r && inside)
      r = read_block(h, s, (uint64_t)from, now, low, width, err);
    if (r < 0)
      return r;
    for (size_t c = 0; c < n_wanted; c++) {
      size_t column = wanted[c] - s->first_channel - low;
      for (size_t i = 0; i < now; i++) {
        size_t at = s->transposed ? column * now + i : i * width + column;
        out[c * n + done + i] = inside ? (float)(s->gain * (double)h->chunk[at] + s->shift) : NAN;
      }
    }
  }
  return 0;
}

static const struct nx_hdf5_series *series_of(const struct nx_hdf5 *h, uint32_t channel) {
  for (size_t k = 0; k < h->n_series; k++)
    if (channel >= h->series[k].first_channel &&
        channel < h->series[k].first_channel + h->series[k].n_channels)
      return &h->series[k];
  return NULL;
}

static int read_hdf5(struct nx_recording *recording, const uint32_t *channels, size_t n_channels,
                     uint64_t first, size_t n, float *out, struct nx_error *err) {
  struct nx_hdf5 *h = recording->state;
  for (size_t c = 0, run; c < n_channels; c += run) {
    const struct nx_hdf5_series *series = series_of(h, channels[c]);
    run = 1;
    if (!series) {
      nx_spike_times_read(&h->spikes, channels[c], first, n, out + c * n);
      continue;
    }
    while (c + run < n_channels && series_of(h, channels[c + run]) == series)
      run++;
    int r = read_series(h, series, channels + c, run, first, n, out + c * n, err);
    if (r < 0)
      return r;
  }
  return 0;
}

static void close_hdf5(struct nx_recording *recording) {
  struct nx_hdf5 *h = recording->state;
  if (!h)
    return;
  for (size_t k = 0; k < h->n_series; k++)
    if (h->series[k].data >= 0)
      H5Dclose(h->series[k].data);
  if (h->file >= 0)
    H5Fclose(h->file);
  nx_spike_times_finish(&h->spikes);
  free(h->chunk);
  free(h);
}

static const struct nx_format format_hdf5 = {
    .name = "HDF5",
    .probe = probe_hdf5,
    .open = open_hdf5,
    .read = read_hdf5,
    .close = close_hdf5,
    .identify = nx_identify_hdf5,
};

void nx_recording_add_hdf5(void) {
  nx_recording_add_format(&format_hdf5);
}
