#include "node/train/subject_sums.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/size.h"

struct subject {
  uint32_t *recordings; /* into sums->recordings */
  size_t n;
};

struct nx_subject_sums {
  const struct nx_dataset *dataset;
  const struct nx_plan *plan;
  const struct nx_entropy *entropy;
  struct nx_dp_rounding rounding;
  struct nx_batch batch;
  struct nx_network *network;
  size_t n_params;
  int32_t *rounded; /* [n_params], of one subject */
  struct subject *subjects;
  size_t n_subjects;
  uint32_t *recordings; /* of the training split, those of a subject side by side */
};

static bool of_training(const struct nx_dataset *dataset, size_t i) {
  return nx_dataset_recording(dataset, i)->split == NX_SPLIT_TRAIN;
}

static bool same_subject(const struct nx_dataset *dataset, size_t a, size_t b) {
  return !strcmp(nx_dataset_recording(dataset, a)->subject,
                 nx_dataset_recording(dataset, b)->subject);
}

static bool seen_before(const struct nx_dataset *dataset, size_t i) {
  for (size_t k = 0; k < i; k++)
    if (of_training(dataset, k) && same_subject(dataset, i, k))
      return true;
  return false;
}

/* Recordings in groups, one group a subject. */
static int find_subjects(struct nx_subject_sums *s, struct nx_error *err) {
  size_t n = nx_dataset_summary(s->dataset)->n_recordings, used = 0;
  s->subjects = calloc(n + 1, sizeof *s->subjects);
  s->recordings = calloc(n + 1, sizeof *s->recordings);
  if (!s->subjects || !s->recordings)
    return nx_fail(err, NX_E_NOMEM, "subjects of a step: out of memory");
  for (size_t i = 0; i < n; i++) {
    if (!of_training(s->dataset, i) || seen_before(s->dataset, i))
      continue;
    struct subject *subject = &s->subjects[s->n_subjects++];
    subject->recordings = s->recordings + used;
    for (size_t k = i; k < n; k++)
      if (of_training(s->dataset, k) && same_subject(s->dataset, i, k))
        subject->recordings[subject->n++] = (uint32_t)k;
    used += subject->n;
  }
  if (!s->n_subjects)
    return nx_fail(err, NX_E_STATE, "no recording to train on: every subject is held out");
  return 0;
}

int nx_subject_sums_create(const struct nx_model *model, const struct nx_dataset *dataset,
                           const struct nx_plan *plan, const struct nx_dp_rounding *rounding,
                           const struct nx_entropy *entropy, struct nx_subject_sums **sums_out,
                           struct nx_error *err) {
  _cleanup_(nx_subject_sums_destroyp) struct nx_subject_sums *s = calloc(1, sizeof *s);
  if (!s || !(s->rounded = calloc(model->n_params + 1, sizeof *s->rounded))) {
    free(nx_steal(&s));
    return nx_fail(err, NX_E_NOMEM, "a step of %zu values: out of memory", model->n_params);
  }
  s->dataset = dataset;
  s->plan = plan;
  s->rounding = *rounding;
  s->entropy = entropy;
  s->n_params = model->n_params;
  int r = find_subjects(s, err);
  if (r == 0)
    r = nx_batch_init(&s->batch, dataset, plan, plan->training.batch, err);
  if (r == 0)
    r = nx_network_create(model, &s->network, err);
  if (r == 0) {
    nx_network_use_checkpoints(s->network, plan->training.checkpoint_activations);
    *sums_out = nx_steal(&s);
  }
  return r;
}

void nx_subject_sums_destroy(struct nx_subject_sums *s) {
  if (!s)
    return;
  if (s->rounded)
    explicit_bzero(s->rounded, s->n_params * sizeof *s->rounded);
  nx_batch_finish(&s->batch);
  nx_network_destroy(s->network);
  free(s->rounded);
  free(s->subjects);
  free(s->recordings);
  free(s);
}

static int draw_u64(const struct nx_subject_sums *s, uint64_t *out, struct nx_error *err) {
  return s->entropy->fill(s->entropy->context, out, sizeof *out, err);
}

/* Poisson: with probability q, up to 2^-53. */
static int draw_subject(const struct nx_subject_sums *s, bool *drawn_out, struct nx_error *err) {
  uint64_t x;
  int r = draw_u64(s, &x, err);
  if (r == 0)
    *drawn_out = (double)(x >> 11) * 0x1p-53 < s->plan->differential_privacy->sampling_rate;
  return r;
}

static int add_subject(struct nx_subject_sums *s, const struct nx_model *model,
                       const struct subject *subject, int64_t *out, double *loss_out,
                       struct nx_error *err) {
  struct nx_rng rng;
  uint64_t seed;
  int r = draw_u64(s, &seed, err);
  if (r < 0)
    return r;
  nx_rng_init(&rng, seed, 0);
  r = nx_batch_draw_from(&s->batch, s->dataset, subject->recordings, subject->n,
                         s->plan->training.batch, &rng, err);
  if (r < 0)
    return r;
  struct nx_network_input input = nx_train_input(&s->batch);
  r = nx_network_train_step(s->network, model, &input, s->plan->training.label_smoothing, &rng,
                            loss_out, err);
  if (r == 0)
    r = nx_dp_round(&s->rounding, nx_network_gradients(s->network), s->n_params, &rng, s->rounded,
                    err);
  for (size_t i = 0; r == 0 && i < s->n_params; i++)
    out[i] += s->rounded[i];
  return r;
}

int nx_subject_sums_step(struct nx_subject_sums *s, const struct nx_model *model,
                         bool (*cancelled)(void *context), void *context, int64_t *out,
                         double *loss_out, struct nx_error *err) {
  size_t n_drawn = 0;
  double losses = 0;
  memset(out, 0, s->n_params * sizeof *out);
  for (size_t i = 0; i < s->n_subjects; i++) {
    bool drawn = false;
    double loss = 0;
    if (cancelled && cancelled(context))
      return nx_fail(err, NX_E_CANCELLED, "training was stopped");
    int r = draw_subject(s, &drawn, err);
    if (r == 0 && drawn)
      r = add_subject(s, model, &s->subjects[i], out, &loss, err);
    if (r < 0)
      return nx_error_prefix(err, r, "a subject's gradient");
    losses += loss;
    n_drawn += drawn;
  }
  *loss_out = n_drawn ? losses / (double)n_drawn : NAN;
  return 0;
}
