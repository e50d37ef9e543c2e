/* MAT 7.3: MATLAB's matrices as HDF5 datasets, sides in reverse order. What a recording in it is,
 * its sidecar says, as for MAT 5 (mat_arrays.h): variables are matrices or cells of matrices (one
 * part each) or of spike times. Without one, the largest matrix. EEGLAB's 7.3 files keep their
 * fields in a group EEG or at the top. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "node/recordings/hdf5_series.h"
#include "node/recordings/sidecar.h"

#define LEAVES 4096

/* Matrices by the object they are: cells refer to datasets that have no name of their own. */
struct leaves {
  size_t n;
  hid_t *data; /* [LEAVES], open */
};

static void finish(struct leaves *leaves) {
  for (size_t i = 0; i < leaves->n; i++)
    H5Dclose(leaves->data[i]);
  free(leaves->data);
}

static bool is_class(hid_t data, const char *word) {
  char class[NX_HDF5_TEXT];
  nx_hdf5_string_attribute(data, "MATLAB_class", class);
  return !strcmp(class, word);
}

static bool is_empty(hid_t data) {
  return nx_hdf5_number_attribute(data, "MATLAB_empty", 0) != 0;
}

/* Takes data. */
static int add_leaf(struct leaves *leaves, hid_t data, int depth, struct nx_error *err);

static int add_cells(struct leaves *leaves, hid_t cells, int depth, struct nx_error *err) {
  hsize_t sides[8] = {0};
  int rank = nx_hdf5_sides(cells, sides), r = 0;
  hsize_t n = rank > 0 ? 1 : 0;
  for (int i = 0; i < rank; i++)
    n = sides[i] <= LEAVES ? n * sides[i] : LEAVES + 1;
  hid_t type = H5Dget_type(cells);
  bool references = type >= 0 && H5Tequal(type, H5T_STD_REF_OBJ) > 0;
  if (type >= 0)
    H5Tclose(type);
  if (n < 1 || n > LEAVES || !references || depth > 8)
    return nx_fail(err, NX_E_LIMIT, "cells: 1 to %d are read, at most 8 deep", LEAVES);
  _cleanup_free_ hobj_ref_t *at = calloc(n, sizeof *at);
  if (!at)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  if (H5Dread(cells, H5T_STD_REF_OBJ, H5S_ALL, H5S_ALL, H5P_DEFAULT, at) < 0)
    return nx_fail(err, NX_E_FORMAT, "cells cannot be read: copy the file again");
  for (hsize_t i = 0; !r && i < n; i++) {
    hid_t data = H5Rdereference2(cells, H5P_DEFAULT, H5R_OBJECT, &at[i]);
    if (data >= 0)
      r = add_leaf(leaves, data, depth + 1, err);
  }
  return r;
}

static int add_leaf(struct leaves *leaves, hid_t data, int depth, struct nx_error *err) {
  int r = 0;
  if (H5Iget_type(data) != H5I_DATASET || is_empty(data)) {
    H5Oclose(data);
    return 0;
  }
  if (is_class(data, "cell")) {
    r = add_cells(leaves, data, depth, err);
    H5Dclose(data);
    return r;
  }
  if (leaves->n < LEAVES)
    leaves->data[leaves->n++] = data;
  else
    H5Dclose(data);
  return 0;
}

static int collect(hid_t file, const char *name, struct leaves *leaves, struct nx_error *err) {
  hid_t data = nx_hdf5_has(file, name) ? H5Oopen(file, name, H5P_DEFAULT) : -1;
  if (data < 0)
    return nx_fail(err, NX_E_FORMAT, "has no variable %s, its sidecar names it", name);
  return add_leaf(leaves, data, 0, err);
}

/* ---- which ----------------------------------------------------------------------------------- */

struct largest {
  char name[64];
  hsize_t size;
};

static herr_t compare(hid_t file, const char *name, const H5L_info_t *info, void *context) {
  struct largest *largest = context;
  hsize_t sides[8] = {0};
  if (info->type != H5L_TYPE_HARD || name[0] == '#' || strlen(name) >= sizeof largest->name)
    return 0;
  hid_t data = H5Oopen(file, name, H5P_DEFAULT);
  if (data >= 0 && H5Iget_type(data) == H5I_DATASET && !is_class(data, "cell") &&
      !is_class(data, "char") && !is_empty(data) && nx_hdf5_sides(data, sides) == 2 &&
      sides[0] * sides[1] > largest->size) {
    largest->size = sides[0] * sides[1];
    strcpy(largest->name, name);
  }
  if (data >= 0)
    H5Oclose(data);
  return 0;
}

static double rate_of(hid_t file, const struct nx_sidecar *sidecar) {
  static const char *const names[] = {"fs", "Fs", "srate", "sfreq", "rate", "EEG/srate"};
  double rate = sidecar->rate_hz;
  for (size_t i = 0; i < NX_ARRAY_LENGTH(names) && !(rate > 0); i++)
    rate = nx_hdf5_number(file, names[i], 0);
  return rate > 0 && isfinite(rate) ? rate : 1;
}

/* Spike times are vectors that never go back. */
static bool is_times(hid_t data) {
  hsize_t sides[8] = {0};
  double two[2];
  int rank = nx_hdf5_sides(data, sides);
  hsize_t n = rank == 2 ? sides[0] * sides[1] : rank == 1 ? sides[0] : 0;
  if (rank == 2 && sides[0] != 1 && sides[1] != 1)
    return false;
  if (n < 2 || n > NX_SPIKES_CAP)
    return n == 1;
  _cleanup_free_ double *x = calloc(n, sizeof *x);
  if (!x || H5Dread(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, x) < 0)
    return false;
  two[0] = -INFINITY;
  for (hsize_t i = 0; i < n; i++, two[0] = two[1])
    if (!((two[1] = x[i]) >= two[0]))
      return false;
  return true;
}

static int take_times(struct nx_recording *recording, const struct leaves *leaves,
                      struct nx_error *err) {
  struct nx_hdf5 *h = recording->state;
  int r = nx_spike_times_init(&h->spikes, leaves->n, err);
  for (size_t u = 0; !r && u < leaves->n; u++) {
    hsize_t sides[8] = {0};
    int rank = nx_hdf5_sides(leaves->data[u], sides);
    size_t n = (size_t)(rank == 2 ? sides[0] * sides[1] : sides[0]);
    r = nx_spike_times_reserve(&h->spikes, u, n, err);
    if (!r && H5Dread(leaves->data[u], H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT,
                      h->spikes.times[u]) < 0)
      r = nx_fail(err, NX_E_FORMAT, "spike times cannot be read: copy the file again");
  }
  if (!r)
    r = nx_spike_times_lay_out(&h->spikes, NAN, NAN, err);
  return r < 0 ? r : nx_hdf5_add_units(recording, err);
}

static bool all_times(const struct leaves *leaves, const struct nx_sidecar *sidecar) {
  bool times = sidecar->has_type ? sidecar->type == NX_CHANNEL_SPIKES : true;
  for (size_t i = 0; times && i < leaves->n; i++)
    times = is_times(leaves->data[i]);
  return times;
}

/* ---- a part ---------------------------------------------------------------------------------- */

/* MATLAB's rows are the last side here: the longer of both is time. */
static int add_matrix(struct nx_recording *recording, hid_t data, double rate, uint64_t as_long_as,
                      struct nx_hdf5_series **series_out, struct nx_error *err) {
  hsize_t sides[8] = {0};
  int rank = nx_hdf5_sides(data, sides);
  bool transposed = rank == 2 && sides[1] >= sides[0];
  if (rank == 2 && as_long_as && sides[0] == as_long_as)
    transposed = false;
  if (rank == 2 && as_long_as && sides[1] == as_long_as)
    transposed = true;
  return nx_hdf5_add_series(recording, data, "", transposed, rate, series_out, err);
}

static void describe(struct nx_recording *recording, const struct nx_sidecar *sidecar) {
  for (size_t c = 0; c < recording->info.n_channels; c++) {
    struct nx_channel *channel = &recording->channels[c];
    snprintf(channel->unit, sizeof channel->unit, "%s", sidecar->unit);
    channel->type = sidecar->has_type ? sidecar->type : NX_CHANNEL_MISC;
  }
}

static int add_behaviour(struct nx_recording *recording, const struct nx_sidecar *sidecar,
                         size_t n_parts, double rate, struct nx_error *err) {
  struct nx_hdf5 *h = recording->state;
  struct leaves leaves = {.data = calloc(LEAVES, sizeof *leaves.data)};
  size_t per = sidecar->n_data ? NX_MAX(sidecar->n_behaviour / sidecar->n_data, (size_t)1) : 1;
  uint64_t n = h->series[0].n_samples;
  size_t named = 0;
  int r = leaves.data ? 0 : nx_fail(err, NX_E_NOMEM, "out of memory");
  if (!r && sidecar->behaviour_file[0])
    r = nx_fail(err, NX_E_UNSUPPORTED, "behaviour of a MAT 7.3 file must be in that file");
  for (size_t i = 0; !r && i < sidecar->n_behaviour; i++)
    r = collect(h->file, sidecar->behaviour[i], &leaves, err);
  if (!r && leaves.n != per * n_parts)
    r = nx_fail(err, NX_E_FORMAT, "has %zu parts of samples, but %zu of behaviour", n_parts,
                leaves.n);
  for (size_t k = 0; !r && k < per; k++) {
    struct nx_hdf5_series *series;
    r = add_matrix(recording, leaves.data[recording->part * per + k], rate, n, &series, err);
    if (!r && series->n_samples != n)
      r = nx_fail(err, NX_E_FORMAT,
                  "has %llu samples, its behaviour %llu: they must be of one "
                  "length",
                  (unsigned long long)n, (unsigned long long)series->n_samples);
    for (size_t c = 0; !r && c < series->n_channels; c++, named++) {
      struct nx_channel *channel = &recording->channels[series->first_channel + c];
      channel->type = NX_CHANNEL_BEHAVIOUR;
      snprintf(channel->unit, sizeof channel->unit, "%s", sidecar->behaviour_unit);
      if (named < sidecar->n_names)
        nx_text_clean(sidecar->names[named], strlen(sidecar->names[named]), channel->name,
                      sizeof channel->name);
      else
        snprintf(channel->name, sizeof channel->name, "behaviour %zu", named + 1);
    }
  }
  finish(&leaves);
  return r;
}

static int open_part(struct nx_recording *recording, const struct nx_sidecar *sidecar,
                     const struct leaves *leaves, bool eeglab, struct nx_error *err) {
  struct nx_hdf5 *h = recording->state;
  struct nx_hdf5_series *series;
  double rate = rate_of(h->file, sidecar);
  uint64_t points = eeglab ? (uint64_t)fmax(nx_hdf5_number(h->file, "EEG/pnts", 0),
                                            nx_hdf5_number(h->file, "pnts", 0))
                           : 0;
  recording->info.n_parts = (uint32_t)leaves->n;
  if (recording->part >= leaves->n)
    return 0; /* recording.c says so */
  int r = add_matrix(recording, leaves->data[recording->part], rate, points, &series, err);
  if (r < 0)
    return r;
  recording->info.duration_s = (double)series->n_samples / rate;
  describe(recording, sidecar);
  for (size_t c = 0; eeglab && c < series->n_channels; c++) {
    recording->channels[c].type = NX_CHANNEL_EEG;
    strcpy(recording->channels[c].unit, "uV");
  }
  if (sidecar->n_behaviour)
    r = add_behaviour(recording, sidecar, leaves->n, rate, err);
  return r < 0 ? r : nx_recording_unique_names(recording, err);
}

static int choose(struct nx_recording *recording, const struct nx_sidecar *sidecar, bool *eeglab,
                  struct leaves *leaves, struct nx_error *err) {
  struct nx_hdf5 *h = recording->state;
  struct largest largest = {"", 1};
  int r = 0;
  for (size_t i = 0; !r && i < sidecar->n_data; i++)
    r = collect(h->file, sidecar->data[i], leaves, err);
  if (r < 0 || sidecar->n_data)
    return r;
  *eeglab = nx_hdf5_has(h->file, "EEG/data") || nx_hdf5_has(h->file, "nbchan");
  if (*eeglab)
    return collect(h->file, nx_hdf5_has(h->file, "EEG/data") ? "EEG/data" : "data", leaves, err);
  H5Literate(h->file, H5_INDEX_NAME, H5_ITER_INC, NULL, compare, &largest);
  if (!largest.name[0])
    return nx_fail(err, NX_E_UNSUPPORTED,
                   "holds no matrix of real numbers: name its variable in a sidecar");
  return collect(h->file, largest.name, leaves, err);
}

int nx_hdf5_open_mat(struct nx_recording *recording, struct nx_error *err) {
  struct nx_sidecar *sidecar = calloc(1, sizeof *sidecar);
  struct leaves leaves = {.data = calloc(LEAVES, sizeof *leaves.data)};
  bool eeglab = false;
  int r = sidecar && leaves.data ? 0 : nx_fail(err, NX_E_NOMEM, "out of memory");
  recording->info.format = "MAT 7.3";
  if (!r)
    r = nx_sidecar_read(recording, sidecar, err);
  if (!r)
    r = choose(recording, sidecar, &eeglab, &leaves, err);
  if (!r && !leaves.n)
    r = nx_fail(err, NX_E_UNSUPPORTED, "its variable is empty");
  if (!r && sidecar->n_data && leaves.n > 1 && all_times(&leaves, sidecar))
    r = take_times(recording, &leaves, err);
  else if (!r)
    r = open_part(recording, sidecar, &leaves, eeglab, err);
  finish(&leaves);
  free(sidecar);
  return r;
}
