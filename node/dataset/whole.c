/* What preprocess.h says of whole recordings, by way of a stream. */
#include <string.h>

#include "common/size.h"
#include "node/dataset/stream.h"

#define CHUNK ((size_t)16384) /* samples a push */

/* Takes what came out to out[c * out_stride + done]. In place, out follows behind x. */
static int run(struct nx_stream *stream, const struct nx_stream_spec *spec, const double *x,
               size_t n, double *out, size_t out_stride, struct nx_error *err) {
  size_t done = 0, first = 0, m;
  const double *y;
  int r;
  do {
    size_t now = NX_MIN(CHUNK, n - first);
    r = nx_stream_push(stream, x + first, n, now, first + now == n, &y, &m, err);
    first += now;
    for (size_t c = 0; !r && m && c < spec->n_channels; c++)
      memcpy(out + c * out_stride + done, y + c * m, m * sizeof *y);
    done += m;
  } while (!r && first < n);
  return r;
}

int nx_filter_zero_phase_all(const struct nx_sos *stages, size_t n_stages, double *x,
                             size_t n_channels, size_t n, struct nx_error *err) {
  struct nx_stream_spec spec = {
      .n_channels = n_channels, .n_samples = n, .n_stages = n_stages, .up = 1, .down = 1};
  _cleanup_(nx_stream_destroyp) struct nx_stream *stream = NULL;
  for (size_t k = 0; k < NX_MIN(n_stages, (size_t)NX_STREAM_STAGES); k++)
    spec.stages[k] = stages[k];
  int r = nx_stream_new(&spec, &stream, err);
  return r < 0 ? r : run(stream, &spec, x, n, x, n, err);
}

int nx_filter_zero_phase(const struct nx_sos *sos, double *x, size_t n, struct nx_error *err) {
  return nx_filter_zero_phase_all(sos, 1, x, 1, n, err);
}

int nx_resample_all(const double *x, size_t n_channels, size_t n, size_t up, size_t down,
                    double *out, struct nx_error *err) {
  const struct nx_stream_spec spec = {
      .n_channels = n_channels, .n_samples = n, .up = up, .down = down};
  _cleanup_(nx_stream_destroyp) struct nx_stream *stream = NULL;
  int r = nx_stream_new(&spec, &stream, err);
  return r < 0 ? r : run(stream, &spec, x, n, out, nx_resample_length(n, up, down), err);
}

int nx_resample(const double *x, size_t n, size_t up, size_t down, double *out,
                struct nx_error *err) {
  return nx_resample_all(x, 1, n, up, down, out, err);
}
