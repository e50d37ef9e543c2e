#include "node/train/prototype_sums.h"

#include <math.h>

#include "common/aux_lanes.h"
#include "common/size.h"

#define CHUNK 8 /* windows at once: bounds memory */

struct work {
  const struct nx_model *model;
  struct nx_general_network *network;
  struct nx_signal_batch batch;
  double sums[NX_PROTOTYPES][NX_PROTOTYPE_WIDTH];
  uint64_t counts[NX_PROTOTYPES];
};

static void finish(struct work *work) {
  nx_general_network_destroy(work->network);
  nx_signal_batch_finish(&work->batch);
}

static void add(struct work *work, const float *directions) {
  for (size_t g = 0; g < work->batch.n_groups; g++) {
    const struct nx_general_input *in = &work->batch.groups[g];
    for (size_t w = 0; w < in->n_windows; w++, directions += NX_PROTOTYPE_WIDTH) {
      work->counts[in->classes[w]]++;
      for (size_t i = 0; i < NX_PROTOTYPE_WIDTH; i++)
        work->sums[in->classes[w]][i] += (double)directions[i];
    }
  }
}

static int sum_set(struct work *work, const struct nx_signals *set, size_t most, uint64_t round,
                   struct nx_error *err) {
  float directions[CHUNK * NX_PROTOTYPE_WIDTH];
  size_t n = nx_signals_classed(set, NX_SPLIT_TRAIN, work->model->shape.patches);
  const struct nx_signal_thinning thinning = {(n + most - 1) / most, (size_t)round};
  int r = n ? nx_signal_batch_init(&work->batch, set, &work->model->shape, err) : 0;
  for (size_t first = 0; !r && n; first += work->batch.n_windows) {
    r = nx_signal_batch_classed(&work->batch, NX_SPLIT_TRAIN, &thinning, first, CHUNK, err);
    if (r < 0 || !work->batch.n_windows)
      break;
    r = nx_general_network_directions(work->network, work->model, work->batch.groups,
                                      work->batch.n_groups, directions, err);
    if (!r)
      add(work, directions);
  }
  nx_signal_batch_finish(&work->batch);
  return r;
}

int nx_prototype_sums(const struct nx_model *model, const struct nx_site_signals *site, size_t most,
                      uint64_t training_round, struct nx_pool *pool, uint64_t *aux,
                      struct nx_error *err) {
  _cleanup_(finish) struct work work = {.model = model};
  int r = nx_general_network_create(model, &work.network, err);
  if (!r && pool)
    r = nx_general_network_use_pool(work.network, pool, err);
  for (size_t i = 0; !r && i < site->n_sets; i++)
    r = sum_set(&work, &site->sets[i], NX_MAX(most / site->n_sets, 1u), training_round, err);
  if (r < 0)
    return nx_error_prefix(err, r, "prototypes");
  for (uint32_t c = 0; c < model->shape.n_classes; c++) {
    uint64_t *lanes = aux + NX_AUX_PROTOTYPES + c * (size_t)(1 + NX_PROTOTYPE_WIDTH);
    lanes[0] = work.counts[c];
    for (size_t i = 0; i < NX_PROTOTYPE_WIDTH; i++)
      lanes[1 + i] = nx_aux_encode(work.sums[c][i], NX_AUX_FEATURE_SCALE);
  }
  return 0;
}

/* ---- Loads of experts ---- */

int nx_expert_sums(const struct nx_model *model, const struct nx_site_signals *site, size_t windows,
                   struct nx_rng *rng, struct nx_pool *pool, uint64_t *lanes,
                   struct nx_error *err) {
  _cleanup_(finish) struct work work = {.model = model};
  int r = nx_general_network_create(model, &work.network, err);
  if (!r && pool)
    r = nx_general_network_use_pool(work.network, pool, err);
  for (size_t i = 0; !r && i < site->n_sets; i++) {
    r = nx_signal_batch_init(&work.batch, &site->sets[i], &model->shape, err);
    for (size_t n = 0; !r && n < windows / site->n_sets; n += CHUNK) {
      r = nx_signal_batch_draw(&work.batch, CHUNK, NX_RECORDINGS_A_STEP, rng, err);
      if (!r)
        r = nx_general_network_loads(work.network, model, work.batch.groups, work.batch.n_groups,
                                     lanes, err);
    }
    nx_signal_batch_finish(&work.batch);
  }
  return r < 0 ? nx_error_prefix(err, r, "loads of experts") : 0;
}
