#include "node/recordings/spike_times.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SECONDS_CAP (14 * 86400.0)

int nx_spike_times_init(struct nx_spike_times *spikes, size_t n_units, struct nx_error *err) {
  memset(spikes, 0, sizeof *spikes);
  spikes->times = calloc(n_units + 1, sizeof *spikes->times);
  spikes->counts = calloc(n_units + 1, sizeof *spikes->counts);
  if (!spikes->times || !spikes->counts)
    return nx_fail(err, NX_E_NOMEM, "spikes: out of memory");
  spikes->n_units = n_units;
  return 0;
}

int nx_spike_times_reserve(struct nx_spike_times *spikes, size_t unit, size_t n,
                           struct nx_error *err) {
  if (n > NX_SPIKES_CAP || (spikes->total += n) > NX_SPIKES_CAP)
    return nx_fail(err, NX_E_LIMIT, "more than %llu spikes: cut the file into parts",
                   (unsigned long long)NX_SPIKES_CAP);
  spikes->times[unit] = calloc(n + 1, sizeof **spikes->times);
  if (!spikes->times[unit])
    return nx_fail(err, NX_E_NOMEM, "spikes: out of memory");
  spikes->counts[unit] = n;
  return 0;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int nx_spike_times_lay_out(struct nx_spike_times *spikes, double start, double end,
                           struct nx_error *err) {
  double first = INFINITY, last = -INFINITY;
  for (size_t u = 0; u < spikes->n_units; u++) {
    size_t n = spikes->counts[u];
    for (size_t i = 0; i < n; i++)
      if (!isfinite(spikes->times[u][i]))
        return nx_fail(err, NX_E_FORMAT, "unit %zu has a spike at no time: take it out", u + 1);
    if (!n)
      continue;
    qsort(spikes->times[u], n, sizeof **spikes->times, by_value);
    first = fmin(first, spikes->times[u][0]);
    last = fmax(last, spikes->times[u][n - 1]);
  }
  if (isnan(start))
    start = first;
  if (isnan(end))
    end = last;
  if (!(end >= start && end - start < SECONDS_CAP))
    return nx_fail(err, NX_E_FORMAT, "spike times from %g to %g: write them in seconds", start,
                   end);
  spikes->start_s = start;
  spikes->n_bins = (uint64_t)fmax(1, ceil((end - start) * NX_SPIKE_BIN_HZ + 1e-9));
  for (size_t u = 0; u < spikes->n_units; u++)
    for (size_t i = 0; i < spikes->counts[u]; i++)
      spikes->times[u][i] -= start;
  return 0;
}

static double bin_of(double seconds) {
  return floor(seconds * NX_SPIKE_BIN_HZ);
}

void nx_spike_times_read(const struct nx_spike_times *spikes, size_t unit, uint64_t first, size_t n,
                         float *out) {
  const double *times = spikes->times[unit];
  size_t low = 0, high = spikes->counts[unit];
  memset(out, 0, n * sizeof *out);
  while (low < high) { /* the first spike in bin `first` or later */
    size_t middle = low + (high - low) / 2;
    if (bin_of(times[middle]) < (double)first)
      low = middle + 1;
    else
      high = middle;
  }
  for (; low < spikes->counts[unit]; low++) {
    double bin = bin_of(times[low]) - (double)first;
    if (bin >= (double)n)
      break;
    out[(size_t)bin] += 1;
  }
}

void nx_spike_times_finish(struct nx_spike_times *spikes) {
  for (size_t u = 0; spikes->times && u < spikes->n_units; u++)
    free(spikes->times[u]);
  free(spikes->times);
  free(spikes->counts);
  memset(spikes, 0, sizeof *spikes);
}
