#include "node/train/step_memory.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/memory.h"
#include "common/plan_adapters.h"
#include "common/size.h"
#include "models/nets/general_network.h"
#include "models/outline.h"
#include "models/quantised.h"
#include "node/dataset/signal.h"
#include "node/train/general_trainer.h"

#define MIB ((size_t)1 << 20)
/* Beside the panel of a stream (backend/cpu.h) the matrix library packs pieces of matrices, and
 * the kernels that it makes are code: measured, docs/models.md. */
#define WORKSPACE_THREAD ((size_t)4 << 20)
#define WORKSPACE_PROGRAM ((size_t)4 << 20)

/* One kind of recording: how a network sees it. */
struct kind {
  uint32_t tokeniser;
  enum nx_modality modality;
  size_t channels;
};

struct asked {
  const struct nx_plan *plan;
  const struct nx_outline *outline;
  size_t threads;
  struct nx_step_memory *out;
  size_t slices, slice_bytes, windows; /* the most of any kind */
};

static size_t floats(size_t n) {
  return n * sizeof(float);
}

static int measure_nano(struct asked *a, size_t channels, struct nx_error *err) {
  struct nx_slice_memory slice;
  const struct nx_model *runs = nx_outline_runs(a->outline);
  const struct nx_model_shape *s = &runs->shape;
  size_t batch = a->plan->training.batch;
  int r = nx_network_measure(runs, batch, channels, a->plan->training.checkpoint_activations,
                             &slice, err);
  if (r < 0)
    return r;
  a->slices = slice.n_slices;
  a->slice_bytes = slice.bytes;
  a->windows = batch * channels * floats(s->patches * (s->patch_samples + s->bins) + s->stats);
  a->out->channels = channels;
  return 0;
}

static int measure_kind(struct asked *a, const struct kind *kind, struct nx_error *err) {
  struct nx_slice_memory slice;
  const struct nx_model *runs = nx_outline_runs(a->outline);
  const struct nx_model_shape *s = &runs->shape;
  size_t batch = a->plan->training.batch, rows = batch * kind->channels * s->patches;
  const struct nx_model_tokeniser *k = &s->tokenisers[kind->tokeniser];
  const struct nx_general_input group = {.tokeniser = kind->tokeniser,
                                         .modality = kind->modality,
                                         .n_windows = batch,
                                         .n_channels = kind->channels};
  int r = nx_general_network_measure(runs, &group, a->plan->training.checkpoint_activations, &slice,
                                     err);
  if (r < 0)
    return r;
  /* The windows, and for masks their samples again and how channels go along. */
  size_t windows = rows * floats(k->inputs);
  if (s->objective == NX_OBJECTIVE_RECONSTRUCTION)
    windows += rows * (floats(k->patch_samples) + 1) + kind->channels * kind->channels * 5;
  a->slices = NX_MAX(a->slices, NX_MIN(batch, slice.n_slices + NX_RECORDINGS_A_STEP - 1));
  a->slice_bytes = NX_MAX(a->slice_bytes, slice.bytes);
  a->windows = NX_MAX(a->windows, windows);
  a->out->channels = NX_MAX(a->out->channels, kind->channels);
  return 0;
}

static size_t bytes_of(const struct nx_model *model) {
  return floats(model->n_params) + (model->base ? floats(model->base->n_params) : 0);
}

static void add_up(struct asked *a) {
  const struct nx_model *model = nx_outline_model(a->outline), *runs = nx_outline_runs(a->outline);
  struct nx_step_memory *m = a->out;
  bool merges = model != runs;
  size_t own = a->slices > 1 ? a->threads : 0;
  m->threads = a->threads;
  m->model = bytes_of(model);
  m->copy = bytes_of(model) + floats(model->n_params) + (merges ? floats(runs->n_params) : 0);
  if (nx_model_storage(model) != NX_STORAGE_FLOAT32)
    m->copy += floats(model->n_params);    /* what trains whole, added up */
  if (a->plan->privacy != NX_PRIVACY_NONE) /* sums of people, and one's rounded */
    m->copy += model->n_params * (sizeof(int64_t) + sizeof(int32_t));
  m->gradients = floats(runs->n_params) * (1 + own) + (merges ? floats(model->n_params) : 0);
  m->moments = 2 * floats(model->n_params);
  m->activations = a->slice_bytes * a->threads;
  m->windows = a->windows;
  m->workspace = WORKSPACE_PROGRAM + WORKSPACE_THREAD * a->threads;
  m->total =
      m->model + m->copy + m->gradients + m->moments + m->activations + m->windows + m->workspace;
}

static size_t threads_of(const struct nx_plan *plan, size_t threads) {
  long here = threads ? (long)threads : sysconf(_SC_NPROCESSORS_ONLN);
  return plan->modalities && here > 0 ? (size_t)here : 1; /* nano's trainer is one thread */
}

static int measure_all(const struct nx_plan *plan, const struct kind *kinds, size_t n,
                       size_t threads, struct nx_step_memory *out, struct nx_error *err) {
  _cleanup_(nx_outline_destroyp) struct nx_outline *outline = NULL;
  *out = (struct nx_step_memory){0};
  int r = nx_outline_create(plan, &outline, err);
  struct asked a = {
      .plan = plan, .outline = outline, .threads = threads_of(plan, threads), .out = out};
  for (size_t i = 0; !r && i < n; i++) {
    bool seen = false;
    for (size_t k = 0; k < i && !seen; k++)
      seen = kinds[k].tokeniser == kinds[i].tokeniser && kinds[k].channels == kinds[i].channels;
    if (!seen)
      r = plan->modalities ? measure_kind(&a, &kinds[i], err)
                           : measure_nano(&a, kinds[i].channels, err);
  }
  if (r < 0)
    return nx_error_prefix(err, r, "memory of a training step");
  add_up(&a);
  return 0;
}

int nx_step_memory_of_channels(const struct nx_plan *plan, size_t channels, size_t threads,
                               struct nx_step_memory *out, struct nx_error *err) {
  struct kind kinds[NX_TOKENISERS];
  enum nx_modality modality;
  bool any = !nx_modality_from_name(plan->data.modality, &modality);
  size_t n = 0;
  if (!plan->modalities)
    return measure_all(plan, &(struct kind){.channels = channels}, 1, threads, out, err);
  for (uint32_t i = 0; i < plan->modalities->tokenisers_count && n < NX_TOKENISERS; i++)
    for (size_t m = 0; m < NX_MODALITIES; m++)
      if ((any || m == (size_t)modality) &&
          nx_tokeniser_reads(plan->modalities->tokenisers[i].kind, (enum nx_modality)m)) {
        kinds[n++] = (struct kind){i, (enum nx_modality)m, channels};
        break;
      }
  return measure_all(plan, kinds, n, threads, out, err);
}

static uint32_t tokeniser_of(const struct nx_plan *plan, const struct nx_signals *set) {
  uint32_t i = 0;
  while (i + 1 < plan->modalities->tokenisers_count &&
         (plan->modalities->tokenisers[i].kind != set->tokeniser->kind ||
          plan->modalities->tokenisers[i].patch_samples != set->tokeniser->patch_samples))
    i++;
  return i;
}

int nx_step_memory_of_data(const struct nx_plan *plan, const struct nx_dataset *dataset,
                           size_t threads, struct nx_step_memory *out, struct nx_error *err) {
  size_t n_sets, n = 0, k = 0;
  const struct nx_signals *sets = nx_dataset_signals(dataset, &n_sets);
  if (!plan->modalities)
    return nx_step_memory_of_channels(plan, nx_dataset_summary(dataset)->n_channels, threads, out,
                                      err);
  for (size_t i = 0; i < n_sets; i++)
    n += sets[i].n;
  _cleanup_free_ struct kind *kinds = calloc(n + 1, sizeof *kinds);
  if (!kinds)
    return nx_fail(err, NX_E_NOMEM, "memory of a training step: out of memory");
  for (size_t i = 0; i < n_sets; i++)
    for (size_t j = 0; j < sets[i].n; j++)
      kinds[k++] = (struct kind){tokeniser_of(plan, &sets[i]), sets[i].signals[j].modality,
                                 sets[i].signals[j].n_channels};
  return measure_all(plan, kinds, n, threads, out, err);
}

void nx_step_memory_tell(const struct nx_step_memory *m, FILE *out) {
  const struct {
    const char *what;
    size_t bytes;
  } rows[] = {{"model of the round", m->model}, {"its copy that trains, and the update", m->copy},
              {"gradients", m->gradients},      {"moments of the optimiser", m->moments},
              {"activations", m->activations},  {"windows of a step", m->windows},
              {"workspace", m->workspace},      {"in all", m->total}};
  fprintf(out,
          "memory of a training step, %zu thread%s, recordings of at most %zu channels (MiB; the\n"
          "recordings themselves and the program come on top):\n",
          m->threads, m->threads == 1 ? "" : "s", m->channels);
  for (size_t i = 0; i < NX_ARRAY_LENGTH(rows); i++)
    fprintf(out, "  %-38s %10.1f\n", rows[i].what, (double)rows[i].bytes / (double)MIB);
}

static int again(const struct nx_step_site *site, const struct nx_plan *plan,
                 const struct nx_step_memory *memory, size_t threads, struct nx_step_memory *out,
                 struct nx_error *err) {
  return site->dataset ? nx_step_memory_of_data(plan, site->dataset, threads, out, err)
                       : nx_step_memory_of_channels(plan, memory->channels, threads, out, err);
}

/* What would help, and how far. */
static int advise(const struct nx_step_site *site, const struct nx_step_memory *memory, FILE *out,
                  struct nx_error *err) {
  struct nx_plan less = *site->plan;
  struct nx_step_memory m;
  int r = 0;
  if (memory->threads > 1) {
    r = again(site, &less, memory, 1, &m, err);
    fprintf(out, "threads: 1 in node.yaml takes %.0f MiB less; ",
            r ? 0 : (double)(memory->total - m.total) / (double)MIB);
  }
  less.training.checkpoint_activations = true;
  if (!r && !site->plan->training.checkpoint_activations &&
      !(r = again(site, &less, memory, memory->threads, &m, err)) && m.total + MIB < memory->total)
    fprintf(out, "a plan with training.checkpoint_activations: true takes %.0f MiB less; ",
            (double)(memory->total - m.total) / (double)MIB);
  less = *site->plan;
  less.training.batch = NX_MAX(1, less.training.batch / 2);
  if (!r && !(r = again(site, &less, memory, memory->threads, &m, err)) &&
      m.total + MIB < memory->total)
    fprintf(out, "half the windows a step (training.batch) take %.0f MiB less; ",
            (double)(memory->total - m.total) / (double)MIB);
  return r;
}

int nx_step_memory_check(const struct nx_step_site *site, const struct nx_step_memory *memory,
                         struct nx_error *err) {
  size_t resident = nx_memory_resident(), need;
  size_t limit = site->limit ? site->limit : nx_memory_room("");
  size_t has = site->has_model ? resident - NX_MIN(resident, memory->model) : resident;
  if (!nx_size_add(memory->total, has, &need))
    need = SIZE_MAX;
  if (!limit || need <= limit)
    return 0;
  _cleanup_free_ char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (!out)
    return nx_fail(err, NX_E_NOMEM, "memory of a training step: out of memory");
  int r = advise(site, memory, out, err);
  if (fclose(out) && !r)
    r = nx_fail(err, NX_E_NOMEM, "memory of a training step: out of memory");
  if (r < 0)
    return r;
  return nx_fail(
      err, NX_E_DENIED,
      "a training step of this plan needs %.0f MiB here (%.0f beside the program and the "
      "recordings), and there are %.0f (%s): %s%sgive this node more",
      (double)need / (double)MIB, (double)memory->total / (double)MIB, (double)limit / (double)MIB,
      site->limit ? "memory_mb in node.yaml" : "what the machine has left", text,
      *text ? "or " : "");
}
