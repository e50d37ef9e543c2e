#include <stdlib.h>

#include "common/cleanup.h"
#include "common/size.h"
#include "node/dataset/preprocess.h"
#include "node/dataset/quality.h"

#define SECONDS 600
#define VALUES_CAP ((size_t)1 << 26)
#define CHUNK 16384 /* samples a read */
#define HIGH_PASS_HZ 0.5

static bool is_brain(enum nx_channel_type type) {
  return type == NX_CHANNEL_EEG || type == NX_CHANNEL_IEEG || type == NX_CHANNEL_MEG_MAG ||
         type == NX_CHANNEL_MEG_GRAD;
}

static size_t pick(const struct nx_recording_info *info, uint32_t *picks) {
  size_t n = 0;
  for (size_t i = 0; i < info->n_channels; i++) {
    const struct nx_channel *channel = &info->channels[i], *first = &info->channels[picks[0]];
    if (is_brain(channel->type) &&
        (n == 0 || (channel->type == first->type && channel->rate_hz == first->rate_hz)))
      picks[n++] = (uint32_t)i;
  }
  return n;
}

static int read_all(struct nx_recording *recording, const uint32_t *picks, size_t n_channels,
                    size_t n, double *x, struct nx_error *err) {
  _cleanup_free_ float *chunk = reallocarray(NULL, n_channels * CHUNK, sizeof *chunk);
  if (!chunk)
    return nx_fail(err, NX_E_NOMEM, "quality: out of memory");
  for (size_t first = 0, now; first < n; first += now) {
    now = NX_MIN((size_t)CHUNK, n - first);
    int r = nx_recording_read(recording, picks, n_channels, first, now, chunk, err);
    if (r < 0)
      return r;
    for (size_t c = 0; c < n_channels; c++)
      for (size_t i = 0; i < now; i++)
        x[c * n + first + i] = (double)chunk[c * now + i];
  }
  return 0;
}

int nx_quality_of_recording(struct nx_recording *recording, uint32_t *picks_out,
                            struct nx_channel_quality *quality_out, size_t *n_out,
                            struct nx_error *err) {
  const struct nx_recording_info *info = nx_recording_info(recording);
  picks_out[0] = 0;
  size_t n_channels = *n_out = pick(info, picks_out);
  if (!n_channels)
    return 0;
  double rate = info->channels[picks_out[0]].rate_hz;
  double most = NX_MIN(SECONDS * rate, (double)(VALUES_CAP / n_channels));
  size_t n = (size_t)NX_MIN((double)info->channels[picks_out[0]].n_samples, most);
  _cleanup_free_ double *x = reallocarray(NULL, n_channels * n + 1, sizeof *x);
  struct nx_sos high_pass;
  if (!x)
    return nx_fail(err, NX_E_NOMEM, "quality: out of memory");
  int r = read_all(recording, picks_out, n_channels, n, x, err);
  if (!r && rate > 4 * HIGH_PASS_HZ)
    r = nx_filter_butterworth4(NX_FILTER_HIGH_PASS, HIGH_PASS_HZ, 0, rate, &high_pass, err);
  if (!r && rate > 4 * HIGH_PASS_HZ)
    r = nx_filter_zero_phase_all(&high_pass, 1, x, n_channels, n, err);
  return r < 0 ? r : nx_quality(x, n_channels, n, rate, quality_out, err);
}
