#include "node/dataset/stream.h"

#include <complex.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/size.h"
#include "node/dataset/lanes.h"
#include "node/dataset/resample_bank.h"

#define PIECE 512       /* rows that go from step to step at once */
#define ROW NX_LANES    /* doubles */
#define DIED_AWAY 1e-13 /* what is left of a filter's beginning when it no longer counts */
#define LARGE_PAGE ((size_t)2 << 20)
#define BLOCK_LEAST 8192 /* rows a filter goes back over at once */
#define MEMORY_CAP ((size_t)2 << 30)

/* One filter over one group of channels. */
struct stage {
  const struct nx_sos *sos;
  size_t pad;   /* rows of odd extension at either end */
  size_t look;  /* rows behind a block that its way back begins at */
  size_t block; /* rows */
  bool begun;
  struct nx_lanes_state forward;
  double *hold; /* [look + block + PIECE] rows that went forward (before begun: that came) */
  size_t held;
  double *tail; /* [pad + 1] the last rows that came */
  size_t n_tail;
};

struct resampler {
  double *rows; /* [2 * n_taps] the last that came, and room for what follows them */
  size_t n;     /* of them */
  size_t base;  /* which sample the first is */
  size_t next;  /* output */
};

struct group {
  struct stage stages[NX_STREAM_STAGES];
  struct resampler resampler;
  double *out; /* rows */
  size_t n_out, cap_out;
};

struct nx_stream {
  struct nx_stream_spec spec;
  struct nx_resample_bank bank;
  size_t n_groups;
  struct group *groups;
  double *piece; /* [PIECE] rows */
  double *y;     /* [n_channels][y_stride] */
  size_t y_size;
};

/* Large ones in large pages: each page of 4 KiB costs a fault, and a look-up for every 32 rows. */
static double *new_rows(size_t n) {
  if (n >= SIZE_MAX / sizeof(double) / ROW / 2)
    return NULL;
  size_t size = (n + 1) * ROW * sizeof(double);
  bool large = size >= LARGE_PAGE;
  if (large)
    size = (size + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE; /* as aligned_alloc() wants it */
  double *rows = aligned_alloc(large ? LARGE_PAGE : 64, size);
  if (rows && large)
    madvise(rows, size, MADV_HUGEPAGE); /* a wish: nothing depends on it */
  return rows;
}

/* ---- filters ------------------------------------------------------------------------------- */

static size_t padding_of(const struct nx_sos *sos) {
  size_t b_zero = 0, a_zero = 0;
  for (size_t s = 0; s < sos->n_sections; s++) {
    b_zero += sos->s[s][2] == 0;
    a_zero += sos->s[s][5] == 0;
  }
  return 3 * (2 * sos->n_sections + 1 - NX_MIN(b_zero, a_zero));
}

/* Samples until the slowest pair of poles has died away; others are farther from the circle. */
static double look_of(const struct nx_sos *sos) {
  double radius = 0;
  for (size_t s = 0; s < sos->n_sections; s++) {
    double a1 = sos->s[s][4], a2 = sos->s[s][5];
    double complex root = csqrt(a1 * a1 / 4 - a2);
    radius = fmax(radius, fmax(cabs(root - a1 / 2), cabs(-root - a1 / 2)));
  }
  return radius > 0 ? log(DIED_AWAY) / log(radius) + 64 : 64;
}

static int make_stage(const struct nx_stream_spec *spec, const struct nx_sos *sos,
                      struct stage *stage, size_t *bytes, struct nx_error *err) {
  double look = look_of(sos), most = (double)(MEMORY_CAP / sizeof(double) / ROW);
  double whole = spec->n_samples ? (double)spec->n_samples : most;
  stage->sos = sos;
  stage->pad = padding_of(sos);
  stage->look = (size_t)fmin(look, most);
  stage->block = NX_MAX((size_t)BLOCK_LEAST, stage->look < 32768 ? 4 * stage->look : stage->look);
  double rows = fmin((double)stage->look + (double)stage->block, whole) + PIECE;
  *bytes += (size_t)rows * ROW * sizeof(double);
  if (!(look < most || whole < most) || *bytes > MEMORY_CAP)
    return nx_fail(err, NX_E_LIMIT,
                   "a filter this slow over %zu channels wants more than %zu MiB: use a higher "
                   "high_pass_hz or fewer channels",
                   spec->n_channels, MEMORY_CAP >> 20);
  stage->hold = new_rows((size_t)rows);
  stage->tail = new_rows(stage->pad + 1);
  return stage->hold && stage->tail ? 0 : nx_fail(err, NX_E_NOMEM, "filter: out of memory");
}

static void keep_tail(struct stage *stage, const double *rows, size_t n) {
  size_t room = stage->pad + 1, now = NX_MIN(n, room), kept = NX_MIN(stage->n_tail, room - now);
  memmove(stage->tail, stage->tail + (stage->n_tail - kept) * ROW, kept * ROW * sizeof(double));
  memcpy(stage->tail + kept * ROW, rows + (n - now) * ROW, now * ROW * sizeof(double));
  stage->n_tail = kept + now;
}

/* ext[i] = 2 * end - inside[i * step]. */
static void extend(const double *end, const double *inside, ptrdiff_t step, size_t n, double *ext,
                   ptrdiff_t ext_step) {
  for (size_t i = 0; i < n; i++)
    for (ptrdiff_t k = 0; k < ROW; k++)
      ext[(ptrdiff_t)i * ext_step * ROW + k] = 2 * end[k] - inside[(ptrdiff_t)i * step * ROW + k];
}

static void begin_forward(struct stage *stage, double *ext) {
  size_t pad = stage->pad;
  extend(stage->hold, stage->hold + ROW, 1, pad, ext + (pad - 1) * ROW, -1);
  nx_lanes_steady(stage->sos, ext, &stage->forward);
  nx_lanes_cascade(stage->sos, &stage->forward, ext, NULL, pad, 1);
  nx_lanes_cascade(stage->sos, &stage->forward, stage->hold, stage->hold, stage->held, 1);
  stage->begun = true;
}

/* The way back from the last row held to the first; the first n are done with. */
static void go_back(struct stage *stage, struct nx_lanes_state *state, size_t n) {
  double *last = stage->hold + (stage->held - 1) * ROW;
  if (stage->held > n)
    nx_lanes_cascade(stage->sos, state, last, NULL, stage->held - n, -1);
  double *from = stage->hold + (n - 1) * ROW;
  nx_lanes_cascade(stage->sos, state, from, from, n, -1);
}

static int push(struct nx_stream *stream, struct group *group, size_t k, const double *rows,
                size_t n, bool last, struct nx_error *err);

static int end_stage(struct nx_stream *stream, struct group *group, size_t k,
                     struct nx_error *err) {
  struct stage *stage = &group->stages[k];
  struct nx_lanes_state back;
  size_t pad = stage->pad;
  _cleanup_free_ double *ext = new_rows(pad);
  if (!ext)
    return nx_fail(err, NX_E_NOMEM, "filter: out of memory");
  extend(stage->tail + pad * ROW, stage->tail + (pad - 1) * ROW, -1, pad, ext, 1);
  nx_lanes_cascade(stage->sos, &stage->forward, ext, ext, pad, 1);
  nx_lanes_steady(stage->sos, ext + (pad - 1) * ROW, &back);
  nx_lanes_cascade(stage->sos, &back, ext + (pad - 1) * ROW, NULL, pad, -1);
  go_back(stage, &back, stage->held);
  return push(stream, group, k + 1, stage->hold, stage->held, true, err);
}

static int stage_piece(struct nx_stream *stream, struct group *group, size_t k, const double *rows,
                       size_t n, bool last, struct nx_error *err) {
  struct stage *stage = &group->stages[k];
  double *at = stage->hold + stage->held * ROW;
  keep_tail(stage, rows, n);
  stage->held += n;
  if (stage->begun) {
    nx_lanes_cascade(stage->sos, &stage->forward, rows, at, n, 1);
  } else {
    memcpy(at, rows, n * ROW * sizeof(double));
    if (stage->held > stage->pad) {
      _cleanup_free_ double *ext = new_rows(stage->pad);
      if (!ext)
        return nx_fail(err, NX_E_NOMEM, "filter: out of memory");
      begin_forward(stage, ext);
    } else if (last) {
      return nx_fail(err, NX_E_INVALID, "%zu samples are too few to filter: %zu are needed",
                     stage->held, stage->pad + 1);
    }
  }
  if (last)
    return end_stage(stream, group, k, err);
  if (stage->held < stage->look + stage->block)
    return 0;
  struct nx_lanes_state back;
  size_t done = stage->held - stage->look;
  nx_lanes_steady(stage->sos, stage->hold + (stage->held - 1) * ROW, &back);
  /* The rows that are looked ahead to are not changed: only what is done with is. */
  go_back(stage, &back, done);
  int r = push(stream, group, k + 1, stage->hold, done, false, err);
  memmove(stage->hold, stage->hold + done * ROW, stage->look * ROW * sizeof(double));
  stage->held = stage->look;
  return r;
}

/* ---- resampling ---------------------------------------------------------------------------- */

static double *out_rows(struct group *group, size_t n, struct nx_error *err) {
  if (group->n_out + n > group->cap_out) {
    size_t cap = NX_MAX(group->n_out + n, 2 * group->cap_out);
    double *grown = new_rows(cap);
    if (!grown) {
      nx_fail(err, NX_E_NOMEM, "resample: out of memory");
      return NULL;
    }
    if (group->n_out)
      memcpy(grown, group->out, group->n_out * ROW * sizeof(double));
    free(group->out);
    group->out = grown;
    group->cap_out = cap;
  }
  return group->out + group->n_out * ROW;
}

/* What the next outputs need of rows[0 .. n), the samples from `first` on. Outputs that begin
 * before `limit` are made. Returns the first sample that is still needed. */
static size_t make_outputs(const struct nx_resample_bank *bank, struct group *group,
                           const double *rows, size_t first, size_t limit, size_t seen, bool last,
                           double *to) {
  struct resampler *r = &group->resampler;
  size_t end = nx_resample_length(seen, bank->up, bank->down);
  for (;; r->next++, group->n_out++, to += ROW) {
    struct nx_resample_place place =
        nx_resample_place_of(bank, r->next, last ? seen : (size_t)PTRDIFF_MAX);
    if (last && r->next >= end)
      return seen;
    if (place.first >= limit || (!last && place.last >= seen))
      return place.first;
    nx_lanes_dot(place.taps, rows + (place.first - first) * ROW, place.n, to);
  }
}

/* Outputs that begin in what is kept of earlier rows are made from a copy, all others in place. */
static int resample(const struct nx_resample_bank *bank, struct group *group, const double *rows,
                    size_t n, bool last, struct nx_error *err) {
  struct resampler *r = &group->resampler;
  size_t before = r->base + r->n, seen = before + n, more = NX_MIN(n, bank->n_taps);
  size_t end = nx_resample_length(seen, bank->up, bank->down);
  if (!bank->taps) {
    double *to = out_rows(group, n, err);
    if (!to)
      return NX_E_NOMEM;
    memcpy(to, rows, n * ROW * sizeof(double));
    group->n_out += n;
    return 0;
  }
  double *to = out_rows(group, end - NX_MIN(r->next, end) + 1, err);
  if (!to)
    return NX_E_NOMEM;
  memcpy(r->rows + r->n * ROW, rows, more * ROW * sizeof(double));
  size_t made = group->n_out;
  size_t needed = make_outputs(bank, group, r->rows, r->base, before, seen, last, to);
  if (needed >= before) {
    to += (group->n_out - made) * ROW;
    needed = make_outputs(bank, group, rows, before, SIZE_MAX, seen, last, to);
  }
  needed = NX_MIN(needed, seen);
  if (needed >= before)
    memcpy(r->rows, rows + (needed - before) * ROW, (seen - needed) * ROW * sizeof(double));
  else /* a short piece: all of it is behind what was kept */
    memmove(r->rows, r->rows + (needed - r->base) * ROW, (seen - needed) * ROW * sizeof(double));
  r->base = needed;
  r->n = seen - needed;
  return 0;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static int push(struct nx_stream *stream, struct group *group, size_t k, const double *rows,
                size_t n, bool last, struct nx_error *err) {
  int r;
  if (k == stream->spec.n_stages)
    return resample(&stream->bank, group, rows, n, last, err);
  do {
    size_t now = NX_MIN(n, (size_t)PIECE);
    n -= now;
    r = stage_piece(stream, group, k, rows, now, last && !n, err);
    rows += now * ROW;
  } while (n && r == 0);
  return r;
}

int nx_stream_new(const struct nx_stream_spec *spec, struct nx_stream **stream_out,
                  struct nx_error *err) {
  _cleanup_(nx_stream_destroyp) struct nx_stream *stream = calloc(1, sizeof *stream);
  size_t bytes = 0;
  if (!stream)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  if (!spec->n_channels || spec->n_stages > NX_STREAM_STAGES)
    return nx_fail(err, NX_E_INVALID, "a stream of %zu channels, %zu filters", spec->n_channels,
                   spec->n_stages);
  stream->spec = *spec;
  stream->n_groups = (spec->n_channels + NX_LANES - 1) / NX_LANES;
  stream->groups = aligned_alloc(64, stream->n_groups * sizeof *stream->groups);
  if (stream->groups)
    memset(stream->groups, 0, stream->n_groups * sizeof *stream->groups);
  stream->piece = new_rows(PIECE);
  if (!stream->groups || !stream->piece)
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  int r = nx_resample_bank_make(spec->up, spec->down, &stream->bank, err);
  for (size_t g = 0; !r && g < stream->n_groups; g++) {
    struct group *group = &stream->groups[g];
    for (size_t k = 0; !r && k < spec->n_stages; k++)
      r = make_stage(&stream->spec, &stream->spec.stages[k], &group->stages[k], &bytes, err);
    group->resampler.rows = new_rows(2 * stream->bank.n_taps);
    if (!r && !group->resampler.rows)
      r = nx_fail(err, NX_E_NOMEM, "out of memory");
  }
  if (!r)
    *stream_out = nx_steal(&stream);
  return r;
}

/* What came out, channel by channel. */
static int gather(struct nx_stream *stream, size_t *m_out, struct nx_error *err) {
  size_t m = stream->groups[0].n_out, size;
  *m_out = m;
  if (!nx_size_mul(m, stream->spec.n_channels, &size))
    return nx_fail(err, NX_E_NOMEM, "out of memory");
  if (size > stream->y_size) {
    free(stream->y);
    stream->y = reallocarray(NULL, size, sizeof *stream->y);
    stream->y_size = stream->y ? size : 0;
    if (!stream->y)
      return nx_fail(err, NX_E_NOMEM, "out of memory");
  }
  for (size_t c = 0; m && c < stream->spec.n_channels; c += NX_LANES)
    nx_lanes_scatter(stream->groups[c / NX_LANES].out, m,
                     NX_MIN((size_t)NX_LANES, stream->spec.n_channels - c), stream->y + c * m, m);
  return 0;
}

int nx_stream_push(struct nx_stream *stream, const double *x, size_t stride, size_t n, bool last,
                   const double **y_out, size_t *m_out, struct nx_error *err) {
  const struct nx_stream_spec *spec = &stream->spec;
  double mean[PIECE] = {0};
  int r = 0;
  for (size_t g = 0; g < stream->n_groups; g++)
    stream->groups[g].n_out = 0;
  for (size_t first = 0; !r && (first < n || last); first += PIECE) {
    size_t now = NX_MIN((size_t)PIECE, n - first);
    bool end = last && first + now == n;
    if (spec->average)
      nx_lanes_mean(x + first, stride, spec->n_channels, now, mean);
    for (size_t g = 0; !r && g < stream->n_groups; g++) {
      size_t c = g * NX_LANES;
      nx_lanes_gather(x + c * stride + first, stride,
                      NX_MIN((size_t)NX_LANES, spec->n_channels - c), mean, now, stream->piece);
      r = push(stream, &stream->groups[g], 0, stream->piece, now, end, err);
    }
    if (end)
      break;
  }
  if (!r)
    r = gather(stream, m_out, err);
  *y_out = stream->y;
  return r;
}

void nx_stream_destroy(struct nx_stream *stream) {
  if (!stream)
    return;
  for (size_t g = 0; stream->groups && g < stream->n_groups; g++) {
    struct group *group = &stream->groups[g];
    for (size_t k = 0; k < NX_STREAM_STAGES; k++) {
      free(group->stages[k].hold);
      free(group->stages[k].tail);
    }
    free(group->resampler.rows);
    free(group->out);
  }
  free(stream->groups);
  nx_resample_bank_finish(&stream->bank);
  free(stream->piece);
  free(stream->y);
  free(stream);
}
