/* What int8 and NF4 weights cost a model that was trained: EEGMAT's classifier (the plan's whole
 * schedule on pooled recordings, six folds of six people), then the fold's held-out people scored
 * with the same model in float32, int8 and nf4. Not a matter of speed: of what is left of the
 * answers. A row is the mean over folds; `limit` is float32's.
 *
 *   auroc, calibration_error   of held-out windows
 *   largest_change             of any logit of any fold
 *   bytes                      of the exported file */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "models/metrics.h"
#include "models/optim/server_apply.h"
#include "models/quantised.h"
#include "models/tensor/quantise.h"
#include "node/train/trainer.h"
#include "node/train/update.h"
#include "tests/bench/bench.h"

#define PLAN "configs/plan-eegmat.yaml"
#define RECORDINGS "../shared/data/eegmat_100Hz"
#define FOLDS 6
#define KINDS 3

struct figures {
  double auroc, calibration, largest_change, bytes;
};

static void must(int r, const struct nx_error *err) {
  if (r < 0)
    bench_fail("%s (run it from the project's folder; recordings: ../shared/data)", err->text);
}

static struct nx_plan *read_plan(void) {
  struct nx_buffer text = {0};
  struct nx_plan *plan = NULL;
  struct nx_error err = {0};
  must(nx_file_read(PLAN, NX_BUFFER_CAP, &text, &err), &err);
  must(nx_plan_parse(PLAN, nx_buffer_view(&text), &plan, &err), &err);
  nx_buffer_finish(&text);
  return plan;
}

static struct nx_dataset *open_fold(const struct nx_plan *plan, int fold) {
  char names[FOLDS][16];
  const char *held_out[FOLDS];
  struct nx_dataset *dataset = NULL;
  struct nx_error err = {0};
  for (int i = 0; i < FOLDS; i++) {
    snprintf(names[i], sizeof names[i], "Subject%02d", fold * FOLDS + i);
    held_out[i] = names[i];
  }
  const struct nx_dataset_options options = {
      .folder = RECORDINGS, .held_out = held_out, .n_held_out = FOLDS};
  must(nx_dataset_open(&options, plan, &dataset, &err), &err);
  return dataset;
}

static struct nx_model *train(const struct nx_plan *plan, const struct nx_dataset *dataset,
                              int fold) {
  struct nx_update statistics = {0};
  struct nx_train_result result;
  struct nx_model *model = NULL;
  struct nx_error err = {0};
  size_t steps = (size_t)plan->training.rounds * plan->training.local_steps;
  const struct nx_train_options options = {.seed = 1,
                                           .stream = (uint64_t)fold,
                                           .n_steps = steps,
                                           .total_steps = steps,
                                           .batch = (size_t)plan->training.batch * FOLDS};
  must(nx_model_create(plan, &model, &err), &err);
  must(nx_update_compute(NX_ROUND_STATISTICS, model, dataset, plan, 0, 0, NULL, NULL, &statistics,
                         &err),
       &err);
  must(nx_server_apply_statistics(model, statistics.aux, statistics.n_aux, &err), &err);
  must(nx_train(model, dataset, plan, &options, &result, &err), &err);
  nx_update_finish(&statistics);
  return model;
}

static double file_bytes(const struct nx_model *model) {
  struct nx_buffer bytes = {0};
  struct nx_error err = {0};
  must(nx_model_save(model, &bytes, &err), &err);
  double size = (double)bytes.size;
  nx_buffer_finish(&bytes);
  return size;
}

static void score_fold(const struct nx_plan *plan, const struct nx_dataset *dataset,
                       const struct nx_model *plain, struct figures of[KINDS]) {
  size_t n = nx_dataset_summary(dataset)->n_held_out_windows;
  float *right = calloc(n, sizeof *right), *logits = calloc(n, sizeof *logits);
  if (!right || !logits)
    bench_fail("out of memory");
  for (int kind = 0; kind < KINDS; kind++) {
    struct nx_model *quantised = NULL;
    struct nx_score_result result;
    struct nx_error err = {0};
    if (kind)
      must(nx_model_quantise(plain, (enum nx_storage)kind, &quantised, &err), &err);
    const struct nx_model *model = kind ? quantised : plain;
    must(nx_score(model, dataset, plan, NX_SPLIT_HELD_OUT, kind ? logits : right, &result, &err),
         &err);
    of[kind].auroc += nx_auroc_histogram(result.negative, result.positive) / FOLDS;
    of[kind].calibration +=
        nx_calibration_error_histogram(result.negative, result.positive) / FOLDS;
    of[kind].bytes = file_bytes(model);
    for (size_t i = 0; kind && i < n; i++)
      of[kind].largest_change =
          fmax(of[kind].largest_change, fabs((double)logits[i] - (double)right[i]));
    nx_model_destroy(quantised);
  }
  free(right);
  free(logits);
}

static void add(struct bench *bench, int kind, const char *metric, double value, double float32) {
  const struct bench_row row = {
      .keys = {{"weights", 0, nx_storage_name((enum nx_storage)kind)}},
      .metric = metric,
      .unit = !strcmp(metric, "bytes") ? "B" : "1",
      .value = value,
      .limit = kind ? "float32" : NULL,
      .limit_value = float32,
  };
  bench_add(bench, &row);
}

int main(int argc, char **argv) {
  struct bench *bench = bench_begin("weights", "(--quick: one fold)", &argc, argv);
  struct nx_plan *plan = read_plan();
  struct figures of[KINDS] = {0};
  int folds = bench_is_quick(bench) ? 1 : FOLDS;
  for (int fold = 0; fold < folds; fold++) {
    struct nx_dataset *dataset = open_fold(plan, fold);
    double start = bench_seconds();
    struct nx_model *model = train(plan, dataset, fold);
    fprintf(stderr, "fold %d of %d trained in %.0f s\n", fold + 1, folds, bench_seconds() - start);
    score_fold(plan, dataset, model, of);
    nx_model_destroy(model);
    nx_dataset_destroy(dataset);
  }
  for (int kind = 0; kind < KINDS; kind++) {
    add(bench, kind, "auroc", of[kind].auroc * FOLDS / folds, of[0].auroc * FOLDS / folds);
    add(bench, kind, "calibration_error", of[kind].calibration * FOLDS / folds,
        of[0].calibration * FOLDS / folds);
    if (kind)
      add(bench, kind, "largest_change", of[kind].largest_change, 0);
    add(bench, kind, "bytes", of[kind].bytes, of[0].bytes);
  }
  nx_plan_destroy(plan);
  return bench_end(bench);
}
