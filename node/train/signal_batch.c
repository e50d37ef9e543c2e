#include "node/train/signal_batch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/plan_prototypes.h"
#include "common/size.h"

#define AMPLITUDE_FLOOR 0.02

_Static_assert(NX_SIGNAL_STATS == NX_MODEL_STATS, "statistics of a channel");

/* ---- Making one ---- */

static int fill_transform(struct nx_signal_batch *batch, size_t n, struct nx_error *err) {
  size_t bins = n / 2 + 1;
  batch->transform = calloc(bins * 2 * n, sizeof(float));
  if (!batch->transform)
    return nx_fail(err, NX_E_NOMEM, "out of memory for batches");
  for (size_t f = 0; f < bins; f++)
    for (size_t i = 0; i < n; i++) {
      double angle = 2 * M_PI * (double)(f * i % n) / (double)n;
      batch->transform[(2 * f) * n + i] = (float)(cos(angle) / sqrt((double)n));
      batch->transform[(2 * f + 1) * n + i] = (float)(sin(angle) / sqrt((double)n));
    }
  return 0;
}

static int find_tokeniser(struct nx_signal_batch *batch, const struct nx_model_shape *shape,
                          struct nx_error *err) {
  const struct nx_plan_tokeniser *t = batch->signals->tokeniser;
  for (uint32_t i = 0; i < shape->n_tokenisers; i++)
    if (shape->tokenisers[i].kind == t->kind &&
        shape->tokenisers[i].patch_samples == t->patch_samples) {
      batch->tokeniser = i;
      batch->inputs = shape->tokenisers[i].inputs;
      return 0;
    }
  return nx_fail(err, NX_E_INVALID, "the model has no tokeniser %s with patches of %u samples",
                 nx_tokeniser_name(t->kind), t->patch_samples);
}

int nx_signal_batch_init(struct nx_signal_batch *batch, const struct nx_signals *signals,
                         const struct nx_model_shape *shape, struct nx_error *err) {
  *batch = (struct nx_signal_batch){
      .signals = signals, .patches = shape->patches, .n_targets = shape->n_targets};
  int r = find_tokeniser(batch, shape, err);
  if (!r && !signals->n)
    r = nx_fail(err, NX_E_INVALID, "no recordings for tokeniser %s",
                nx_tokeniser_name(signals->tokeniser->kind));
  for (size_t i = 0; !r && i < signals->n; i++) {
    char where[32];
    snprintf(where, sizeof where, "recording %zu", i + 1);
    r = nx_signal_check(&signals->signals[i], signals->tokeniser, shape->patches, where, err);
  }
  if (!r)
    r = fill_transform(batch, signals->tokeniser->patch_samples, err);
  if (!r) {
    batch->wanted = calloc(signals->n, sizeof *batch->wanted);
    batch->groups = calloc(signals->n, sizeof *batch->groups);
    batch->recordings = calloc(signals->n, sizeof *batch->recordings);
    batch->first_windows = calloc(signals->n, sizeof *batch->first_windows);
    if (!batch->wanted || !batch->groups || !batch->recordings || !batch->first_windows)
      r = nx_fail(err, NX_E_NOMEM, "out of memory for batches");
  }
  if (r < 0)
    nx_signal_batch_finish(batch);
  return r;
}

void nx_signal_batch_finish(struct nx_signal_batch *batch) {
  free(batch->groups);
  free(batch->recordings);
  free(batch->first_windows);
  free(batch->x);
  free(batch->labels);
  free(batch->classes);
  free(batch->targets);
  free(batch->transform);
  free(batch->wanted);
  free(batch->starts);
  memset(batch, 0, sizeof *batch);
}

/* ---- Filling ---- */

/* One patch: its samples, then log(|rFFT| / sqrt n + 0.02). */
static void put_token(const struct nx_signal_batch *batch, const float *samples, float *out) {
  size_t n = batch->signals->tokeniser->patch_samples;
  memcpy(out, samples, n * sizeof *out);
  for (size_t f = 0; f <= n / 2; f++) {
    const float *cosine = batch->transform + 2 * f * n, *sine = cosine + n;
    float a = 0, b = 0;
    for (size_t i = 0; i < n; i++) {
      a += samples[i] * cosine[i];
      b += samples[i] * sine[i];
    }
    out[n + f] = logf(sqrtf(a * a + b * b) + (float)AMPLITUDE_FLOOR);
  }
}

static void put_window(const struct nx_signal_batch *batch, const struct nx_signal *signal,
                       size_t start, float *out) {
  size_t n = batch->signals->tokeniser->patch_samples;
  for (size_t c = 0; c < signal->n_channels; c++)
    for (size_t s = 0; s < batch->patches; s++, out += batch->inputs)
      put_token(batch, signal->x + c * signal->n_samples + start + s * n, out);
}

/* A patch's targets: their means over it, NaN where a sample is not known. */
static void put_targets(const struct nx_signal_batch *batch, const struct nx_signal *signal,
                        size_t start, float *out) {
  size_t n = batch->signals->tokeniser->patch_samples;
  for (size_t s = 0; s < batch->patches; s++)
    for (size_t k = 0; k < batch->n_targets; k++) {
      const float *y =
          signal->targets ? signal->targets + k * signal->n_samples + start + s * n : NULL;
      double sum = 0;
      for (size_t i = 0; y && i < n; i++)
        sum += (double)y[i];
      *out++ = y ? (float)(sum / (double)n) : NAN;
    }
}

/* The class of three quarters of a window's samples, or none. */
static uint8_t class_of(const struct nx_signal *signal, size_t start, size_t n) {
  const uint8_t *classes = signal->classes ? signal->classes + start : NULL;
  size_t counts[NX_PROTOTYPE_NO_CLASS + 1] = {0};
  for (size_t i = 0; classes && i < n; i++)
    counts[classes[i]]++;
  for (uint8_t c = 0; c < NX_PROTOTYPES; c++)
    if (4 * counts[c] >= 3 * n)
      return c;
  return NX_PROTOTYPE_NO_CLASS;
}

static int reserve(struct nx_signal_batch *batch, size_t windows, size_t values, size_t starts,
                   struct nx_error *err) {
  if (!windows) /* an empty split: nothing to fill, and no room is no failure */
    return 0;
  if (batch->x_room < values) {
    free(batch->x);
    batch->x = malloc(values * sizeof *batch->x);
    batch->x_room = batch->x ? values : 0;
  }
  if (batch->labels_room < windows) {
    free(batch->labels);
    free(batch->classes);
    batch->labels = malloc(windows);
    batch->classes = malloc(windows);
    batch->labels_room = batch->labels && batch->classes ? windows : 0;
  }
  size_t targets = windows * batch->patches * batch->n_targets;
  if (batch->targets_room < targets) {
    free(batch->targets);
    batch->targets = malloc(targets * sizeof *batch->targets);
    batch->targets_room = batch->targets ? targets : 0;
  }
  if (batch->starts_room < starts) {
    free(batch->starts);
    batch->starts = malloc(starts * sizeof *batch->starts);
    batch->starts_room = batch->starts ? starts : 0;
  }
  return batch->x && batch->labels_room >= windows && batch->starts &&
                 batch->targets_room >= targets
             ? 0
             : nx_fail(err, NX_E_NOMEM, "out of memory for a batch of %zu windows", windows);
}

static size_t window_samples(const struct nx_signal_batch *batch) {
  return batch->patches * batch->signals->tokeniser->patch_samples;
}

static size_t values_of(const struct nx_signal_batch *batch, size_t recording) {
  return batch->signals->signals[recording].n_channels * batch->patches * batch->inputs;
}

static int reserve_for_wanted(struct nx_signal_batch *batch, struct nx_error *err) {
  size_t windows = 0, values = 0;
  for (size_t i = 0; i < batch->signals->n; i++) {
    size_t part;
    if (!nx_size_mul(batch->wanted[i], values_of(batch, i), &part) ||
        !nx_size_add(values, part, &values))
      return nx_fail(err, NX_E_LIMIT, "a batch of absurd size");
    windows += batch->wanted[i];
  }
  return reserve(batch, windows, values, windows, err);
}

/* Windows batch->wanted[] of each recording at batch->starts[], in that order. */
static void fill(struct nx_signal_batch *batch) {
  float *x = batch->x, *targets = batch->targets;
  uint8_t *labels = batch->labels, *classes = batch->classes;
  const size_t *start = batch->starts;
  batch->n_groups = batch->n_windows = 0;
  for (size_t i = 0; i < batch->signals->n; i++) {
    const struct nx_signal *signal = &batch->signals->signals[i];
    if (!batch->wanted[i])
      continue;
    batch->recordings[batch->n_groups] = i;
    batch->groups[batch->n_groups++] = (struct nx_general_input){
        .tokeniser = batch->tokeniser,
        .modality = signal->modality,
        .species = signal->species,
        .reference = signal->reference,
        .n_windows = batch->wanted[i],
        .n_channels = signal->n_channels,
        .x = x,
        .stats = signal->stats,
        .positions = signal->positions,
        .placed = signal->placed,
        .labels = labels,
        .targets = targets,
        .classes = classes,
    };
    for (size_t w = 0; w < batch->wanted[i]; w++, x += values_of(batch, i), start++) {
      put_window(batch, signal, *start, x);
      *classes++ = class_of(signal, *start, window_samples(batch));
      if (batch->n_targets) {
        put_targets(batch, signal, *start, targets);
        targets += batch->patches * batch->n_targets;
      }
    }
    memset(labels, signal->label, batch->wanted[i]);
    labels += batch->wanted[i];
    batch->n_windows += batch->wanted[i];
  }
}

/* ---- Which windows ---- */

/* A training recording, in proportion to length, among those `open` (NULL: all). */
static size_t draw_recording(const struct nx_signal_batch *batch, const uint8_t *open,
                             struct nx_rng *rng) {
  uint64_t total = 0;
  for (size_t i = 0; i < batch->signals->n; i++)
    if (batch->signals->signals[i].split == NX_SPLIT_TRAIN && (!open || open[i]))
      total += batch->signals->signals[i].n_samples;
  uint64_t at = total ? nx_rng_below(rng, total) : 0;
  for (size_t i = 0; i < batch->signals->n; i++) {
    const struct nx_signal *s = &batch->signals->signals[i];
    if (s->split != NX_SPLIT_TRAIN || (open && !open[i]))
      continue;
    if (at < s->n_samples)
      return i;
    at -= s->n_samples;
  }
  return SIZE_MAX;
}

int nx_signal_batch_draw(struct nx_signal_batch *batch, size_t n, size_t recordings,
                         struct nx_rng *rng, struct nx_error *err) {
  size_t total = batch->signals->n, window = window_samples(batch), at = 0;
  _cleanup_free_ uint8_t *open = calloc(total, 1);
  if (!open)
    return nx_fail(err, NX_E_NOMEM, "out of memory for a batch");
  if (draw_recording(batch, NULL, rng) == SIZE_MAX)
    return nx_fail(err, NX_E_STATE, "no recording to train on: all are held out");
  for (size_t i = 0; i < recordings; i++)
    open[draw_recording(batch, NULL, rng)] = 1;
  memset(batch->wanted, 0, total * sizeof *batch->wanted);
  for (size_t i = 0; i < n; i++)
    batch->wanted[draw_recording(batch, recordings ? open : NULL, rng)]++;
  int r = reserve_for_wanted(batch, err);
  if (r < 0)
    return r;
  for (size_t i = 0; i < total; i++)
    for (size_t w = 0; w < batch->wanted[i]; w++)
      batch->starts[at++] =
          (size_t)nx_rng_below(rng, batch->signals->signals[i].n_samples - window + 1);
  fill(batch);
  return 0;
}

int nx_signal_batch_grid(struct nx_signal_batch *batch, enum nx_split split, size_t first, size_t n,
                         struct nx_error *err) {
  size_t window = window_samples(batch), number = 0, at = 0, groups = 0;
  for (size_t i = 0; i < batch->signals->n; i++) {
    const struct nx_signal *s = &batch->signals->signals[i];
    size_t has = s->split == split ? s->n_samples / window : 0;
    size_t from = NX_MIN(has, first > number ? first - number : 0);
    batch->wanted[i] = NX_MIN(has - from, n);
    if (batch->wanted[i])
      batch->first_windows[groups++] = from;
    n -= batch->wanted[i];
    number += has;
  }
  int r = reserve_for_wanted(batch, err);
  if (r < 0)
    return r;
  for (size_t i = 0, g = 0; i < batch->signals->n; i++) {
    for (size_t w = 0; w < batch->wanted[i]; w++)
      batch->starts[at++] = (batch->first_windows[g] + w) * window;
    g += batch->wanted[i] > 0;
  }
  fill(batch);
  return 0;
}

/* Of a recording's grid: class of window w. */
static uint8_t grid_class(const struct nx_signal *signal, size_t window, size_t w) {
  return class_of(signal, w * window, window);
}

int nx_signal_batch_classed(struct nx_signal_batch *batch, enum nx_split split,
                            const struct nx_signal_thinning *thinning, size_t first, size_t n,
                            struct nx_error *err) {
  size_t window = window_samples(batch), seen = 0, number = 0, at = 0;
  memset(batch->wanted, 0, batch->signals->n * sizeof *batch->wanted);
  for (int put = 0; put < 2; put++, seen = number = 0) { /* counts, then starts */
    for (size_t i = 0; i < batch->signals->n && number < first + n; i++) {
      const struct nx_signal *s = &batch->signals->signals[i];
      for (size_t w = 0; s->split == split && w < s->n_samples / window && number < first + n;
           w++) {
        if (grid_class(s, window, w) == NX_PROTOTYPE_NO_CLASS ||
            seen++ % thinning->stride != thinning->offset % thinning->stride || number++ < first)
          continue;
        if (put)
          batch->starts[at++] = w * window;
        else
          batch->wanted[i]++;
      }
    }
    int r = put ? 0 : reserve_for_wanted(batch, err);
    if (r < 0)
      return r;
  }
  fill(batch);
  return 0;
}

size_t nx_signals_classed(const struct nx_signals *signals, enum nx_split split, size_t patches) {
  size_t total = 0, window = patches * signals->tokeniser->patch_samples;
  for (size_t i = 0; i < signals->n; i++)
    for (size_t w = 0;
         signals->signals[i].split == split && w < signals->signals[i].n_samples / window; w++)
      total += grid_class(&signals->signals[i], window, w) != NX_PROTOTYPE_NO_CLASS;
  return total;
}

size_t nx_signals_windows(const struct nx_signals *signals, enum nx_split split, size_t patches) {
  size_t total = 0, window = patches * signals->tokeniser->patch_samples;
  for (size_t i = 0; i < signals->n; i++)
    if (signals->signals[i].split == split)
      total += signals->signals[i].n_samples / window;
  return total;
}
