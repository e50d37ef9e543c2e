#include "node/dataset/source.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"
#include "node/dataset/chain.h"
#include "node/dataset/clean.h"

#define CHUNK 8192                   /* samples a read */
#define KEPT_MOST ((size_t)16 << 20) /* values of a recording that are decoded once */

int nx_source_init(struct nx_source *source, struct nx_recording *recording, size_t channels,
                   struct nx_error *err) {
  *source = (struct nx_source){.recording = recording};
  source->picks = calloc(channels + 1, sizeof *source->picks);
  source->unit = calloc(channels + 1, sizeof *source->unit);
  source->from = calloc(channels + 1, sizeof *source->from);
  source->to = calloc(channels + 1, sizeof *source->to);
  return source->picks && source->unit && source->from && source->to
             ? 0
             : nx_fail(err, NX_E_NOMEM, "out of memory");
}

void nx_source_finish(struct nx_source *source) {
  free(source->picks);
  free(source->unit);
  free(source->from);
  free(source->to);
  free(source->weights);
  free(source->kept);
  memset(source, 0, sizeof *source);
}

void nx_source_drop(struct nx_source *source, size_t c) {
  size_t behind = --source->n - c;
  memmove(source->picks + c, source->picks + c + 1, behind * sizeof *source->picks);
  memmove(source->unit + c, source->unit + c + 1, behind * sizeof *source->unit);
}

/* ---- bad channels ---------------------------------------------------------------------------- */

static int weigh(struct nx_source *source, const double *from, const double *to,
                 struct nx_error *err) {
  source->weights = calloc(source->n_to * source->n_from + 1, sizeof *source->weights);
  return source->weights
             ? nx_clean_spline(from, source->n_from, to, source->n_to, source->weights, err)
             : nx_fail(err, NX_E_NOMEM, "interpolate: out of memory");
}

/* Which rows are made of which, and how. */
static int interpolate_bad(struct nx_source *source, const bool *bad,
                           bool (*place)(const void *context, size_t row, float out[3]),
                           const void *context, struct nx_error *err) {
  _cleanup_free_ double *from = calloc(3 * source->n + 1, sizeof *from),
                        *to = calloc(3 * source->n + 1, sizeof *to);
  if (!from || !to)
    return nx_fail(err, NX_E_NOMEM, "interpolate: out of memory");
  for (size_t c = 0; c < source->n; c++) {
    bool is_bad = bad[source->picks[c]];
    float at[3];
    if (!place || !place(context, c, at))
      continue;
    for (int i = 0; i < 3; i++)
      (is_bad ? to + 3 * source->n_to : from + 3 * source->n_from)[i] = (double)at[i];
    if (is_bad)
      source->to[source->n_to++] = c;
    else
      source->from[source->n_from++] = c;
  }
  return source->n_to ? weigh(source, from, to, err) : 0;
}

int nx_source_clean(struct nx_source *source, const struct nx_plan_cleaning *cleaning,
                    bool (*place)(const void *context, size_t row, float out[3]),
                    const void *context, size_t *n_left_out, struct nx_error *err) {
  float unused[3];
  size_t before = source->n;
  if (!cleaning || cleaning->bad_channels == NX_BAD_CHANNELS_KEEP)
    return 0;
  bool mend = cleaning->bad_channels == NX_BAD_CHANNELS_INTERPOLATE && place;
  size_t n = nx_recording_info(source->recording)->n_channels;
  _cleanup_free_ bool *bad = calloc(n + 1, sizeof *bad);
  int r = bad ? nx_clean_judge(source->recording, cleaning, bad, err)
              : nx_fail(err, NX_E_NOMEM, "quality: out of memory");
  for (size_t c = source->n; !r && c-- > 0;)
    if (bad[source->picks[c]] && !(mend && place(context, c, unused)))
      nx_source_drop(source, c);
  if (r < 0)
    return r;
  if (n_left_out)
    *n_left_out += before - source->n;
  if (!source->n)
    return nx_fail(err, NX_E_FORMAT, "every channel is bad: take the file out");
  return mend ? interpolate_bad(source, bad, place, context, err) : 0;
}

static bool is_made(const struct nx_source *source, size_t c) {
  for (size_t k = 0; k < source->n_to; k++)
    if (source->to[k] == c)
      return true;
  return false;
}

static void make_bad(const struct nx_source *source, double *x, size_t n) {
  for (size_t k = 0; k < source->n_to; k++) {
    double *row = x + source->to[k] * n;
    memset(row, 0, n * sizeof *row);
    for (size_t j = 0; j < source->n_from; j++) {
      double weight = source->weights[k * source->n_from + j];
      const double *other = x + source->from[j] * n;
      for (size_t i = 0; i < n; i++)
        row[i] += weight * other[i];
    }
  }
}

/* ---- flat channels --------------------------------------------------------------------------- */

/* What a channel showed so far. */
struct seen {
  float first;
  bool begun, moves, broken;
};

static void look(struct seen *seen, const float *x, size_t n) {
  if (!seen->begun)
    seen->first = x[0];
  seen->begun = true;
  for (size_t i = 0; i < n; i++) {
    seen->moves |= x[i] != seen->first;
    seen->broken |= !isfinite(x[i]);
  }
}

static bool makes_others(const struct nx_source *source, size_t c) {
  for (size_t j = 0; j < source->n_from; j++)
    if (source->from[j] == c)
      return true;
  return false;
}

/* Rows that were left out go from what was kept, too, and rows that others are made of move up. */
static void forget(struct nx_source *source, size_t c) {
  if (source->kept)
    memmove(source->kept + c * source->n_samples, source->kept + (c + 1) * source->n_samples,
            (source->n - c - 1) * source->n_samples * sizeof *source->kept);
  for (size_t j = 0; j < source->n_from; j++)
    source->from[j] -= source->from[j] > c;
  for (size_t k = 0; k < source->n_to; k++)
    source->to[k] -= source->to[k] > c;
  nx_source_drop(source, c);
}

int nx_source_drop_flat(struct nx_source *source, struct nx_error *err) {
  size_t n = source->n_samples, values, step = CHUNK, dropped = 0;
  bool keep = nx_size_mul(source->n, n, &values) && values <= KEPT_MOST;
  _cleanup_free_ struct seen *seen = calloc(source->n + 1, sizeof *seen);
  if (keep)
    step = n;
  float *x = reallocarray(NULL, source->n * step + 1, sizeof *x);
  int r = x && seen ? 0 : nx_fail(err, NX_E_NOMEM, "read: out of memory");
  for (size_t first = 0, now; !r && first < n; first += now) {
    now = NX_MIN(step, n - first);
    r = nx_recording_read(source->recording, source->picks, source->n, first, now, x, err);
    for (size_t c = 0; !r && c < source->n; c++)
      look(&seen[c], x + c * now, now);
  }
  if (!r && keep)
    source->kept = x;
  else
    free(x);
  for (size_t c = source->n; !r && c-- > 0;) {
    if (is_made(source, c) || (seen[c].moves && !seen[c].broken))
      continue;
    if (makes_others(source, c)) /* good for ten minutes, then not */
      return nx_fail(err, NX_E_FORMAT,
                     "channel %s is flat or no number somewhere, and bad ones would be made of it: "
                     "mark it bad in channels.tsv, or take it out",
                     nx_recording_info(source->recording)->channels[source->picks[c]].name);
    forget(source, c);
    dropped++;
  }
  return r ? r : (int)dropped;
}

/* ---- the chain ------------------------------------------------------------------------------- */

/* Samples first .. first + n - 1 in their unit, bad channels made anew. x: [n channels][n]. */
static int read_piece(const struct nx_source *source, size_t first, size_t n, float *raw, double *x,
                      struct nx_error *err) {
  const struct nx_channel *channels = nx_recording_info(source->recording)->channels;
  const float *from = raw;
  size_t stride = n;
  int r = 0;
  if (source->kept) {
    from = source->kept + first;
    stride = source->n_samples;
  } else {
    r = nx_recording_read(source->recording, source->picks, source->n, first, n, raw, err);
  }
  for (size_t c = 0; !r && c < source->n; c++)
    for (size_t i = 0; i < n; i++)
      x[c * n + i] = source->unit[c] * (double)from[c * stride + i];
  if (!r)
    make_bad(source, x, n);
  for (size_t c = 0; !r && c < source->n; c++)
    for (size_t i = 0; i < n; i++)
      if (!isfinite(x[c * n + i]))
        return nx_fail(err, NX_E_FORMAT,
                       "channel %s is not a number at sample %zu: mend the file or take it out",
                       channels[source->picks[c]].name, first + i);
  return r;
}

static int run(const struct nx_source *source, struct nx_stream *stream, double *y, size_t n_out,
               struct nx_error *err) {
  _cleanup_free_ double *x = reallocarray(NULL, source->n * CHUNK, sizeof *x);
  _cleanup_free_ float *raw = reallocarray(NULL, source->n * CHUNK, sizeof *raw);
  size_t n = source->n_samples, done = 0, m, now;
  const double *out;
  int r = x && raw ? 0 : nx_fail(err, NX_E_NOMEM, "read: out of memory");
  for (size_t first = 0; !r && first < n; first += now) {
    now = NX_MIN((size_t)CHUNK, n - first);
    r = read_piece(source, first, now, raw, x, err);
    if (!r)
      r = nx_stream_push(stream, x, now, now, first + now == n, &out, &m, err);
    for (size_t c = 0; !r && m && c < source->n; c++)
      memcpy(y + c * n_out + done, out + c * m, m * sizeof *y);
    done += r ? 0 : m;
  }
  return r;
}

int nx_source_stream(const struct nx_source *source, const struct nx_pipeline *pipeline,
                     double to_hz, double **y_out, size_t *n_out, struct nx_error *err) {
  struct nx_stream_spec spec = {.n_channels = source->n,
                                .n_samples = source->n_samples,
                                .average = pipeline->reference == NX_REFERENCE_AVERAGE};
  _cleanup_(nx_stream_destroyp) struct nx_stream *stream = NULL;
  size_t total;
  int r = nx_chain_stages(pipeline, source->rate_hz, &spec, err);
  if (!r)
    r = nx_resample_ratio(source->rate_hz, to_hz, &spec.up, &spec.down, err);
  if (!r)
    r = nx_stream_new(&spec, &stream, err);
  if (r < 0)
    return r;
  *n_out = nx_resample_length(source->n_samples, spec.up, spec.down);
  if (!nx_size_mul(source->n, *n_out, &total) || total > NX_CHAIN_SAMPLES_CAP)
    return nx_fail(err, NX_E_LIMIT, "the recording is too long: cut it into parts");
  _cleanup_free_ double *y = reallocarray(NULL, total + 1, sizeof *y);
  if (!y)
    return nx_fail(err, NX_E_NOMEM, "read: out of memory");
  r = run(source, stream, y, *n_out, err);
  if (!r)
    *y_out = nx_steal(&y);
  return r;
}
